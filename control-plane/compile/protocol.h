// What a Service port speaks, as its author declared it: appProtocol first, then the prefix of the port's
// name, then the ports whose servers are known to speak first. The compiler calls it.
#pragma once

#include <cstdint>
#include <string_view>

#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// PROTOCOL_UNSPECIFIED when nothing is declared: the proxy looks at the first bytes.
mesh::v1::Protocol protocol_of(std::string_view app_protocol, std::string_view port_name, uint16_t port);

istio::workload::AppProtocol to_istio(mesh::v1::Protocol protocol);

}  // namespace weft::control_plane
