// The objects in force: per file the last good version of each, and over all files the first by path order.
// The control plane thread owns it; it reads no files itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control-plane/resource/objects.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {

class Store {
 public:
  // Path to what it says now; nullopt: the file is gone. One call is one consistent step.
  using Changes = std::map<std::string, std::optional<ParsedFile>>;
  void update(Changes changes);

  // Valid until the next update().
  const std::map<ObjectKey, const Object*>& objects() const { return objects_; }
  // Of every file, in path order, and about duplicates.
  std::vector<Finding> findings() const;

 private:
  struct File {
    std::map<ObjectKey, Object> objects;
    std::vector<Finding> findings;
  };

  std::map<ObjectKey, Object> merge(File* old, ParsedFile& parsed, std::vector<Finding>& findings);
  void rebuild();

  std::map<std::string, File> files_;
  std::map<ObjectKey, const Object*> objects_;
  std::vector<Finding> duplicates_;
  uint64_t revision_ = 0;  // the last that was given
};

}  // namespace weft::control_plane
