// See remembered.h.
#include "control-plane/compile/remembered.h"

namespace weft::control_plane {

KindStamps::KindStamps(const Objects& objects) {
  // Objects are in the order of their kinds.
  Stamp* stamp = nullptr;
  const std::string* kind = nullptr;
  for (const auto& [key, object] : objects) {
    if (kind == nullptr || *kind != key.kind) {
      kind = &key.kind;
      stamp = &by_kind_[key.kind];
    }
    const ObjectMeta& meta = meta_of(*object);
    if (meta.revision == 0) stamp->unknown = &meta;
    stamp->hash = absl::HashOf(stamp->hash, meta.revision);
  }
}

void KindStamps::add(const std::string& kind, Inputs* out) const {
  const auto found = by_kind_.find(kind);
  if (found == by_kind_.end()) {
    out->number(0);
    return;
  }
  if (found->second.unknown != nullptr) out->object(found->second.unknown);
  out->number(found->second.hash);
}

}  // namespace weft::control_plane
