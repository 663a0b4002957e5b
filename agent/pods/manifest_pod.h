// A pod as its manifest describes it, before anything is known of its namespace.
#pragma once

#include "agent/pods/pod_table.h"
#include "control-plane/control_plane.h"

namespace weft::agent {

// An exclusion that is no CIDR is left out and logged.
Pod pod_from_manifest(const control_plane::LocalPod& local);

}  // namespace weft::agent
