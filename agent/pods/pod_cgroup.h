// Names of the control groups that a kubelet makes for pods, with either of its cgroup drivers. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weft::agent {

// The UID in the last part of the path of a pod's cgroup: "pod<UID>" (driver cgroupfs) or
// "kubepods-burstable-pod<UID>.slice" with '_' for '-' (driver systemd). nullopt: it is not a pod's.
std::optional<std::string> pod_uid_of_cgroup(std::string_view name);

// Whether cgroups of pods stand directly below one of this name: kubepods itself, and its QoS classes.
// kubelets with --cgroup-root put words before it ("kubelet-kubepods.slice").
bool holds_pods(std::string_view name);

}  // namespace weft::agent
