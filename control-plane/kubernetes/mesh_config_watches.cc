// See mesh_config_watches.h.
#include "control-plane/kubernetes/mesh_config_watches.h"

#include <algorithm>

namespace weft::control_plane {
namespace {

// Of a server that does not answer for them: the mesh begins with its defaults.
constexpr std::chrono::seconds kPatience(30);

}  // namespace

MeshConfigWatches::MeshConfigWatches(std::span<const KubernetesKind> kinds, ApiClient& client,
                                     const ReflectorTiming& timing, std::minstd_rand& random) {
  for (const KubernetesKind& kind : kinds)
    reflectors_.push_back(std::make_unique<Reflector>(kind, client, timing, random));
}

void MeshConfigWatches::tick(Clock::time_point now) {
  for (const auto& reflector : reflectors_) reflector->tick(now);
}

MeshConfigWatches::Clock::time_point MeshConfigWatches::due() const {
  Clock::time_point out = Clock::time_point::max();
  for (const auto& reflector : reflectors_) out = std::min(out, reflector->due());
  return out;
}

MeshConfigWatches::Clock::time_point MeshConfigWatches::awaited(Clock::time_point now) {
  if (!asked_) asked_ = now;
  const bool all = std::all_of(reflectors_.begin(), reflectors_.end(),
                               [](const auto& reflector) { return reflector->answered(); });
  return all ? Clock::time_point::min() : *asked_ + kPatience;
}

bool MeshConfigWatches::changed() const {
  return std::any_of(reflectors_.begin(), reflectors_.end(),
                     [](const auto& reflector) { return reflector->settled() && reflector->changed(); });
}

void MeshConfigWatches::take(Store::Changes* changes) {
  for (const auto& reflector : reflectors_) {
    if (!reflector->settled()) continue;
    for (auto& [place, file] : reflector->take()) changes->insert_or_assign(place, std::move(file));
  }
}

std::vector<const Reflector*> MeshConfigWatches::reflectors() const {
  std::vector<const Reflector*> out;
  for (const auto& reflector : reflectors_) out.push_back(reflector.get());
  return out;
}

SourceReport::Kind MeshConfigWatches::counts() const {
  SourceReport::Kind sum{.kind = "ConfigMap"};
  for (const auto& reflector : reflectors_) sum.add(reflector->counts());
  return sum;
}

}  // namespace weft::control_plane
