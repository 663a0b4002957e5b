// Routes of the Gateway API to RouteSets, the form that VirtualServices have too: which attach to what, which
// kind wins on a port, in which order they are tried. Pure; the compiler calls it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// {resource name, set}: for each port of a Service those of its own namespace, and those of each client
// namespace.
using NamedRouteSets = std::vector<std::pair<std::string, mesh::v1::RouteSet>>;
NamedRouteSets mesh_routes(const Objects& objects, std::vector<Finding>* findings);

}  // namespace weft::control_plane
