// Which nodes need which keys: a Secret is for the nodes that see a resource which names it, and of these for
// those that can use it, whatever it says itself. Pure bookkeeping; AdsService feeds it what it serves.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "control-plane/control_plane.h"
#include "control-plane/discovery/scope.h"

namespace weft::control_plane {

class SecretUses {
 public:
  // A route set or destination policy is new or another one, and for `scope`, or a service is; others change
  // nothing. The Secrets ("<namespace>/<name>") whose scope may be another now are added to `touched`.
  void put(const Resource& resource, const Scope& scope, std::set<std::string>& touched);
  void remove(const std::string& type, std::string_view name, std::set<std::string>& touched);

  // kNone: nobody needs it.
  Scope of(std::string_view secret) const;

 private:
  struct Use {
    std::set<std::string> secrets;
    Scope scope;                  // of the resource
    Scope needed;                 // the part of it that has a use for them
    std::string ns = {};          // of a destination policy
    std::string as_service = {};  // what its host would be called as a service of its namespace
  };
  using User = std::pair<std::string, std::string>;  // type and name of a resource

  // Which of those that see it need its keys, now.
  Scope needed(const Use& use) const;
  // A ServiceEntry's service, named like a Service of another namespace, came or went.
  void look_again_at(std::string_view service, std::set<std::string>& touched);

  // By the Secret: who names it.
  absl::flat_hash_map<std::string, std::set<User>> users_;
  std::map<User, Use> uses_;  // of those that name any
  // Services "<namespace>/<host>" whose hosts are named like Services of other namespaces: few, if any.
  absl::flat_hash_set<std::string> foreign_;
  // By Use::as_service, where that would be such a one.
  absl::flat_hash_map<std::string, std::set<User>> by_service_;
};

}  // namespace weft::control_plane
