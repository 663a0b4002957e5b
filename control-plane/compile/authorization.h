// Which selector policies reach which workloads. Pure; the compiler calls it.
#pragma once

#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

// Adds to each workload the names ("<namespace>/<name>", in order) of the policies that select it: those of
// its own namespace and of the root namespace. Policies without a selector are found by their scope and named
// nowhere.
void attach_policies(const Objects& objects, Workloads& workloads);

// Whether the policy has a selector or targets, and they select that workload.
bool selects(const AuthorizationPolicy& policy, const CompiledWorkload& workload);

}  // namespace weft::control_plane
