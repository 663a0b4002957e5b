// Ports of services whose connections the proxy carries although they speak no HTTP: there are routes for
// them, or DestinationRules that ask more than the kernel's balancing does. The kernel leaves only those
// alone that nobody asks anything of. Pure; the compiler calls it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/compile/compiler.h"
#include "control-plane/compile/gateway_routes.h"

namespace weft::control_plane {

// {host, port} to what the routes, if any, make of the port: unspecified when its own declaration stands.
using Layer4Ports = std::map<std::pair<std::string, uint32_t>, mesh::v1::Protocol>;
Layer4Ports layer4_ports(const Objects& objects, const std::vector<MeshRouteSet>& gateway_api);

}  // namespace weft::control_plane
