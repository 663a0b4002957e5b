// Clusters and the policy that shapes them (DestinationRule look-up: client namespace, service namespace,
// root namespace). Called by the snapshot builder; never keeps anything beyond one build.
#include "userspace-proxy/config/cluster_table.h"

namespace weft::proxy {
namespace {

bool has_labels(const WorkloadSpec& workload, const Labels& wanted) {
  // Both are sorted.
  return std::includes(workload.labels.begin(), workload.labels.end(), wanted.begin(), wanted.end());
}

// 0: this workload does not serve the port.
uint16_t target_port(const WorkloadSpec& workload, const ServiceSpec& service,
                     const ServiceSpec::Port& port) {
  const auto entry = workload.services.find(service.key);
  if (entry == workload.services.end()) return 0;
  for (const auto& [number, target] : entry->second) {
    if (number == port.number && target != 0) return target;
  }
  return port.target;
}

const IpAddress* address_of(const WorkloadSpec& workload, bool prefer_v6) {
  const auto& first = prefer_v6 ? workload.v6 : workload.v4;
  const auto& second = prefer_v6 ? workload.v4 : workload.v6;
  if (first) return &*first;
  return second ? &*second : nullptr;
}

void merge(const std::vector<const PolicySpec*>& policies, EffectivePolicy* out) {
  for (const PolicySpec* policy : policies) {
    if (!out->load_balancer) out->load_balancer = policy->load_balancer;
    if (out->connect_timeout_ms == 0) out->connect_timeout_ms = policy->connect_timeout_ms;
    if (out->protocol == ClusterProtocol::kAsClient) out->protocol = policy->protocol;
    for (const PolicySpec::Subset& subset : policy->subsets) {
      const auto same = [&](const PolicySpec::Subset* s) { return s->name == subset.name; };
      if (std::none_of(out->subsets.begin(), out->subsets.end(), same)) out->subsets.push_back(&subset);
    }
  }
}

}  // namespace

ClusterTable::ClusterTable(const Resources& resources, Snapshot* snapshot) : snapshot_(*snapshot) {
  for (const auto& [name, policy] : resources.policies) policies_.add(policy->host, *policy);
  policies_.sort();
  for (const auto& [name, workload] : resources.workloads) {
    if (!workload->healthy || workload->weight == 0) continue;
    for (const auto& [key, ports] : workload->services) workloads_by_service_[key].push_back(workload.get());
  }
}

EffectivePolicy ClusterTable::policy_for(std::string_view client_ns, const ServiceSpec& service) const {
  const auto in = [&](std::string_view ns) {
    return policies_.find(service.host, [&](const PolicySpec& p) {
      // A namespace sees all of its own rules, whatever they export.
      return p.ns == ns && (ns == client_ns || visible_in(p, client_ns));
    });
  };
  EffectivePolicy out;
  if (client_ns != kRootNamespace && client_ns != service.ns) {
    if (const auto own = in(client_ns); !own.empty()) {
      merge(own, &out);
      out.view = client_ns;
      return out;
    }
  }
  const auto producer = in(service.ns);
  merge(producer, &out);
  if (!producer.empty()) return out;
  const auto root = in(kRootNamespace);
  merge(root, &out);
  // The service's own view has the plain name; a namespace that may not see the same rule must not share its
  // cluster.
  if (client_ns != service.ns) {
    const EffectivePolicy own_view = policy_for(service.ns, service);
    const bool same = own_view.subsets == out.subsets && own_view.load_balancer == out.load_balancer &&
                      own_view.connect_timeout_ms == out.connect_timeout_ms &&
                      own_view.protocol == out.protocol;
    if (!same) out.view = root.empty() ? "*" : std::string(kRootNamespace);
  }
  return out;
}

std::vector<Endpoint> ClusterTable::endpoints(const ServiceSpec& service, const ServiceSpec::Port& port,
                                              const PolicySpec::Subset* subset) const {
  std::vector<Endpoint> out;
  const auto workloads = workloads_by_service_.find(service.key);
  if (workloads == workloads_by_service_.end()) return out;
  for (const WorkloadSpec* workload : workloads->second) {
    const uint16_t target = target_port(*workload, service, port);
    const IpAddress* ip = address_of(*workload, service.prefer_v6);
    if (target == 0 || ip == nullptr) continue;
    if (subset != nullptr && !has_labels(*workload, subset->labels)) continue;
    out.push_back(Endpoint{SocketAddress{*ip, target}, workload->weight, workload->name, workload->ns,
                           workload->hbone ? workload->shared_from_this() : nullptr});
  }
  return out;
}

uint32_t ClusterTable::intern(const ServiceSpec& service, uint16_t port, const std::string& subset,
                              const EffectivePolicy& policy) {
  const auto is_port = [&](const ServiceSpec::Port& p) { return p.number == port; };
  const auto found = std::find_if(service.ports.begin(), service.ports.end(), is_port);
  if (found == service.ports.end()) return kNone;
  const PolicySpec::Subset* chosen = nullptr;
  if (!subset.empty()) {
    const auto is_subset = [&](const PolicySpec::Subset* s) { return s->name == subset; };
    const auto at = std::find_if(policy.subsets.begin(), policy.subsets.end(), is_subset);
    if (at == policy.subsets.end()) return kNone;
    chosen = *at;
  }
  std::string name = str_cat(service.host, "|", port, "|", subset);
  if (!policy.view.empty()) str_append(&name, "|", policy.view);
  const auto [row, inserted] = snapshot_.cluster_by_name.try_emplace(name, snapshot_.clusters.size());
  if (!inserted) return row->second;
  Cluster cluster;
  cluster.name = std::move(name);
  cluster.service = service.name;
  cluster.ns = service.ns;
  cluster.subset = subset;
  const auto balancer =
      chosen != nullptr && chosen->load_balancer ? chosen->load_balancer : policy.load_balancer;
  if (balancer) cluster.load_balancer = *balancer;
  if (policy.connect_timeout_ms != 0) cluster.connect_timeout_ms = policy.connect_timeout_ms;
  // What the service declares about its servers is known; the policy is for those that say nothing.
  cluster.protocol = found->protocol == Protocol::kHttp2 ? ClusterProtocol::kHttp2 : policy.protocol;
  if (cluster.protocol == ClusterProtocol::kAsClient && found->protocol == Protocol::kHttp)
    cluster.protocol = ClusterProtocol::kHttp1OrGrpc;
  cluster.endpoints = endpoints(service, *found, chosen);
  snapshot_.clusters.push_back(std::move(cluster));
  return row->second;
}

}  // namespace weft::proxy
