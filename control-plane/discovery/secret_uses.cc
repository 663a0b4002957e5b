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

// A rule for somebody else's service holds for clients of its own namespace alone, whatever it is exported to
// (the order in which rules are looked up: client's, service's, root namespace).
bool is_of_clients_only(const DestinationPolicy& policy) {
  const std::string service = namespace_of(policy.host());
  return policy.namespace_() != kRootNamespace && !service.empty() && service != policy.namespace_();
}

// Keys are for who dials, which is a captured pod of those namespaces, or a gateway.
Scope users_of(const DestinationPolicy& policy, const Scope& scope) {
  Scope out{.kind = Scope::Kind::kCaptured, .node = "", .namespaces = {}};
  const bool everywhere = scope.kind == Scope::Kind::kAll;
  if (!is_of_clients_only(policy)) {
    out.namespaces = everywhere ? std::vector<std::string>{"*"} : scope.namespaces;
  } else if (everywhere ||
             std::count(scope.namespaces.begin(), scope.namespaces.end(), policy.namespace_())) {
    out.namespaces = {policy.namespace_()};
  }
  return out;
}

}  // namespace

void SecretUses::put(const Resource& resource, const Scope& scope, std::set<std::string>& touched) {
  const std::string_view type = resource.type_url();
  if (type != kRouteSetType && type != kDestinationPolicyType) return;
  remove(std::string(type), resource.name(), touched);
  Use use{.secrets = {}, .scope = scope};
  // Of route sets those of gateways name some: the others, of which there are many, are not read again.
  if (mesh::v1::RouteSet routes; type == kRouteSetType && scope.kind == Scope::Kind::kGateways) {
    if (resource.decode(&routes)) use.secrets = named_by(routes);
  } else if (DestinationPolicy policy; type == kDestinationPolicyType && resource.decode(&policy)) {
    use.secrets = named_by(policy);
    use.scope = users_of(policy, scope);
  }
  if (use.secrets.empty()) return;
  const User user(type, resource.name());
  for (const std::string& secret : use.secrets) {
    users_[secret].insert(user);
    touched.insert(secret);
  }
  uses_.emplace(user, std::move(use));
}

void SecretUses::remove(const std::string& type, std::string_view name, std::set<std::string>& touched) {
  if (type != kRouteSetType && type != kDestinationPolicyType) return;
  const auto known = uses_.find(User(type, name));
  if (known == uses_.end()) return;
  for (const std::string& secret : known->second.secrets) {
    const auto users = users_.find(secret);
    users->second.erase(known->first);
    if (users->second.empty()) users_.erase(users);
    touched.insert(secret);
  }
  uses_.erase(known);
}

Scope SecretUses::of(std::string_view secret) const {
  const auto users = users_.find(to_absl(secret));
  if (users == users_.end()) return {.kind = Scope::Kind::kNone, .node = "", .namespaces = {}};
  std::set<std::string> namespaces;
  for (const User& user : users->second) {
    const Scope& scope = uses_.at(user).scope;
    namespaces.insert(scope.namespaces.begin(), scope.namespaces.end());
  }
  // Gateways dial for their clients, so they are among who needs any of them.
  return {.kind = Scope::Kind::kCaptured, .node = "", .namespaces = {namespaces.begin(), namespaces.end()}};
}

}  // namespace weft::control_plane
