// Gateways of both APIs to RouteSets of the node's ports: which routes are bound to them, for which hosts, in
// which order. Pure; the compiler calls it.
#pragma once

#include <vector>

#include "control-plane/compile/gateway_routes.h"

namespace weft::control_plane {

// For each port of a gateway a set for each host name, and one for all others.
NamedRouteSets gateway_routes(const Objects& objects, std::vector<Finding>* findings);

}  // namespace weft::control_plane
