// What a namespace path points at right now, so that a replaced or vanished namespace is noticed. Called by
// the pod table on the reconciler thread; never enters a namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace weft::agent {

struct NetnsIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const NetnsIdentity&) const = default;
};

using NetnsProbe = std::function<absl::StatusOr<NetnsIdentity>(const std::string& path)>;

// kNotFound: no such file; kFailedPrecondition: a file that is no network namespace (`ip netns add` makes the
// file first and mounts the namespace on it afterwards).
absl::StatusOr<NetnsIdentity> probe_netns(const std::string& path);

}  // namespace weft::agent
