// Entering network namespaces: work runs on a thread made for it, so no other thread of the agent ever
// changes namespace. Used by enrolment and cleanup.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::agent {

absl::StatusOr<UniqueFd> open_netns(const std::string& path);

// Runs `work` inside the namespace and returns what it returned.
absl::Status run_in_netns(int netns_fd, const std::function<absl::Status()>& work);

// SO_NETNS_COOKIE of the namespace of the calling thread; equal to bpf_get_netns_cookie() in it.
absl::StatusOr<uint64_t> current_netns_cookie();
absl::StatusOr<uint64_t> netns_cookie(int netns_fd);

// Paths of every namespace that can be reached from here, each namespace once: `first`, /run/netns/* and
// /proc/*/ns/net.
std::vector<std::string> reachable_netns(const std::vector<std::string>& first);

}  // namespace weft::agent
