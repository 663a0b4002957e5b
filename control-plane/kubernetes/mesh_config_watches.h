// The ConfigMaps that hold a MeshConfig, each watched by its name: RBAC can grant it by resourceNames, and
// who has not granted it goes without. Of a KubernetesSource; bound to its thread.
#pragma once

#include <memory>
#include <random>
#include <vector>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

class MeshConfigWatches {
 public:
  using Clock = Reflector::Clock;
  // All outlive it.
  MeshConfigWatches(ApiClient& client, const ReflectorTiming& timing, std::minstd_rand& random);

  // Begins what is due. Before each turn of the client.
  void tick(Clock::time_point now);
  // When tick() has something to do next.
  Clock::time_point due() const;
  // Until when the server has time to answer, so that the first change says what holds for the mesh; now or
  // before: it has, or cannot.
  Clock::time_point awaited() const;
  bool changed() const;
  void take(Store::Changes* changes);

  std::vector<const Reflector*> reflectors() const;
  // Of all together.
  SourceReport::Kind counts() const;

 private:
  const Clock::time_point began_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;
};

}  // namespace weft::control_plane
