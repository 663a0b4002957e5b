// The clusters of one snapshot while it is built: the endpoints of (service, port, subset) under the policy
// that a client namespace sees, shared by all namespaces that see the same. Used by the snapshot builder
// only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "userspace-proxy/config/host_index.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

// Policies of the mesh's root namespace apply where neither client nor service namespace has one.
inline constexpr std::string_view kRootNamespace = "istio-system";

// What applies to one service for one client namespace. Of several rules for one host in one namespace the
// oldest with a traffic policy decides it; subsets of all of them count, the oldest of a name first.
struct EffectivePolicy {
  std::vector<const PolicySpec::Subset*> subsets;
  const TrafficPolicySpec* traffic = nullptr;
  // Part of the cluster name, so that two views of one service stay apart; empty for the service's own view.
  std::string view;
};

// "product-service.default.svc.cluster.local|80|v1", with "|<view>" where that is not empty; of an entry
// "api.example.com|80|v1|<view>|<namespace>".
std::string cluster_name(const ServiceSpec& service, uint16_t port, std::string_view subset,
                         std::string_view view);

class ClusterTable {
 public:
  ClusterTable(const Resources& resources, Snapshot* snapshot);

  // kNone when the policy has no such subset.
  uint32_t intern(const ServiceSpec& service, uint16_t port, const std::string& subset,
                  const EffectivePolicy& policy);
  // Where clients dial this port: the service's addresses, or the endpoints of its cluster when it has none.
  std::vector<SocketAddress> dialled_at(const ServiceSpec& service, uint16_t port, uint32_t cluster) const;
  // Clients too have a place.
  uint32_t locality_of(const WorkloadSpec& workload) { return locality(workload.locality); }
  EffectivePolicy policy_for(std::string_view client_ns, const ServiceSpec& service) const;

 private:
  std::vector<Endpoint> endpoints(const ServiceSpec& service, const ServiceSpec::Port& port,
                                  const PolicySpec::Subset* subset, const ClusterPolicy* policy);
  uint32_t locality(const Locality& place);
  // How TLS is begun to the service's endpoints; null: it is not.
  ClientTermsRef client_terms(const PolicyBlocks& blocks, const ServiceSpec& service) const;
  void add_secret(const ClientTlsSpec& spec, ClientTerms& out) const;
  std::vector<std::string> identities(const ServiceSpec& service) const;

  const Resources& resources_;
  Snapshot& snapshot_;
  std::map<Locality, uint32_t> localities_;
  HostIndex<PolicySpec> policies_;
  absl::flat_hash_map<std::string, std::vector<const WorkloadSpec*>> workloads_by_service_;
};

}  // namespace weft::proxy
