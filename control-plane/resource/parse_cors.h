// "corsPolicy" of a VirtualService's http route.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// Nothing is read when the route has none.
void parse_cors(const FieldReader& http, mesh::v1::HttpRoute& route);

}  // namespace weft::control_plane
