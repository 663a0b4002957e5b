// Gateways of both APIs to RouteSets of the node's ports: which routes are bound to them, for which hosts, in
// which order. Pure; the compiler calls it.
#pragma once

#include <memory>
#include <vector>

#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/remembered.h"

namespace weft::control_plane {

struct GatewayRouteSets {
  // For each port of a gateway a set for each host name, and one for all others: one resource each.
  std::vector<std::shared_ptr<const StepResult>> sets;
  // Of their ports for TLS.
  std::vector<mesh::v1::TlsServer> servers;
};
GatewayRouteSets gateway_routes(const Objects& objects, const KindStamps& stamps, Remembered& remembered,
                                std::vector<Finding>* findings, GatewayFacts* facts);

}  // namespace weft::control_plane
