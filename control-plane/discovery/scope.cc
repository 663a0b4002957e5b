// See scope.h.
#include "control-plane/discovery/scope.h"

#include <algorithm>

#include "control-plane/discovery/node_pods.h"
#include "control-plane/resource/objects.h"
#include "proto/istio/security.pb.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"

namespace weft::control_plane {
namespace {

Scope exported(const google::protobuf::RepeatedPtrField<std::string>& export_to) {
  const auto everywhere = [](const std::string& ns) { return ns == "*"; };
  if (export_to.empty() || std::any_of(export_to.begin(), export_to.end(), everywhere)) return {};
  return {.kind = Scope::Kind::kNamespaces, .node = "", .namespaces = {export_to.begin(), export_to.end()}};
}

Scope of_address(const Resource& resource) {
  istio::workload::Address address;
  if (!resource.decode(&address) || !address.has_service()) return {};
  constexpr char kPorts[] = "weft.mesh.v1.ServicePorts";
  for (const istio::workload::Extension& extension : address.service().extensions()) {
    mesh::v1::ServicePorts ports;
    if (extension.name() == kPorts && ports.ParseFromString(extension.config().value()))
      return exported(ports.export_to());
  }
  return {};
}

Scope of_routes(const Resource& resource) {
  mesh::v1::RouteSet routes;
  if (!resource.decode(&routes)) return {};
  if (routes.has_gateway()) return {.kind = Scope::Kind::kGateways, .node = "", .namespaces = {}};
  return exported(routes.export_to());
}

Scope of_destination_policy(const Resource& resource) {
  mesh::v1::DestinationPolicy policy;
  if (!resource.decode(&policy)) return {};
  Scope out = exported(policy.export_to());
  // A namespace sees all of its own rules, whatever they export.
  const auto own = std::find(out.namespaces.begin(), out.namespaces.end(), policy.namespace_());
  if (out.kind == Scope::Kind::kNamespaces && own == out.namespaces.end())
    out.namespaces.push_back(policy.namespace_());
  return out;
}

Scope of_authorization(const Resource& resource) {
  istio::security::Authorization policy;
  if (!resource.decode(&policy) || policy.scope() == istio::security::GLOBAL) return {};
  // Workloads of any namespace may name it.
  if (policy.namespace_() == kRootNamespace) return {};
  return {.kind = Scope::Kind::kNamespaces, .node = "", .namespaces = {policy.namespace_()}};
}

Scope of_authentication(const Resource& resource) {
  mesh::v1::RequestAuthentication object;
  if (!resource.decode(&object) || object.every_namespace()) return {};
  return {.kind = Scope::Kind::kNamespaces, .node = "", .namespaces = {object.namespace_()}};
}

Scope of_pod(const Resource& resource) {
  const absl::StatusOr<LocalPod> pod = read_pod(std::string(resource.body()));
  // A pod that is on no node is nobody's yet.
  if (!pod.ok() || pod->node.empty()) return {.kind = Scope::Kind::kNone, .node = "", .namespaces = {}};
  return {.kind = Scope::Kind::kNode, .node = pod->node, .namespaces = {}};
}

}  // namespace

Scope scope_of(const Resource& resource) {
  const std::string_view type = resource.type_url();
  if (type == kAddressType) return of_address(resource);
  if (type == kRouteSetType) return of_routes(resource);
  if (type == kDestinationPolicyType) return of_destination_policy(resource);
  if (type == kAuthorizationType) return of_authorization(resource);
  if (type == kAuthenticationType) return of_authentication(resource);
  if (type == kPodType) return of_pod(resource);
  if (type == kSecretType) return {.kind = Scope::Kind::kNone, .node = "", .namespaces = {}};
  return {};
}

bool NodeView::sees(const Scope& scope) const {
  const auto any_of = [&scope](const std::set<std::string>& own) {
    return std::any_of(scope.namespaces.begin(), scope.namespaces.end(), [&own](const std::string& ns) {
      return own.contains(ns) || (ns == "*" && !own.empty());
    });
  };
  switch (scope.kind) {
    case Scope::Kind::kAll:
      return true;
    case Scope::Kind::kNone:
      return false;
    case Scope::Kind::kNode:
      return scope.node == node;
    case Scope::Kind::kGateways:
      return gateway;
    case Scope::Kind::kNamespaces:
      return gateway || any_of(namespaces);
    case Scope::Kind::kCaptured:
      return gateway || any_of(captured);
  }
  return false;
}

void NodeNamespaces::put(const Resource& resource, std::set<std::string>& touched) {
  if (std::string_view(resource.type_url()) != kPodType) return;
  const absl::StatusOr<LocalPod> pod = read_pod(std::string(resource.body()));
  if (!pod.ok()) return;
  const Place now{.node = pod->node, .ns = pod->ns, .captured = pod->wants_capture};
  Place& place = places_[pod->uid];
  if (place == now) return;
  leave(place, touched);
  place = now;
  Count& count = counts_[place.node][place.ns];
  if (++count.pods == 1 || (place.captured && count.captured == 0)) touched.insert(place.node);
  if (place.captured) ++count.captured;
}

void NodeNamespaces::remove(std::string_view uid, std::set<std::string>& touched) {
  const auto known = places_.find(uid);
  if (known == places_.end()) return;
  leave(known->second, touched);
  places_.erase(known);
}

void NodeNamespaces::leave(const Place& place, std::set<std::string>& touched) {
  const auto node = counts_.find(place.node);
  if (node == counts_.end()) return;
  const auto ns = node->second.find(place.ns);
  if (ns == node->second.end()) return;
  if (place.captured && --ns->second.captured == 0) touched.insert(place.node);
  if (--ns->second.pods > 0) return;
  node->second.erase(ns);
  touched.insert(place.node);
  if (node->second.empty()) counts_.erase(node);
}

NodeView NodeNamespaces::view_of(const std::string& node, bool gateway) const {
  NodeView out{.node = node, .gateway = gateway, .namespaces = {}, .captured = {}};
  const auto found = counts_.find(node);
  if (found == counts_.end()) return out;
  for (const auto& [ns, count] : found->second) {
    out.namespaces.insert(ns);
    if (count.captured > 0) out.captured.insert(ns);
  }
  return out;
}

}  // namespace weft::control_plane
