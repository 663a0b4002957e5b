// The Secrets that Gateways and DestinationRules name, each watched by its name: no other one is asked for,
// and the right to read them can be given one by one. Of a KubernetesSource; bound to its thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

class SecretWatches {
 public:
  using Clock = Reflector::Clock;
  // All outlive it.
  SecretWatches(ApiClient& client, const ReflectorTiming& timing, std::minstd_rand& random)
      : client_(client), timing_(timing), random_(random) {}

  // What is about to be told: what its objects name is watched from now on, what none names any more is
  // forgotten, which `changes` then says too.
  void note(Clock::time_point now, Store::Changes* changes);
  // Begins what is due. Before each turn of the client.
  void tick(Clock::time_point now);
  // When tick() has something to do next.
  Clock::time_point due() const;
  // Until when the server has time to answer for the Secrets that were named last, so that they are told with
  // their gateways; now or before: it has, or cannot. `first`: nothing was told yet, and whoever had keys of
  // an earlier process would be told that there are none.
  Clock::time_point awaited(bool first) const;
  bool changed() const;
  void take(Store::Changes* changes);

  // That more Secrets are named than are watched, ending with " (next: …)"; nullopt: all are.
  std::optional<std::string> problem() const;

  std::vector<const Reflector*> reflectors() const;
  // Of all together; nothing when none is watched.
  std::vector<SourceReport::Kind> counts() const;

 private:
  using Name = std::pair<std::string, std::string>;  // namespace and name
  struct Watch {
    Watch(const Name& name, ApiClient& client, const ReflectorTiming& timing, std::minstd_rand& random,
          Clock::time_point now);
    const std::string ns, selector;
    const KubernetesKind kind;
    Reflector reflector;
    const Clock::time_point began;
  };

  ApiClient& client_;
  const ReflectorTiming& timing_;
  std::minstd_rand& random_;
  std::map<std::string, std::set<Name>> named_;  // by the place of the gateway
  std::map<Name, std::unique_ptr<Watch>> watches_;
  size_t unwatched_ = 0;  // names beyond the most
};

}  // namespace weft::control_plane
