// Fields that are measures: durations ("1.5s") and shares of requests ({value: 12.5}, per cent). Used by the
// parsers of traffic rules; report through the reader as it does.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "control-plane/resource/field_reader.h"

namespace weft::control_plane {

// One hour: longer waits are a mistake of units.
inline constexpr uint32_t kMaxDurationMs = 3'600'000;

// Milliseconds of the duration in field `name`, from `low_ms` to `high_ms`; nullopt when it is absent or
// was reported. Less than a millisecond counts as zero.
std::optional<uint32_t> duration_ms(const FieldReader& parent, std::string_view name, uint32_t low_ms,
                                    uint32_t high_ms = kMaxDurationMs);

// As duration_ms, of a duration as the Gateway API writes it (GEP-2257): whole numbers with units, "1h2m",
// "500ms".
std::optional<uint32_t> gateway_duration_ms(const FieldReader& parent, std::string_view name);

// A number with or without a fraction, from `low` to `high`.
std::optional<double> number(const FieldReader& parent, std::string_view name, double low, double high);

// Parts per million of the percentage {value: NUMBER} in field `name`; Istio's resolution is one of them.
std::optional<uint32_t> share_ppm(const FieldReader& parent, std::string_view name);

}  // namespace weft::control_plane
