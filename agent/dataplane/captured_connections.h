// How many captured connections a namespace still has. Called by the dataplane when a namespace leaves the
// mesh, inside that namespace. Only looks.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace weft::agent {

// Client sockets of the calling thread's namespace that carry the capture mark and are neither closed nor in
// TIME_WAIT. sock_diag(7); needs CAP_NET_ADMIN, without which the kernel does not tell marks. Errors: the
// netlink socket's.
absl::StatusOr<uint64_t> count_captured_connections();

}  // namespace weft::agent
