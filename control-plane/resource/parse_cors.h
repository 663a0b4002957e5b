// "corsPolicy" of a VirtualService's http route.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// Nothing is read when the route has none.
void parse_cors(const FieldReader& http, mesh::v1::HttpRoute& route);

// "cors" of an HTTPRoute's filter: origins are names with "*" for any text, and a preflight is always
// answered.
void parse_cors_filter(const FieldReader& filter, mesh::v1::HttpRoute& route);

}  // namespace weft::control_plane
