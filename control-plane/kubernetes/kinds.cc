// See kinds.h.
#include "control-plane/kubernetes/kinds.h"

#include <array>

#include "base/strings.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {
namespace {

using Text = std::string_view;

constexpr Text kManaged = "metadata.managedFields";
constexpr Text kApplied = "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration";
constexpr Text kGeneration = "metadata.generation";

// Status is what others write: reading it would mean an event for each of their writes.
constexpr std::array<Text, 4> kSpecOnly = {kManaged, kApplied, kGeneration, "status"};
// Its generation is told with the status of the object.
constexpr std::array<Text, 3> kWithStatus = {kManaged, kApplied, "status"};
constexpr std::array<Text, 5> kMetaOnly = {kManaged, kApplied, kGeneration, "status", "spec"};
// Each change of a slice changes an annotation that says when. (Not all annotations: a bookmark's says that a
// streamed list is complete.)
constexpr std::array<Text, 3> kSlice = {
    kManaged, kGeneration, "metadata.annotations.endpoints.kubernetes.io/last-change-trigger-time"};
constexpr std::array<Text, 50> kPod = {kManaged,
                                       kApplied,
                                       kGeneration,
                                       "spec.volumes",
                                       "spec.affinity",
                                       "spec.tolerations",
                                       "spec.topologySpreadConstraints",
                                       "spec.securityContext",
                                       "spec.containers.args",
                                       "spec.containers.command",
                                       "spec.containers.env",
                                       "spec.containers.envFrom",
                                       "spec.containers.image",
                                       "spec.containers.lifecycle",
                                       "spec.containers.livenessProbe",
                                       "spec.containers.readinessProbe",
                                       "spec.containers.startupProbe",
                                       "spec.containers.resources",
                                       "spec.containers.securityContext",
                                       "spec.containers.volumeMounts",
                                       "spec.initContainers.args",
                                       "spec.initContainers.command",
                                       "spec.initContainers.env",
                                       "spec.initContainers.envFrom",
                                       "spec.initContainers.image",
                                       "spec.initContainers.resources",
                                       "spec.initContainers.securityContext",
                                       "spec.initContainers.volumeMounts",
                                       "status.containerStatuses.allocatedResources",
                                       "status.containerStatuses.allocatedResourcesStatus",
                                       "status.containerStatuses.containerID",
                                       "status.containerStatuses.image",
                                       "status.containerStatuses.imageID",
                                       "status.containerStatuses.lastState",
                                       "status.containerStatuses.name",
                                       "status.containerStatuses.ready",
                                       "status.containerStatuses.resources",
                                       "status.containerStatuses.restartCount",
                                       "status.containerStatuses.state",
                                       "status.containerStatuses.stopSignal",
                                       "status.containerStatuses.user",
                                       "status.containerStatuses.volumeMounts",
                                       "status.initContainerStatuses",
                                       "status.ephemeralContainerStatuses",
                                       "status.conditions.lastProbeTime",
                                       "status.conditions.lastTransitionTime",
                                       "status.conditions.observedGeneration",
                                       "status.conditions.message",
                                       "status.conditions.reason",
                                       "status.observedGeneration"};

constexpr std::array<Text, 1> kV1 = {"v1"};
constexpr std::array<Text, 2> kV1Beta1 = {"v1", "v1beta1"};
constexpr std::array<Text, 3> kNetworking = {"v1", "v1beta1", "v1alpha3"};
constexpr std::array<Text, 3> kLayer4 = {"v1", "v1alpha3", "v1alpha2"};
constexpr Text kIstio = "networking.istio.io";
constexpr Text kSecurity = "security.istio.io";
constexpr Text kGatewayApi = "gateway.networking.k8s.io";
// spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed: a pod that is on no node, or has ended, has
// no part in a mesh.
constexpr Text kLivePods =
    "fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";

constexpr std::array<KubernetesKind, 20> kKinds = {{
    {"Namespace", "Namespace", "", kV1, "namespaces", "", kMetaOnly},
    {"Node", "Node", "", kV1, "nodes", "", kMetaOnly},
    {"Pod", "Pod", "", kV1, "pods", kLivePods, kPod},
    {"Service", "Service", "", kV1, "services", "", kSpecOnly},
    {"EndpointSlice", "EndpointSlice", "discovery.k8s.io", kV1, "endpointslices", "", kSlice},
    {"VirtualService", "VirtualService", kIstio, kNetworking, "virtualservices", "", kSpecOnly, true},
    {"DestinationRule", "DestinationRule", kIstio, kNetworking, "destinationrules", "", kSpecOnly, true},
    {"ServiceEntry", "ServiceEntry", kIstio, kNetworking, "serviceentries", "", kSpecOnly, true},
    {"WorkloadEntry", "WorkloadEntry", kIstio, kNetworking, "workloadentries", "", kSpecOnly, true},
    {"Sidecar", "Sidecar", kIstio, kNetworking, "sidecars", "", kSpecOnly, true},
    {"IstioGateway", "Gateway", kIstio, kNetworking, "gateways", "", kSpecOnly, true},
    {"AuthorizationPolicy", "AuthorizationPolicy", kSecurity, kV1Beta1, "authorizationpolicies", "",
     kSpecOnly, true},
    {"PeerAuthentication", "PeerAuthentication", kSecurity, kV1Beta1, "peerauthentications", "", kSpecOnly,
     true},
    {"RequestAuthentication", "RequestAuthentication", kSecurity, kV1Beta1, "requestauthentications", "",
     kSpecOnly, true},
    {"Gateway", "Gateway", kGatewayApi, kV1Beta1, "gateways", "", kWithStatus, true},
    {"HTTPRoute", "HTTPRoute", kGatewayApi, kV1Beta1, "httproutes", "", kWithStatus, true},
    {"GRPCRoute", "GRPCRoute", kGatewayApi, kV1, "grpcroutes", "", kWithStatus, true},
    {"TLSRoute", "TLSRoute", kGatewayApi, kLayer4, "tlsroutes", "", kWithStatus, true},
    {"TCPRoute", "TCPRoute", kGatewayApi, kLayer4, "tcproutes", "", kWithStatus, true},
    {"ReferenceGrant", "ReferenceGrant", kGatewayApi, kV1Beta1, "referencegrants", "", kSpecOnly, true},
}};

}  // namespace

