// Small numbers for workloads and services, as the BPF maps carry them. An id is derived from the subject's
// key, so it is the same after an agent restart, when pinned maps and live sockets still hold it. What a
// subject is called is read from its resource when somebody asks. Used on the reconciler thread; never talks
// to a map.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "control-plane/control_plane.h"

namespace weft::agent {

struct Subject {
  enum class Kind : uint8_t { kWorkload, kService };
  Kind kind = Kind::kWorkload;
  std::string key;  // a workload's uid, a service's "<namespace>/<hostname>"
  std::string name;
  std::string ns;
};

class IdRegistry {
 public:
  // The subject's id; one that is known keeps it and may change its name. The resource is an istio Address of
  // that kind, and its name is the key.
  uint32_t add(Subject::Kind kind, const control_plane::Resource& resource);
  // One that no resource describes.
  uint32_t add(const Subject& subject);
  // The id that is nobody's any more; 0 when there was none.
  uint32_t remove(Subject::Kind kind, std::string_view key);

  // 0 when the subject is not alive.
  uint32_t find(Subject::Kind kind, std::string_view key) const;
  // nullopt when the id belongs to nobody.
  std::optional<Subject> subject(uint32_t id) const;
  // A service's key without the rest of it; empty when the id is no living service's.
  std::string_view service_key(uint32_t id) const;
  bool contains(uint32_t id) const { return by_id_.contains(id); }
  size_t size() const { return by_id_.size(); }
  // A registry of these ids alone, for a reader that must not hold up the owner.
  IdRegistry only(const std::vector<uint32_t>& ids) const;

 private:
  struct Row {
    uint32_t id = 0;
    Subject::Kind kind = Subject::Kind::kWorkload;
    control_plane::Resource resource;
  };
  struct HashById {
    using is_transparent = void;
    size_t operator()(uint32_t id) const { return absl::Hash<uint32_t>()(id); }
    size_t operator()(const Row& row) const { return (*this)(row.id); }
  };
  struct EqualById {
    using is_transparent = void;
    static uint32_t id(uint32_t id) { return id; }
    static uint32_t id(const Row& row) { return row.id; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return id(a) == id(b);
    }
  };

  const Row* locate(uint32_t hashed, Subject::Kind kind, std::string_view key) const;
  uint32_t put(Row row);

  // An id is its key's hash, so that a key is found by its id and needs no table of its own ...
  absl::flat_hash_set<Row, HashById, EqualById> by_id_;
  // ... but for those whose number others had already: they have one of the next.
  std::map<std::pair<Subject::Kind, std::string>, uint32_t> displaced_;
};

}  // namespace weft::agent
