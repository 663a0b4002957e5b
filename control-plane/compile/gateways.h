// Gateways of both APIs to RouteSets of the node's ports: which routes are bound to them, for which hosts, in
// which order. Pure; the compiler calls it.
#pragma once

#include <string>
#include <vector>

#include "control-plane/compile/gateway_routes.h"

namespace weft::control_plane {

// For each port of a gateway a set for each host name, and one for all others.
NamedRouteSets gateway_routes(const Objects& objects, std::vector<Finding>* findings);

// The routes of a VirtualService that hold at `place`: "mesh", or "<namespace>/<name>" of a gateway. What
// selects the client does not count at gateways.
mesh::v1::RouteSet routes_at(const VirtualService& service, const mesh::v1::RouteSet& routes,
                             const std::string& place);

}  // namespace weft::control_plane
