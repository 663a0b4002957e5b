// What routes of gateways cannot reach. Pure; the compiler calls it.
#pragma once

#include <vector>

#include "control-plane/compile/gateway_routes.h"

namespace weft::control_plane {

// A gateway has no identity: pods that take tunnels do not let it in. Warns once for each route object and
// host. `sets`: of gateways only.
void warn_of_tunnels(const NamedRouteSets& sets, const Workloads& workloads, std::vector<Finding>* findings);

}  // namespace weft::control_plane
