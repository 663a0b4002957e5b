// Which nodes need which keys: a Secret is for the nodes that see a resource which names it, and of these for
// those that can use it, whatever it says itself. Pure bookkeeping; AdsService feeds it what it serves.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "control-plane/control_plane.h"
#include "control-plane/discovery/scope.h"

namespace weft::control_plane {

class SecretUses {
 public:
  // A route set or destination policy is new or another one, and for `scope`; others change nothing. The
  // Secrets ("<namespace>/<name>") whose scope may be another now are added to `touched`.
  void put(const Resource& resource, const Scope& scope, std::set<std::string>& touched);
  void remove(const std::string& type, std::string_view name, std::set<std::string>& touched);

  // kNone: nobody needs it.
  Scope of(std::string_view secret) const;

 private:
  struct Use {
    std::set<std::string> secrets;
    Scope scope;
  };
  using User = std::pair<std::string, std::string>;  // type and name of a resource

  // By the Secret: who names it.
  absl::flat_hash_map<std::string, std::set<User>> users_;
  std::map<User, Use> uses_;  // of those that name any
};

}  // namespace weft::control_plane
