// The route that brings captured SYNs back: `ip rule fwmark WEFT_MARK_CAPTURE lookup WEFT_ROUTE_TABLE` and,
// in that table, `local default dev lo src <pod address>`. All functions work in the namespace of the calling
// thread (see netns.h).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::agent {

struct CaptureRoute {
  // One sentence per family that is captured, for `weft enroll`.
  std::vector<std::string> steps;
  // Families whose rule or route was not there as it should be, and now is.
  std::vector<std::string> changed;
  // The family that has an address but cannot be captured yet, and why; empty: none.
  std::string missing;
};

// Rule and local route in the calling thread's namespace, for each address family that has an address outside
// loopback. Idempotent: writes only what differs. Fails when no family can be captured.
absl::StatusOr<CaptureRoute> install_capture_route();

// What of them is not as install_capture_route() would leave it, one sentence each. Changes nothing.
absl::StatusOr<std::vector<std::string>> inspect_capture_route();

// Rules and routes that carry our table and protocol, and only those; what was removed. Fine when there are
// none.
absl::StatusOr<std::vector<std::string>> remove_capture_route();

}  // namespace weft::agent
