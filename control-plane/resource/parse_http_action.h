// What a VirtualService's http route does besides choosing destinations: redirect, directResponse, rewrite,
// fault, timeout, corsPolicy, retries. parse_virtual_service.cc is the only caller.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// `http` is the route; its fields are known already. Reports combinations that exclude one another.
void parse_http_action(const FieldReader& http, mesh::v1::HttpRoute& route);

// The client gets its answer from the proxy: there is nothing to route.
bool answers_itself(const mesh::v1::HttpRoute& route);

}  // namespace weft::control_plane
