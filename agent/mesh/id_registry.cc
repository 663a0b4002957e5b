// Ids by hash with linear probing; see id_registry.h. Called by the reconciler on every change of the
// configuration.
#include "agent/mesh/id_registry.h"

#include <set>

#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

std::string qualify(Subject::Kind kind, std::string_view key) {
  return str_cat(kind == Subject::Kind::kWorkload ? "w " : "s ", key);
}

// FNV-1a, 64 bits folded to 32: the same on every build and machine.
uint32_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return static_cast<uint32_t>(h ^ (h >> 32));
}

}  // namespace

uint32_t IdRegistry::choose(const std::string& qualified) const {
  uint32_t id = hash(qualified);
  while (id == WEFT_ID_UNKNOWN || id == WEFT_ID_OVERFLOW || by_id_.contains(id)) ++id;
  return id;
}

std::vector<uint32_t> IdRegistry::set_live(const std::vector<Subject>& subjects) {
  std::set<uint32_t> live;
  std::vector<const Subject*> fresh;
  for (const Subject& subject : subjects) {
    const auto known = by_key_.find(qualify(subject.kind, subject.key));
    if (known == by_key_.end()) {
      fresh.push_back(&subject);
      continue;
    }
    live.insert(known->second);
    by_id_[known->second] = subject;
  }
  std::vector<uint32_t> released;
  for (auto it = by_key_.begin(); it != by_key_.end();) {
    if (live.contains(it->second)) {
      ++it;
      continue;
    }
    released.push_back(it->second);
    by_id_.erase(it->second);
    it = by_key_.erase(it);
  }
  for (const Subject* subject : fresh) {
    const std::string qualified = qualify(subject->kind, subject->key);
    if (by_key_.contains(qualified)) continue;
    const uint32_t id = choose(qualified);
    by_key_[qualified] = id;
    by_id_[id] = *subject;
    std::erase(released, id);
  }
  return released;
}

uint32_t IdRegistry::find(Subject::Kind kind, std::string_view key) const {
  const auto it = by_key_.find(qualify(kind, key));
  return it == by_key_.end() ? WEFT_ID_UNKNOWN : it->second;
}

const Subject* IdRegistry::subject(uint32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second;
}

}  // namespace weft::agent
