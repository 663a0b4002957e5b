// The kinds that Weft reads from an API server: where each is listed, what is asked for, and which of its
// fields nobody needs. docs/kubernetes.md has the same table for RBAC.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "control-plane/resource/gateway_api.h"

namespace weft::control_plane {

struct KubernetesKind {
  std::string_view name;  // as findings call it: "Pod", "IstioGateway"
  std::string_view kind;
  std::string_view group;                      // "": core
  std::span<const std::string_view> versions;  // best first; a server may have any of them
  std::string_view plural;
  std::string_view selector;                   // of the query, escaped; "": all objects
  std::span<const std::string_view> left_out;  // see json_tree.h
  // A CustomResourceDefinition: it may be missing, and come later.
  bool may_be_missing = false;
  // Nobody may have granted the right to read it; asking again and again does not help then.
  bool may_be_refused = false;
  std::string_view in_namespace = {};  // where it is listed; "": in all namespaces

  bool is_of_istio() const { return group.ends_with(".istio.io"); }
  bool is_of_gateway_api() const { return group == kGatewayGroup; }
  std::string api_version(size_t version) const;  // "v1", "networking.istio.io/v1"
  std::string resource() const;                   // "services", "gateways.networking.istio.io": for kubectl
  std::string path(size_t version) const;         // "/apis/networking.istio.io/v1/gateways"
};

std::span<const KubernetesKind> kubernetes_kinds();
// The ConfigMaps that hold a MeshConfig, each by its name and namespace.
std::span<const KubernetesKind> mesh_config_kinds();
// One Namespace, by a selector of its name; the selector outlives it.
KubernetesKind one_namespace_kind(std::string_view selector);
// Secrets of one namespace that the selector selects; both outlive it.
KubernetesKind secret_kind(std::string_view ns, std::string_view selector);

}  // namespace weft::control_plane