std::string KubernetesKind::api_version(size_t version) const {
  return group.empty() ? std::string(versions[version]) : str_cat(group, "/", versions[version]);
}

std::string KubernetesKind::resource() const {
  return group.empty() ? std::string(plural) : str_cat(plural, ".", group);
}

std::string KubernetesKind::path(size_t version) const {
  const std::string where = in_namespace.empty() ? "/" : str_cat("/namespaces/", in_namespace, "/");
  return str_cat(group.empty() ? "/api/" : "/apis/", api_version(version), where, plural);
}

std::span<const KubernetesKind> kubernetes_kinds() { return kKinds; }

std::span<const KubernetesKind> mesh_config_kinds() {
  static constexpr KubernetesKind kConfigMap{.name = "ConfigMap",
                                             .kind = "ConfigMap",
                                             .group = "",
                                             .versions = kV1,
                                             .plural = "configmaps",
                                             .selector = "fieldSelector=metadata.name%3Distio",
                                             .left_out = kSpecOnly,
                                             .may_be_missing = true,
                                             .may_be_refused = true};
  static constexpr std::array<KubernetesKind, 2> kConfigs = [] {
    std::array<KubernetesKind, 2> out = {kConfigMap, kConfigMap};
    out[0].in_namespace = kRootNamespace;
    out[1].in_namespace = kOwnNamespace;
    return out;
  }();
  return kConfigs;
}

KubernetesKind one_namespace_kind(std::string_view selector) {
  return {.name = "Namespace",
          .kind = "Namespace",
          .group = "",
          .versions = kV1,
          .plural = "namespaces",
          .selector = selector,
          .left_out = kMetaOnly};
}

KubernetesKind secret_kind(std::string_view ns, std::string_view selector) {
  return {.name = "Secret",
          .kind = "Secret",
          .group = "",
          .versions = kV1,
          .plural = "secrets",
          .selector = selector,
          .left_out = kSpecOnly,
          .may_be_refused = true,
          .in_namespace = ns};
}

}  // namespace weft::control_plane
