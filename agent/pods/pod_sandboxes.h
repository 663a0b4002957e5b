// Where the pods of this node are: what manifests say, joined with what the sandbox watch found and a CNI
// plugin told. Keeps count of how long pods ran before they were captured. Owned by the reconciler, on its
// thread; enters no namespace.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/pods/pod_starts.h"
#include "agent/pods/pod_table.h"
#include "agent/pods/sandbox.h"

namespace weft::agent {

class PodSandboxes {
 public:
  // `by_cgroup`: what the sandbox watch finds counts, and the annotation weft.dev/netns, which whoever makes
  // a pod may write, does not. `started`: of this agent, CLOCK_BOOTTIME.
  PodSandboxes(bool by_cgroup, NetnsProbe probe, MonotonicNs started)
      : by_cgroup_(by_cgroup), probe_(std::move(probe)), started_(started) {}

  // All pods of this node as the source describes them.
  void set_pods(std::vector<control_plane::LocalPod> pods);
  // The same with the paths of their namespaces where they are known.
  std::vector<control_plane::LocalPod> located() const;
  // For the sandbox watch: what it must look for.
  std::set<std::string> wanted() const;

  // What the sandbox watch says of a pod, by the kubelet's uid. True when located() is another now.
  bool found(const std::string& kubelet_uid, const absl::StatusOr<Sandbox>& sandbox);
  // The runtime has just made this namespace for the pod and waits; no other pod has it.
  void given(const std::string& kubelet_uid, const std::string& netns_path, const NetnsIdentity& identity);
  // The runtime takes this namespace away from whatever pod has it. True when located() is another now.
  bool taken(const NetnsIdentity& identity);
  const std::vector<control_plane::LocalPod>& pods() const { return pods_; }

  // Why no namespace is known of the pod with this uid of a workload.
  std::string why_unknown(const std::string& workload_uid) const;
  // Counts pods that were captured since; `now` of CLOCK_BOOTTIME.
  void count_starts(const PodTable& pods, MonotonicNs now);
  const PodStarts& starts() const { return starts_; }

 private:
  const control_plane::LocalPod* find(const std::string& kubelet_uid) const;
  struct Known {
    Sandbox sandbox;    // path empty: none
    bool held = false;  // by the CNI plugin
    bool counted = false;
    NetnsIdentity taken;  // not to be found again
    std::string waiting_for;
  };

  bool by_cgroup_;
  NetnsProbe probe_;
  MonotonicNs started_;
  std::vector<control_plane::LocalPod> pods_;
  std::map<std::string, Known> known_;
  // Seen while they were not to be in the mesh.
  std::set<std::string> outside_;
  PodStarts starts_;
};

// Of CLOCK_BOOTTIME, as starts of processes are told.
MonotonicNs boottime_now();

}  // namespace weft::agent
