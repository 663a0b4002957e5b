// Prometheus text; see prometheus_text.h. Called by the exporter; no state but the text.
#include "base/prometheus_text.h"

#include <array>
#include <cstdio>

#include "base/strings.h"
#include "bpf/abi/histogram.h"

namespace weft {
namespace {

constexpr std::array<uint64_t, WEFT_HISTOGRAM_BUCKETS - 1> kBoundsUs{
#define X(us) us,
    WEFT_HISTOGRAM_BOUNDS_US(X)
#undef X
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.12g", value);
  return text;
}

std::string label_block(const Labels& labels, std::string_view le) {
  std::string out;
  for (const auto& [name, value] : labels)
    str_append(&out, out.empty() ? "" : ",", name, "=\"", escape_label(value), "\"");
  if (!le.empty()) str_append(&out, out.empty() ? "" : ",", "le=\"", le, "\"");
  return out.empty() ? out : str_cat("{", out, "}");
}

}  // namespace

std::string escape_label(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '"')
      out += "\\\"";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

void TextFormat::family(std::string_view name, std::string_view type, std::string_view help) {
  str_append(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void TextFormat::sample(std::string_view name, const Labels& labels, uint64_t value) {
  str_append(&text_, name, label_block(labels, ""), " ", value, "\n");
}

void TextFormat::sample(std::string_view name, const Labels& labels, double value) {
  str_append(&text_, name, label_block(labels, ""), " ", number(value), "\n");
}

void TextFormat::histogram(std::string_view name, const Labels& labels, std::span<const uint64_t> buckets,
                           double sum_seconds) {
  uint64_t total = 0;
  for (size_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; ++i) {
    if (i < buckets.size()) total += buckets[i];
    const std::string le = i < kBoundsUs.size() ? number(static_cast<double>(kBoundsUs[i]) / 1e6) : "+Inf";
    str_append(&text_, name, "_bucket", label_block(labels, le), " ", total, "\n");
  }
  str_append(&text_, name, "_sum", label_block(labels, ""), " ", number(sum_seconds), "\n");
  str_append(&text_, name, "_count", label_block(labels, ""), " ", total, "\n");
}

}  // namespace weft
