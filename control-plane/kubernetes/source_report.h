// What a source of configuration says about itself. Included through kubernetes_control_plane.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::control_plane {

struct SourceReport {
  // One kind of object of an API server; counts since the start.
  struct Kind {
    std::string kind;
    uint64_t objects = 0;  // known now
    uint64_t parsed = 0;   // objects that were new or changed
    uint64_t lists = 0;    // complete ones, streamed ones too
    uint64_t watches = 0;  // begun
    uint64_t relists = 0;  // lists that the server's forgetting (410) asked for
    uint64_t errors = 0;   // requests refused or broken, objects that could not be read

    // Of the same kind, read in another way.
    void add(const Kind& other) {
      objects += other.objects;
      parsed += other.parsed;
      lists += other.lists;
      watches += other.watches;
      relists += other.relists;
      errors += other.errors;
    }
  };
  // Why the configuration may be old, each ending with " (next: …)".
  std::vector<std::string> problems;
  std::vector<Kind> kinds;
};

}  // namespace weft::control_plane
