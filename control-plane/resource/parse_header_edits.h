// "headers" of a VirtualService's http route or of one of its destinations: what is set, added and removed.
#pragma once

#include <string>

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

struct ParsedHeaders {
  mesh::v1::HeaderEdits request, response;
  // Of "host" or ":authority" in request.set or request.add, which mean a rewrite of the host; set beats add.
  std::string authority;
};

inline bool says_something(const mesh::v1::HeaderEdits& edits) {
  return edits.remove_size() > 0 || edits.edits_size() > 0;
}

// `item` is the route or the destination; nothing is read when it has no "headers".
ParsedHeaders parse_header_edits(const FieldReader& item);

// True when the field `name`, lower case, may be edited, and when it may have this value; otherwise it was
// reported at `entry`.
bool check_edited_name(const FieldReader& entry, std::string_view name);
bool check_edited_value(const FieldReader& entry, const std::string& value);

// A Host header's value: a name or an address, maybe with a port. Reports what is none.
void check_authority(const FieldReader& value, const std::string& authority);

}  // namespace weft::control_plane
