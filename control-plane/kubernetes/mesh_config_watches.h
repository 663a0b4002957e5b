// The ConfigMaps that hold a MeshConfig, each watched by its name: RBAC can grant it by resourceNames, and
// who has not granted it goes without. Of a KubernetesSource; bound to its thread.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

class MeshConfigWatches {
 public:
  using Clock = Reflector::Clock;
  // One for each of `kinds`, of which there may be none. All outlive it.
  MeshConfigWatches(std::span<const KubernetesKind> kinds, ApiClient& client, const ReflectorTiming& timing,
                    std::minstd_rand& random);

  // Begins what is due. Before each turn of the client.
  void tick(Clock::time_point now);
  // When tick() has something to do next.
  Clock::time_point due() const;
  // Until when the first change waits for an answer, so that it says what holds for the mesh: 30 s from when
  // this is first asked, as all else has been read by then. Now or before: all were answered (a refusal, 401
  // or 403, is an answer; a server in trouble gave none), or it was long enough.
  Clock::time_point awaited(Clock::time_point now);
  bool changed() const;
  void take(Store::Changes* changes);

  std::vector<const Reflector*> reflectors() const;
  // Of all together.
  SourceReport::Kind counts() const;

 private:
  std::optional<Clock::time_point> asked_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;
};

}  // namespace weft::control_plane
