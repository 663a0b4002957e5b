// Finds a pod's network namespace by its cgroup: the processes in it, and what /proc says of them. Reads
// only; needs the node's PID namespace and CAP_SYS_PTRACE (other users' /proc/PID/ns). Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/pods/netns.h"
#include "base/clock.h"

namespace weft::agent {

// What all containers of a pod share.
struct Sandbox {
  // Of the runtime when it has one (/run/netns/cni-…), which lasts as long as the namespace; else
  // /proc/PID/ns/net of its first process.
  std::string netns_path;
  NetnsIdentity identity;
  // When its first process started, of CLOCK_BOOTTIME; the kernel tells it in steps of 10 ms, rounded down.
  // 0: unknown.
  MonotonicNs started = 0;
  bool operator==(const Sandbox&) const = default;
};

struct SandboxPlaces {
  std::string proc = "/proc";
  // Where runtimes keep files of namespaces.
  std::vector<std::string> netns_folders{"/run/netns", "/var/run/netns"};
  NetnsProbe probe = probe_netns;
};

// Of the pod whose cgroup this is: the namespace of its oldest process. A process that is in the node's own
// namespace does not count: a runtime's monitor, or a container on its way into the sandbox.
// kNotFound: there is no process. kUnavailable: there are, but none has left the node's namespace.
// kPermissionDenied: what cannot be read, and which right is missing.
absl::StatusOr<Sandbox> find_sandbox(const std::string& pod_cgroup, const SandboxPlaces& places);

}  // namespace weft::agent
