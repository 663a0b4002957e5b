// One entry of VirtualService http[].match. parse_virtual_service.cc is the only caller.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

void parse_http_match(const FieldReader& match, mesh::v1::HttpMatch& out);

// True when it holds for every request of every client: no later route can be reached.
bool is_catch_all(const mesh::v1::HttpMatch& match);

}  // namespace weft::control_plane
