// Names of the Gateway API.
#pragma once

namespace weft::control_plane {

// Of all its kinds.
inline constexpr char kGatewayGroup[] = "gateway.networking.k8s.io";
// The class of Gateways that are served.
inline constexpr char kGatewayClass[] = "weft";

}  // namespace weft::control_plane
