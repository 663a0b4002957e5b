// What routes of gateways cannot reach. Pure; the compiler calls it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/gateways.h"

namespace weft::control_plane {

// A gateway whose name is too long for an identity: pods that take tunnels do not let it in. `hosts`: of
// services that have such pods. Warns once for each route object and host.
void warn_of_tunnels(const GatewayRouteSets& gateways, const std::set<std::string>& hosts,
                     Remembered& remembered, std::vector<Finding>* findings);

}  // namespace weft::control_plane
