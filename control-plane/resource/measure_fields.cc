// See measure_fields.h.
#include "control-plane/resource/measure_fields.h"

#include <array>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "base/strings.h"

namespace weft::control_plane {

std::optional<uint32_t> duration_ms(const FieldReader& parent, std::string_view name, uint32_t low_ms,
                                    uint32_t high_ms) {
  const auto text = parent.text(name);
  if (!text) return std::nullopt;
  absl::Duration duration;
  const bool parsed = absl::ParseDuration(to_absl(*text), &duration);
  if (!parsed || duration < absl::Milliseconds(low_ms) || duration > absl::Milliseconds(high_ms)) {
    parent.error_at(name, kValueRejected, str_cat("\"", text->substr(0, 32), "\" is no usable duration"),
                    str_cat("use ", low_ms == 0 ? "0s" : "1ms", " to ", high_ms / 3'600'000,
                            "h, for example 500ms or 3s"));
    return std::nullopt;
  }
  return static_cast<uint32_t>(absl::ToInt64Milliseconds(duration));
}

std::optional<uint32_t> gateway_duration_ms(const FieldReader& parent, std::string_view name) {
  const auto text = parent.text(name);
  if (!text) return std::nullopt;
  if (text->empty() || text->find_first_not_of("0123456789hms") != std::string::npos) {
    parent.error_at(name, kValueRejected, str_cat("\"", text->substr(0, 32), "\" is no duration"),
                    "use whole numbers with units, for example 500ms or 1m30s");
    return std::nullopt;
  }
  return duration_ms(parent, name, 0);
}

std::optional<double> number(const FieldReader& parent, std::string_view name, double low, double high) {
  const auto field = parent.child(name);
  if (!field) return std::nullopt;
  const YamlNode& node = field->node();
  double value = 0;
  const bool is_number =
      node.kind == YamlNode::Kind::kScalar && node.plain && absl::SimpleAtod(to_absl(node.scalar), &value);
  if (!is_number) {
    field->error(kWrongType, "expected a number", "write digits without quotes, for example 12.5");
    return std::nullopt;
  }
  // Also refuses what is no number at all ("nan").
  if (!(value >= low && value <= high)) {
    field->error(kValueRejected, str_cat("\"", node.scalar.substr(0, 32), "\" is out of range"),
                 str_cat("use a number from ", low, " to ", high));
    return std::nullopt;
  }
  return value;
}

std::optional<uint32_t> share_ppm(const FieldReader& parent, std::string_view name) {
  static constexpr std::array<std::string_view, 1> kRead = {"value"};
  const auto share = parent.child(name);
  if (!share || !share->expect_map({.read = kRead, .known = {}})) return std::nullopt;
  const auto value = share->child("value");
  // As protobuf has it: a percentage without a value is 0.
  if (!value) return 0;
  const auto percent = number(*share, "value", 0, 100);
  return percent ? std::optional(static_cast<uint32_t>(std::lround(*percent * 10'000))) : std::nullopt;
}

}  // namespace weft::control_plane
