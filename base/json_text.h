// JSON that comes from outside (RFC 8259), read once and strictly: nothing behind it, no name twice in one
// object, valid UTF-8, and no more of it than its reader wants. Pure.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft {

struct JsonLimits {
  size_t bytes = 16 * 1024;
  int depth = 16;         // of objects and lists in each other
  size_t values = 2'048;  // of all kinds, names of members too
};

// InvalidArgument says what is wrong, and never quotes the text: it may be somebody's secret.
absl::StatusOr<nlohmann::json> read_json(std::string_view text, const JsonLimits& limits);

}  // namespace weft
