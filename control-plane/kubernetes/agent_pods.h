// Where the agents of a cluster are, and a way to one of them: `weft` on a desk asks them as `weft` on their
// node does. Asks with the rights of whoever calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/kubernetes/cluster_check.h"
#include "control-plane/kubernetes/pod_exec.h"

namespace weft::control_plane {

struct AgentPod {
  std::string node, ns, name;
  std::string run_dir;  // as the agent was started with
};

// Of the namespace `question.ns`, those that run, by their nodes. Errors: PermissionDenied (names the verb),
// NotFound (there are none), Unavailable.
absl::StatusOr<std::vector<AgentPod>> list_agent_pods(const ClusterQuestion& question);

// The agent's admin API: `weft __relay` runs in the pod meanwhile. Errors: those of PodStream::open().
absl::StatusOr<std::unique_ptr<PodStream>> reach_agent(const ClusterQuestion& question, const AgentPod& pod);

}  // namespace weft::control_plane
