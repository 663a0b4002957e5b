// Whom a gateway is in the mesh: where it dials, and where a listener of it shows that. Pure; gateways.cc and
// what it is made of call it.
#pragma once

#include <span>
#include <string>

#include "control-plane/compile/gateway_port.h"

namespace weft::control_plane {

// The account that the Gateway API gives the pods of a Gateway of class weft ("NAME-CLASS", GEP-1762), in its
// namespace: "spiffe://cluster.local/ns/NAMESPACE/sa/NAME-weft". Empty: its name is too long for one.
std::string gateway_identity(const Gateway& gateway);

// Those of the listeners' gateways, sorted.
void set_identities(std::span<const Listening> listeners, mesh::v1::GatewayBinding* out);

}  // namespace weft::control_plane
