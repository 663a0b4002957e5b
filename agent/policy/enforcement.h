// Brings the policies of the captured pods into the kernel, and ends the connections that a change forbids.
// Reconciler thread only.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/model.h"
#include "agent/pods/pod_table.h"
#include "agent/policy/kernel_policy.h"

namespace weft::agent {

// The captured pods' namespaces with the policies that apply to them, for `weft diff`.
std::vector<PlannedNamespace> planned_namespaces(const MeshModel& model, const IdRegistry& ids,
                                                 const PodTable& pods);

class Enforcement {
 public:
  explicit Enforcement(Dataplane& dataplane) : dataplane_(dataplane) {}

  // Says which captured pods need listeners for plain connections that the proxy is to judge. They are to be
  // there before enforce() makes the kernel hand it any.
  static void plan_inspection(const MeshModel& model, PodTable& pods);

  // Call after a policy, a captured pod or a workload of this node changed. Only pods whose tables differ are
  // written. Empty, or the first problem, in which case that pod denies everything: its policies do not fit
  // the kernel, or one that it names is not here and the pod does not declare weft.dev/fail-mode: open.
  std::string enforce(const MeshModel& model, const IdRegistry& ids, PodTable& pods);

 private:
  absl::Status enforce_pod(const MeshModel& model, std::span<const LocalIdentity> local, const Pod& pod,
                           PodTable& pods);

  Dataplane& dataplane_;
  std::map<uint64_t, std::string> written_;  // netns cookie -> fingerprint of its tables
};

}  // namespace weft::agent
