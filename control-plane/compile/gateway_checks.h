// Whether a route may be bound to a gateway, and what is bound without effect.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/gateway_port.h"
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
// How a route fits a listener that its parent reference means or does not mean: by section and port, by the
// listener's kinds, protocol and allowedRoutes, and by host names, of which `hosts` are those in common
// (those of a TCPRoute are empty). Never kConflict.
struct ListenerFit {
  Fit fit = Fit::kNoParent;
  std::set<std::string> hosts;
};
ListenerFit fit_of(const GatewayRoute& route, const GatewayRoute::Parent& parent, const Listening& listening,
                   const Objects& objects);
// A gateway's client dialled the gateway: what is sent on to where it was dialled would come back.
void warn_of_passthrough(const VirtualService& service, const mesh::v1::RouteSet& routes,
                         const Objects& objects, std::vector<Finding>* findings);

}  // namespace weft::control_plane
