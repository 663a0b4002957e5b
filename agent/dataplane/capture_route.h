// The route that brings captured SYNs back: `ip rule fwmark WEFT_MARK_CAPTURE lookup WEFT_ROUTE_TABLE` and,
// in that table, `local default dev lo src <pod address>`. All functions work in the namespace of the calling
// thread (see netns.h).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::agent {

// For each family that has an address outside lo; what was done, one sentence each. Fine when it is already
// there.
absl::StatusOr<std::vector<std::string>> install_capture_route();

// Rules and routes that carry our table and protocol, and only those; what was removed. Fine when there are
// none.
absl::StatusOr<std::vector<std::string>> remove_capture_route();

}  // namespace weft::agent
