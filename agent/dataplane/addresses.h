// The addresses of a network namespace, as the kernel lists them (rtnetlink(7)).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/address.h"

namespace weft::agent {

// Of the calling thread's namespace: every address but loopback and IPv6 link-local ones, which name nobody
// beyond a link.
absl::StatusOr<std::vector<IpAddress>> local_addresses();

}  // namespace weft::agent
