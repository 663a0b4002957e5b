// Ids by hash with linear probing; see id_registry.h. Called by the reconciler on every change of the
// configuration.
#include "agent/mesh/id_registry.h"

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

uint32_t IdRegistry::add(const Subject& subject) {
  std::string qualified = qualify(subject.kind, subject.key);
  const auto known = by_key_.find(qualified);
  const uint32_t id = known != by_key_.end() ? known->second : choose(qualified);
  by_key_[std::move(qualified)] = id;
  by_id_[id] = subject;
  return id;
}

uint32_t IdRegistry::remove(Subject::Kind kind, std::string_view key) {
  const auto known = by_key_.find(qualify(kind, key));
  if (known == by_key_.end()) return WEFT_ID_UNKNOWN;
  const uint32_t id = known->second;
  by_id_.erase(id);
  by_key_.erase(known);
  return id;
}

IdRegistry IdRegistry::only(const std::vector<uint32_t>& ids) const {
  IdRegistry out;
  for (const uint32_t id : ids) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) continue;
    out.by_key_[qualify(found->second.kind, found->second.key)] = id;
    out.by_id_[id] = found->second;
  }
  return out;
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
