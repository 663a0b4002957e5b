// Whether a route may be bound to a gateway, and what is bound without effect.
#pragma once

#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// Null: there is none of that kind ("Gateway", "IstioGateway").
const Gateway* find_gateway(const Objects& objects, const char* kind, const std::string& ns,
                            const std::string& name);
// Some match of it holds for every request.
bool is_catch_all(const mesh::v1::HttpRoute& route);
// To the gateways of this namespace.
bool is_exported_to(const VirtualService& service, const std::string& ns);
// By the listener's kinds and allowedRoutes.
bool is_allowed(const GatewayRoute& route, const Gateway& gateway, const Gateway::Listener& listener,
                const Objects& objects);
// A gateway's client dialled the gateway: what is sent on to where it was dialled would come back.
void warn_of_passthrough(const VirtualService& service, const mesh::v1::RouteSet& routes,
                         const Objects& objects, std::vector<Finding>* findings);

}  // namespace weft::control_plane
