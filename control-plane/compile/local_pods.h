// Pods as enrolment needs them, and whether they ask to be captured. Pure; the workload stage calls it.
#pragma once

#include "control-plane/compile/egress.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// Of a pod that has not ended.
LocalPod local_pod(const Pod& pod, const Objects& objects, const EgressModes& egress);

// Whether the pod asks for it, or its namespace for all that say nothing themselves.
bool wants_capture(const Pod& pod, const Objects& objects);
// Whether pods of the namespace (nullptr: an unknown one) are captured that say nothing themselves.
bool wants_capture(const Namespace* ns);
// Whether they take the shortcut, when they say nothing themselves.
bool takes_shortcut(const Namespace* ns);

}  // namespace weft::control_plane
