// One file's text to typed objects, findings, and the names of what was refused. Pure: no files, no clock.
// The store and `analyze` call it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/resource/objects.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

struct ParsedFile {
  std::vector<Object> objects;
  // Objects that are in force as this file's last version gave them to the store.
  std::vector<ObjectKey> kept;
  // Documents that name an object but were refused: its last good version stays in force.
  std::vector<ObjectKey> refused;
  // True when some document could not even be named: every object this file held before stays in force.
  bool unknown_documents = false;
  std::vector<Finding> findings;
};

ParsedFile parse_file(const std::string& file, std::string_view text);

// Parses the versions of one file, one after the other, each of which the store is given: a document that is
// on the line where it was, with the text that it had, is not parsed again. One thread.
class FileVersions {
 public:
  ParsedFile parse(const std::string& file, std::string_view text);

 private:
  // The line that a document begins on, and SHA-256 of its text.
  using Version = std::pair<uint32_t, std::array<uint8_t, 32>>;
  // What became of it, without its objects.
  struct Document {
    std::vector<ObjectKey> objects, refused;
    bool unknown = false;
    std::vector<Finding> findings;
  };
  using Documents = std::map<Version, Document>;

  static ParsedFile read(const std::string& file, std::string_view text, const Documents& before,
                         Documents& now);

  Documents last_;
};

// One object that is parsed already; `place` stands where parse_file() has the file.
ParsedFile parse_object(const std::string& place, const YamlNode& root);

}  // namespace weft::control_plane
