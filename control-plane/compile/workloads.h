// Pods, Services and EndpointSlices to workloads with their service memberships. Pure; the compiler calls it,
// and the checks between objects read the result.
#pragma once

#include <array>
#include <map>
#include <string>

#include "control-plane/resource/objects.h"
#include "proto/istio/workload.pb.h"

namespace weft::control_plane {

struct CompiledWorkload {
  istio::workload::Workload workload;  // without extensions
  std::map<std::string, std::string> labels;
  bool declared_by_services = false;  // as in weft.mesh.v1.EgressPolicy
};

using Objects = std::map<ObjectKey, const Object*>;

// An endpoint that is no pod, of no service and without a name yet; `packed` is its address, `owner` the
// object that describes it.
CompiledWorkload external_workload(const std::string& uid, const std::string& ns, const std::string& owner,
                                   const std::string& packed, const ServiceEntry::Endpoint& endpoint);

// "Kubernetes//WorkloadEntry/<ns>/<name>".
std::string entry_uid(const ObjectMeta& meta);
// "Kubernetes//Pod/<ns>/<name>".
std::string pod_uid(const ObjectMeta& meta);
// "<ns>/<hostname>".
std::string service_key(const ObjectMeta& meta);
// The Service that is called `host`; null: none is, or it is a name for something outside.
const Service* find_service(const Objects& objects, const std::string& host);
// The same, ones with an external name too.
const Service* service_of_host(const Objects& objects, const std::string& host);
// Succeeded or Failed: it will never serve or call again.
bool is_terminal(const Pod& pod);
// Every pair of `selector` is in `labels`; an empty selector selects nothing.
bool selects(const std::map<std::string, std::string>& selector,
             const std::map<std::string, std::string>& labels);

// The kinds (ObjectMeta::kind) that a type is for, in their order.
template <typename T>
inline constexpr auto kKindsOf = std::array<const char*, 0>{};
template <>
inline constexpr std::array kKindsOf<Namespace> = {"Namespace"};
template <>
inline constexpr std::array kKindsOf<Pod> = {"Pod"};
template <>
inline constexpr std::array kKindsOf<Service> = {"Service"};
template <>
inline constexpr std::array kKindsOf<EndpointSlice> = {"EndpointSlice"};
template <>
inline constexpr std::array kKindsOf<VirtualService> = {"VirtualService"};
template <>
inline constexpr std::array kKindsOf<DestinationRule> = {"DestinationRule"};
template <>
inline constexpr std::array kKindsOf<AuthorizationPolicy> = {"AuthorizationPolicy"};
template <>
inline constexpr std::array kKindsOf<GatewayRoute> = {"GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute"};
template <>
inline constexpr std::array kKindsOf<ReferenceGrant> = {"ReferenceGrant"};
template <>
inline constexpr std::array kKindsOf<Gateway> = {"Gateway", "IstioGateway"};
template <>
inline constexpr std::array kKindsOf<ServiceEntry> = {"ServiceEntry"};
template <>
inline constexpr std::array kKindsOf<Node> = {"Node"};
template <>
inline constexpr std::array kKindsOf<PeerAuthentication> = {"PeerAuthentication"};
template <>
inline constexpr std::array kKindsOf<WorkloadEntry> = {"WorkloadEntry"};
template <>
inline constexpr std::array kKindsOf<Sidecar> = {"Sidecar"};
template <>
inline constexpr std::array kKindsOf<Secret> = {"Secret"};
template <>
inline constexpr std::array kKindsOf<RequestAuthentication> = {"RequestAuthentication"};
template <>
inline constexpr std::array kKindsOf<MeshConfig> = {"ConfigMap"};

// Calls visit(const T&) for every object of that type, in key order. Costs what there is of it, whatever else
// there is.
template <typename T, typename Visit>
void for_each(const Objects& objects, Visit visit) {
  for (const char* kind : kKindsOf<T>) {
    for (auto at = objects.lower_bound(ObjectKey{kind, "", ""});
         at != objects.end() && at->first.kind == kind; ++at)
      visit(std::get<T>(*at->second));
  }
}

// The same of one namespace, of a type that is one kind.
template <typename T, typename Visit>
void for_each_in(const Objects& objects, const std::string& ns, Visit visit) {
  const char* const kind = kKindsOf<T>.front();
  for (auto at = objects.lower_bound(ObjectKey{kind, ns, ""});
       at != objects.end() && at->first.kind == kind && at->first.ns == ns; ++at)
    visit(std::get<T>(*at->second));
}

// nullptr: there is none.
template <typename T>
const T* find(const Objects& objects, const std::string& ns, const std::string& name) {
  const auto found = objects.find(ObjectKey{kKindsOf<T>.front(), ns, name});
  return found == objects.end() ? nullptr : &std::get<T>(*found->second);
}

}  // namespace weft::control_plane
