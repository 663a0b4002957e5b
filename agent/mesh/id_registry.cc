// Ids by hash with linear probing; see id_registry.h. Called by the reconciler on every change of the
// configuration.
#include "agent/mesh/id_registry.h"

#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

uint64_t mix(uint64_t h, std::string_view text) {
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// FNV-1a, 64 bits folded to 32, of the kind's letter and the key: the same on every build and machine.
uint32_t hash(Subject::Kind kind, std::string_view key) {
  const uint64_t h = mix(mix(0xcbf29ce484222325u, kind == Subject::Kind::kWorkload ? "w " : "s "), key);
  return static_cast<uint32_t>(h ^ (h >> 32));
}

}  // namespace

uint32_t IdRegistry::choose(Subject::Kind kind, std::string_view key) const {
  uint32_t id = hash(kind, key);
  while (id == WEFT_ID_UNKNOWN || id == WEFT_ID_OVERFLOW || by_id_.contains(id)) ++id;
  return id;
}

uint32_t IdRegistry::add(const Subject& subject) {
  const auto [known, fresh] = keys(subject.kind).try_emplace(subject.key, WEFT_ID_UNKNOWN);
  if (fresh) known->second = choose(subject.kind, subject.key);
  by_id_[known->second] = subject;
  return known->second;
}

uint32_t IdRegistry::remove(Subject::Kind kind, std::string_view key) {
  const auto known = keys(kind).find(to_absl(key));
  if (known == keys(kind).end()) return WEFT_ID_UNKNOWN;
  const uint32_t id = known->second;
  by_id_.erase(id);
  keys(kind).erase(known);
  return id;
}

IdRegistry IdRegistry::only(const std::vector<uint32_t>& ids) const {
  IdRegistry out;
  for (const uint32_t id : ids) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) continue;
    out.keys(found->second.kind)[found->second.key] = id;
    out.by_id_[id] = found->second;
  }
  return out;
}

uint32_t IdRegistry::find(Subject::Kind kind, std::string_view key) const {
  const auto it = keys(kind).find(to_absl(key));
  return it == keys(kind).end() ? WEFT_ID_UNKNOWN : it->second;
}

const Subject* IdRegistry::subject(uint32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second;
}

}  // namespace weft::agent
