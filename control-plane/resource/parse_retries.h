// "retries" of a VirtualService's http route.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// Nothing is read when the route has none.
void parse_retries(const FieldReader& http, mesh::v1::HttpRoute& route);
// The value of such a field itself.
void parse_retry_policy(const FieldReader& retries, mesh::v1::RetryPolicy& out);

}  // namespace weft::control_plane
