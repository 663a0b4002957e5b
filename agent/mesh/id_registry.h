// Small numbers for workloads and services, as the BPF maps carry them. An id is derived from the subject's
// key, so it is the same after an agent restart, when pinned maps and live sockets still hold it. Used on the
// reconciler thread; never talks to a map.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

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
  // Replaces the set of living subjects; a subject that stays keeps its id. Returns the ids that are nobody's
  // any more.
  std::vector<uint32_t> set_live(const std::vector<Subject>& subjects);

  // 0 when the subject is not alive.
  uint32_t find(Subject::Kind kind, std::string_view key) const;
  // nullptr when the id belongs to nobody.
  const Subject* subject(uint32_t id) const;
  const std::map<uint32_t, Subject>& subjects() const { return by_id_; }

 private:
  uint32_t choose(const std::string& qualified) const;

  std::map<std::string, uint32_t, std::less<>> by_key_;  // kind letter and key
  std::map<uint32_t, Subject> by_id_;
};

}  // namespace weft::agent
