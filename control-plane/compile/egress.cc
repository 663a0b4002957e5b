// See egress.h.
#include "control-plane/compile/egress.h"

#include <algorithm>
#include <tuple>

#include "control-plane/compile/mesh_config.h"
#include "control-plane/resource/policy_terms.h"

namespace weft::control_plane {
namespace {

bool older(const Sidecar* a, const Sidecar* b) {
  return std::tie(a->meta.created_unix, a->meta.name) < std::tie(b->meta.created_unix, b->meta.name);
}

}  // namespace

EgressModes::EgressModes(const Objects& objects) {
  if (const MeshConfig* const mesh = mesh_config_of(objects)) mesh_ = mesh->registry_only.value_or(false);
  for_each<Sidecar>(objects, [this](const Sidecar& object) {
    if (!object.registry_only) return;
    OfNamespace& of = by_ns_[object.meta.ns];
    (object.selector.empty() ? of.whole : of.selecting).push_back(&object);
  });
  for (auto& [ns, of] : by_ns_) {
    std::sort(of.whole.begin(), of.whole.end(), older);
    std::sort(of.selecting.begin(), of.selecting.end(), older);
  }
}

bool EgressModes::registry_only(const std::string& ns,
                                const std::map<std::string, std::string>& labels) const {
  if (const auto own = by_ns_.find(ns); own != by_ns_.end()) {
    for (const Sidecar* object : own->second.selecting) {
      if (selects(object->selector, labels)) return *object->registry_only;
    }
    if (!own->second.whole.empty()) return *own->second.whole.front()->registry_only;
  }
  const auto root = by_ns_.find(kRootNamespace);
  if (root != by_ns_.end() && !root->second.whole.empty()) return *root->second.whole.front()->registry_only;
  return mesh_;
}

}  // namespace weft::control_plane
