// The objects in force: per file the last good version of each, and over all files the first by path order.
// The control plane thread owns it; it reads no files itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control-plane/resource/objects.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {

// What one step made of an object.
struct ObjectChange {
  ObjectKey key;
  const Object* before = nullptr;  // nullptr: there was none. Valid until the store's next update().
  const Object* now = nullptr;     // nullptr: it is gone
};

class Store {
 public:
  // Path to what it says now; nullopt: the file is gone. One call is one consistent step; it costs what it
  // changes, unless several files have the same object. The objects that are others than they were, in the
  // order of their keys.
  using Changes = std::map<std::string, std::optional<ParsedFile>>;
  std::vector<ObjectChange> update(Changes changes);

  // Valid until the next update().
  const std::map<ObjectKey, const Object*>& objects() const { return objects_; }
  // Of every file, in path order, and about duplicates.
  std::vector<Finding> findings() const;
  // Another one whenever these may be others.
  uint64_t findings_version() const { return findings_version_; }

 private:
  struct File {
    std::map<ObjectKey, Object> objects;
    std::vector<Finding> findings;
  };

  // A key that a step may change: what was in force (nullptr: nothing), and whether a file that is replaced
  // had it.
  struct Before {
    const Object* object = nullptr;
    bool replaced = false;
  };
  using Touched = std::map<ObjectKey, Before>;

  std::map<ObjectKey, Object> merge(File* old, ParsedFile& parsed, std::vector<Finding>& findings);
  void touch(const File& file, bool replaced, Touched& out) const;
  void replace(std::map<std::string, File> updated, const Changes& changes);
  // False: some object is in two files.
  bool patch(const Touched& touched, const Changes& changes);
  void rebuild();

  std::map<std::string, File> files_;
  std::set<std::string> with_findings_;  // of files_
  std::vector<File> retired_;            // versions that the last update replaced
  std::map<ObjectKey, const Object*> objects_;
  std::vector<Finding> duplicates_;
  uint64_t findings_version_ = 0;
  uint64_t revision_ = 0;  // the last that was given
};

}  // namespace weft::control_plane
