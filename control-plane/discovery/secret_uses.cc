// See secret_uses.h.
#include "control-plane/discovery/secret_uses.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "control-plane/resource/objects.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {
namespace {

using mesh::v1::DestinationPolicy;
using mesh::v1::TrafficPolicy;

constexpr std::string_view kClusterSuffix = ".svc.cluster.local";

std::set<std::string> named_by(const mesh::v1::RouteSet& routes) {
  std::set<std::string> out;
  for (const mesh::v1::TlsServer& server : routes.gateway().servers()) {
    out.insert(server.certificates().begin(), server.certificates().end());
    if (!server.client_roots().empty()) out.insert(server.client_roots());
  }
  return out;
}

std::set<std::string> named_by(const DestinationPolicy& policy) {
  std::set<std::string> out;
  const auto add = [&](const mesh::v1::ClientTls& tls) {
    if (tls.credential_name().empty()) return;
    out.insert(str_cat(policy.namespace_(), "/", tls.credential_name()));
    // Where its authority is looked for too.
    out.insert(str_cat(policy.namespace_(), "/", tls.credential_name(), "-cacert"));
  };
  const auto add_all = [&](const TrafficPolicy& traffic) {
    add(traffic.tls());
    for (const TrafficPolicy::Port& port : traffic.ports()) add(port.policy().tls());
  };
  add_all(policy.traffic_policy());
  for (const DestinationPolicy::Subset& subset : policy.subsets()) add_all(subset.traffic_policy());
  return out;
}

// Of a Service of the cluster; "": of none, or of several.
std::string namespace_of(std::string_view host) {
  if (!host.ends_with(kClusterSuffix) || host.starts_with("*")) return "";
  host.remove_suffix(kClusterSuffix.size());
  const size_t dot = host.find('.');
  return dot == host.npos ? "" : std::string(host.substr(dot + 1));
}

// From one of an index's sets, which go when they are empty.
template <typename Index, typename User>
void leave(Index& index, const std::string& key, const User& user) {
  const auto found = index.find(key);
  if (found == index.end()) return;
  found->second.erase(user);
  if (found->second.empty()) index.erase(found);
}

// Of what is, or would be, a service's name ("<namespace>/<host>"): the host is named like a Service of
// another namespace, as only a ServiceEntry's can be.
bool is_foreign(std::string_view service) {
  const size_t slash = service.find('/');
  if (slash == service.npos || service.find('/', slash + 1) != service.npos) return false;
  const std::string named = namespace_of(service.substr(slash + 1));
  return !named.empty() && named != service.substr(0, slash);
}

Scope captured(std::vector<std::string> namespaces) {
  return {.kind = Scope::Kind::kCaptured, .node = "", .namespaces = std::move(namespaces)};
}

}  // namespace

// Keys are for who dials, which is a captured pod of those namespaces, or a gateway. A rule for somebody
// else's service holds for clients of its own namespace alone, whatever it is exported to (the order in which
// rules are looked up: client's, service's, root namespace); a ServiceEntry of its namespace makes the
// service its own, however that is named.
Scope SecretUses::needed(const Use& use) const {
  const bool everywhere = use.scope.kind == Scope::Kind::kAll;
  const bool of_clients_only =
      use.ns != kRootNamespace && is_foreign(use.as_service) && !foreign_.contains(use.as_service);
  if (!of_clients_only) return captured(everywhere ? std::vector<std::string>{"*"} : use.scope.namespaces);
  const bool own = everywhere || std::count(use.scope.namespaces.begin(), use.scope.namespaces.end(), use.ns);
  return captured(own ? std::vector<std::string>{use.ns} : std::vector<std::string>());
}

void SecretUses::look_again_at(std::string_view service, std::set<std::string>& touched) {
  const auto users = by_service_.find(to_absl(service));
  if (users == by_service_.end()) return;
  for (const User& user : users->second) {
    Use& use = uses_.at(user);
    use.needed = needed(use);
    touched.insert(use.secrets.begin(), use.secrets.end());
  }
}

void SecretUses::put(const Resource& resource, const Scope& scope, std::set<std::string>& touched) {
  const std::string_view type = resource.type_url();
  if (type == kAddressType && is_foreign(resource.name()) && foreign_.emplace(resource.name()).second)
    look_again_at(resource.name(), touched);
  if (type != kRouteSetType && type != kDestinationPolicyType) return;
  remove(std::string(type), resource.name(), touched);
  Use use{.secrets = {}, .scope = scope, .needed = scope};
  // Of route sets those of gateways name some: the others, of which there are many, are not read again.
  if (mesh::v1::RouteSet routes; type == kRouteSetType && scope.kind == Scope::Kind::kGateways) {
    if (resource.decode(&routes)) use.secrets = named_by(routes);
  } else if (DestinationPolicy policy; type == kDestinationPolicyType && resource.decode(&policy)) {
    use.secrets = named_by(policy);
    use.ns = policy.namespace_();
    use.as_service = str_cat(policy.namespace_(), "/", policy.host());
    use.needed = needed(use);
  }
  if (use.secrets.empty()) return;
  const User user(type, resource.name());
  for (const std::string& secret : use.secrets) {
    users_[secret].insert(user);
    touched.insert(secret);
  }
  if (is_foreign(use.as_service)) by_service_[use.as_service].insert(user);
  uses_.emplace(user, std::move(use));
}

void SecretUses::remove(const std::string& type, std::string_view name, std::set<std::string>& touched) {
  if (type == kAddressType && foreign_.erase(to_absl(name)) > 0) look_again_at(name, touched);
  if (type != kRouteSetType && type != kDestinationPolicyType) return;
  const auto known = uses_.find(User(type, name));
  if (known == uses_.end()) return;
  for (const std::string& secret : known->second.secrets) {
    leave(users_, secret, known->first);
    touched.insert(secret);
  }
  leave(by_service_, known->second.as_service, known->first);
  uses_.erase(known);
}

Scope SecretUses::of(std::string_view secret) const {
  const auto users = users_.find(to_absl(secret));
  if (users == users_.end()) return {.kind = Scope::Kind::kNone, .node = "", .namespaces = {}};
  std::set<std::string> namespaces;
  for (const User& user : users->second) {
    const Scope& scope = uses_.at(user).needed;
    namespaces.insert(scope.namespaces.begin(), scope.namespaces.end());
  }
  // Gateways dial for their clients, so they are among who needs any of them.
  return {.kind = Scope::Kind::kCaptured, .node = "", .namespaces = {namespaces.begin(), namespaces.end()}};
}

}  // namespace weft::control_plane
