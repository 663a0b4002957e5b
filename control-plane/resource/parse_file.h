// One file's text to typed objects, findings, and the names of what was refused. Pure: no files, no clock.
// The store and `analyze` call it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/resource/objects.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

struct ParsedFile {
  std::vector<Object> objects;
  // Documents that name an object but were refused: its last good version stays in force.
  std::vector<ObjectKey> refused;
  // True when some document could not even be named: every object this file held before stays in force.
  bool unknown_documents = false;
  std::vector<Finding> findings;
};

ParsedFile parse_file(const std::string& file, std::string_view text);
// One object that is parsed already; `place` stands where parse_file() has the file.
ParsedFile parse_object(const std::string& place, const YamlNode& root);

}  // namespace weft::control_plane
