// Writer of the Prometheus text exposition format 0.0.4
// (prometheus.io/docs/instrumenting/exposition_formats). Families are written one after the other; a name's
// HELP and TYPE come once. Pure; used by the exporter.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

class TextFormat {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, const Labels& labels, uint64_t value);
  void sample(std::string_view name, const Labels& labels, double value);
  // `buckets` are not cumulative and in the bounds of bpf/abi/histogram.h; missing ones count as 0.
  void histogram(std::string_view name, const Labels& labels, std::span<const uint64_t> buckets,
                 double sum_seconds);

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Backslash, quote and newline as the format wants them inside label values.
std::string escape_label(std::string_view value);

}  // namespace weft
