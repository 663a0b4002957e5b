// Small numbers for workloads and services, as the BPF maps carry them. An id is derived from the subject's
// key, so it is the same after an agent restart, when pinned maps and live sockets still hold it. Used on the
// reconciler thread; never talks to a map.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

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
  // The subject's id; one that is known keeps it and may change its name.
  uint32_t add(const Subject& subject);
  // The id that is nobody's any more; 0 when there was none.
  uint32_t remove(Subject::Kind kind, std::string_view key);

  // 0 when the subject is not alive.
  uint32_t find(Subject::Kind kind, std::string_view key) const;
  // nullptr when the id belongs to nobody.
  const Subject* subject(uint32_t id) const;
  size_t size() const { return by_id_.size(); }
  // A registry of these ids alone, for a reader that must not hold up the owner.
  IdRegistry only(const std::vector<uint32_t>& ids) const;

 private:
  using Keys = absl::flat_hash_map<std::string, uint32_t>;
  uint32_t choose(Subject::Kind kind, std::string_view key) const;
  Keys& keys(Subject::Kind kind) { return kind == Subject::Kind::kWorkload ? workloads_ : services_; }
  const Keys& keys(Subject::Kind kind) const {
    return kind == Subject::Kind::kWorkload ? workloads_ : services_;
  }

  Keys workloads_;
  Keys services_;
  absl::flat_hash_map<uint32_t, Subject> by_id_;
};

}  // namespace weft::agent
