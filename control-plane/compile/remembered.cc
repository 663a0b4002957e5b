// See remembered.h.
#include "control-plane/compile/remembered.h"

namespace weft::control_plane {

void KindStamps::add(const std::string& kind, Inputs* out) const {
  const auto [known, fresh] = by_kind_.try_emplace(kind);
  Stamp& stamp = known->second;
  if (fresh) {
    for (auto at = objects_.lower_bound(ObjectKey{kind, "", ""});
         at != objects_.end() && at->first.kind == kind; ++at) {
      const ObjectMeta& meta = meta_of(*at->second);
      if (meta.revision == 0) stamp.unknown = &meta;
      stamp.hash = absl::HashOf(stamp.hash, meta.revision);
    }
  }
  if (stamp.unknown != nullptr) out->object(stamp.unknown);
  out->number(stamp.hash);
}

}  // namespace weft::control_plane
