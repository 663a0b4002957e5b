// See gateway_identities.h.
#include "control-plane/serve/gateway_identities.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {
namespace {

// "gateway/443/*": of a port's sets of routes, of which there is one for each host, this one has the
// identities of all.
bool has_identities(std::string_view name) { return name.starts_with("gateway/") && name.ends_with("/*"); }

}  // namespace

void GatewayIdentities::apply(const Change& change) {
  const absl::MutexLock lock(&mutex_);
  for (const Resource& resource : change.upserted) {
    if (std::string_view(resource.type_url()) != kRouteSetType || !has_identities(resource.name())) continue;
    mesh::v1::RouteSet routes;
    if (!resource.decode(&routes)) continue;
    std::set<SpiffeId> identities;
    for (const std::string& text : routes.gateway().identities()) {
      if (const std::optional<SpiffeId> id = SpiffeId::parse(text)) identities.insert(*id);
    }
    by_port_.erase(std::string(resource.name()));
    if (!identities.empty()) by_port_.emplace(std::string(resource.name()), std::move(identities));
  }
  for (const auto& [type, name] : change.removed) {
    if (type == kRouteSetType) by_port_.erase(name);
  }
}

bool GatewayIdentities::contains(const SpiffeId& id) const {
  const absl::MutexLock lock(&mutex_);
  return std::any_of(by_port_.begin(), by_port_.end(),
                     [&id](const auto& port) { return port.second.contains(id); });
}

}  // namespace weft::control_plane
