// Where an object of a flag is: "<namespace>/<name>", checked, for both become parts of paths. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace weft::control_plane {

struct ObjectPlace {
  std::string ns, name;
};
// kInvalidArgument says which flag is wrong.
absl::StatusOr<ObjectPlace> parse_place(const std::string& flag, const std::string& text);

}  // namespace weft::control_plane
