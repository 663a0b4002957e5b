// One entry of VirtualService http[].match. parse_virtual_service.cc is the only caller.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// `ns`: of the VirtualService.
void parse_http_match(const FieldReader& match, const std::string& ns, mesh::v1::HttpMatch& out);

// {exact | prefix | regex}. `presence`: an empty match and regex "*" mean "is there", as for headers and
// query parameters.
void parse_string_match(const FieldReader& string, bool presence, mesh::v1::StringMatch& out);

// "gateways" of a VirtualService or of one match: "mesh", and "<namespace>/<name>" of gateways of this
// namespace or another.
std::vector<std::string> parse_gateways(const FieldReader& parent, const std::string& ns);

// A regular expression in field `field` of `parent`: RE2, at most 1024 characters. Reports what is none.
void check_regex(const FieldReader& parent, std::string_view field, const std::string& regex);

// It compares claims of the request's token, which only gateways prove before they route.
bool asks_for_claims(const mesh::v1::HttpMatch& match);

// True when it holds for every request of every client: no later route can be reached.
bool is_catch_all(const mesh::v1::HttpMatch& match);

}  // namespace weft::control_plane
