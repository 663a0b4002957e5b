// Clusters and the policy that shapes them (DestinationRule look-up: client namespace, service namespace,
// root namespace). Called by the snapshot builder; never keeps anything beyond one build.
#include "userspace-proxy/config/cluster_table.h"

#include <set>

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
    if (out->traffic == nullptr && policy->traffic) out->traffic = &*policy->traffic;
    for (const PolicySpec::Subset& subset : policy->subsets) {
      const auto same = [&](const PolicySpec::Subset* s) { return s->name == subset.name; };
      if (std::none_of(out->subsets.begin(), out->subsets.end(), same)) out->subsets.push_back(&subset);
    }
  }
}

// A port's blocks take the place of all, absent ones too.
const PolicyBlocks* blocks_of_port(const TrafficPolicySpec& policy, uint16_t port) {
  for (const auto& [number, blocks] : policy.ports) {
    if (number == port) return &blocks;
  }
  return nullptr;
}

// Subset and port, before subset, before port, before the rule.
PolicyBlocks blocks_for(const TrafficPolicySpec* rule, const TrafficPolicySpec* subset, uint16_t port) {
  PolicyBlocks out;
  if (rule != nullptr) {
    const PolicyBlocks* of_port = blocks_of_port(*rule, port);
    out = of_port != nullptr ? *of_port : rule->blocks;
  }
  if (subset == nullptr) return out;
  if (const PolicyBlocks* of_port = blocks_of_port(*subset, port)) return *of_port;
  if (subset->blocks.balancing) {
    out.balancing = subset->blocks.balancing;
    out.own_locality = subset->blocks.own_locality;
  }
  if (subset->blocks.connections) out.connections = subset->blocks.connections;
  if (subset->blocks.outlier) out.outlier = subset->blocks.outlier;
  if (subset->blocks.tls) out.tls = subset->blocks.tls;
  return out;
}

// Null when nothing differs from the defaults but what the cluster says itself.
std::shared_ptr<const ClusterPolicy> cluster_policy(const PolicyBlocks& blocks, ClientTermsRef tls,
                                                    const TrafficPolicySpec* rule,
                                                    const TrafficPolicySpec* subset) {
  auto out = std::make_shared<ClusterPolicy>();
  if (blocks.balancing) out->balancing = *blocks.balancing;
  ConnectionSettings connections = blocks.connections.value_or(ConnectionSettings());
  connections.tls = std::move(tls);
  if (connections != ConnectionSettings())
    out->connections = std::make_shared<const ConnectionSettings>(std::move(connections));
  out->outlier = blocks.outlier;
  for (const TrafficPolicySpec* policy : {rule, subset}) {
    if (policy == nullptr || !policy->retries) continue;
    out->retries = *policy->retries;
    out->own_retries = true;
  }
  if (!out->own_retries && out->connections != nullptr && out->connections->max_retries > 0) {
    out->retries.max_retries = out->connections->max_retries;
    out->own_retries = true;
  }
  const bool plain =
      out->connections == nullptr && !out->outlier && !out->own_retries &&
      (!blocks.balancing || *blocks.balancing == LoadBalancing{.algorithm = out->balancing.algorithm});
  return plain ? nullptr : out;
}

std::string_view label_of(const WorkloadSpec& workload, std::string_view key) {
  for (const auto& [name, value] : workload.labels) {
    if (name == key) return value;
  }
  return place_label(key, workload.locality, workload.node);
}

std::vector<std::string> priority_values(const WorkloadSpec& workload, const ClusterPolicy* policy) {
  std::vector<std::string> out;
  if (policy == nullptr) return out;
  for (const std::string& label : policy->balancing.locality.priority_labels)
    out.emplace_back(label_of(workload, std::string_view(label).substr(0, label.find('='))));
  return out;
}

}  // namespace

std::string cluster_name(const ServiceSpec& service, uint16_t port, std::string_view subset,
                         std::string_view view) {
  std::string out = str_cat(service.host, "|", port, "|", subset);
  if (!view.empty() || service.entry) str_append(&out, "|", view);
  // Any namespace may add a host that another has too; the number of bars tells them from views.
  if (service.entry) str_append(&out, "|", service.ns);
  return out;
}

ClusterTable::ClusterTable(const Resources& resources, Snapshot* snapshot)
    : resources_(resources), snapshot_(*snapshot) {
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
    const bool same = own_view.subsets == out.subsets && own_view.traffic == out.traffic;
    if (!same) out.view = root.empty() ? "*" : std::string(kRootNamespace);
  }
  return out;
}

std::vector<Endpoint> ClusterTable::endpoints(const ServiceSpec& service, const ServiceSpec::Port& port,
                                              const PolicySpec::Subset* subset, const ClusterPolicy* policy) {
  std::vector<Endpoint> out;
  const auto workloads = workloads_by_service_.find(service.key);
  if (workloads == workloads_by_service_.end()) return out;
  for (const WorkloadSpec* workload : workloads->second) {
    const uint16_t target = target_port(*workload, service, port);
    const IpAddress* ip = address_of(*workload, service.prefer_v6);
    if (target == 0 || ip == nullptr) continue;
    if (subset != nullptr && !has_labels(*workload, subset->labels)) continue;
    out.push_back(Endpoint{SocketAddress{*ip, target}, workload->weight, workload->name, workload->ns,
                           locality(workload->locality), priority_values(*workload, policy),
                           workload->hbone ? workload->shared_from_this() : nullptr});
  }
  return out;
}

std::vector<SocketAddress> ClusterTable::dialled_at(const ServiceSpec& service, uint16_t port,
                                                    uint32_t cluster) const {
  std::vector<SocketAddress> out;
  for (const IpAddress& ip : service.addresses) out.push_back(SocketAddress{ip, port});
  if (!service.by_endpoint || cluster == kNone) return out;
  for (const Endpoint& endpoint : snapshot_.clusters[cluster].endpoints) out.push_back(endpoint.address);
  return out;
}

ClientTermsRef ClusterTable::client_terms(const PolicyBlocks& blocks, const ServiceSpec& service) const {
  if (!blocks.tls || blocks.tls->mode == ClientTlsMode::kDisable) return {};
  const ClientTlsSpec& spec = *blocks.tls;
  auto out = std::make_shared<ClientTerms>();
  out->mode = spec.mode;
  out->names = spec.names;
  out->sni = spec.sni;
  out->verifies = spec.verifies;
  if (out->mode == ClientTlsMode::kMesh) {
    if (out->names.empty()) out->names = identities(service);
  } else {
    if (!spec.secret.empty()) add_secret(spec, *out);
    const bool wildcard = service.host.starts_with("*") || service.host.starts_with(".");
    if (out->sni.empty() && !wildcard) out->sni = service.host;
    if (out->names.empty() && !out->sni.empty()) out->names = {out->sni};
    if (out->sni.empty() && out->names.empty() && out->verifies)
      out->problem = str_cat("no server name is known for ", service.host, "; next: give tls.sni");
  }
  return {std::move(out)};
}

void ClusterTable::add_secret(const ClientTlsSpec& spec, ClientTerms& out) const {
  const auto find = [this](const std::string& name) -> const SecretSpec* {
    const auto found = resources_.secrets.find(name);
    return found == resources_.secrets.end() ? nullptr : found->second.get();
  };
  const SecretSpec* secret = find(spec.secret);
  const SecretSpec* beside = find(spec.roots_secret);
  const bool has_pair = secret != nullptr && !secret->pair.chain.empty();
  if (has_pair) out.pair = secret->pair;
  if (secret != nullptr && secret->roots.empty() && beside != nullptr) secret = beside;
  if (secret == nullptr) {
    // Not the system's roots in its place: fewer are trusted than that, or others.
    out.problem =
        str_cat("Secret ", spec.secret, " has not come; next: see `weft analyze` and `weft status`");
    return;
  }
  out.roots = secret->roots;
  out.crls = secret->crls;
  if (out.roots.empty() && spec.mode == ClientTlsMode::kSimple && spec.verifies)
    out.problem = str_cat("Secret ", spec.secret, " has no authority; next: give ca.crt");
  if (spec.mode != ClientTlsMode::kMutual) out.pair = {};
  if (spec.mode == ClientTlsMode::kMutual && !has_pair)
    out.problem = str_cat("Secret ", spec.secret, " has no certificate with its key; next: give both");
}

// Whom its endpoints may be: those of all its workloads.
std::vector<std::string> ClusterTable::identities(const ServiceSpec& service) const {
  std::set<std::string> out;
  const auto workloads = workloads_by_service_.find(service.key);
  if (workloads != workloads_by_service_.end()) {
    for (const WorkloadSpec* workload : workloads->second) out.insert(workload->identity.to_string());
  }
  return {out.begin(), out.end()};
}

uint32_t ClusterTable::locality(const Locality& place) {
  if (place.empty()) return kNone;
  const auto [row, inserted] = localities_.try_emplace(place, snapshot_.localities.size());
  if (inserted) snapshot_.localities.push_back(place);
  return row->second;
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
  std::string name = cluster_name(service, port, subset, policy.view);
  const auto [row, inserted] = snapshot_.cluster_by_name.try_emplace(name, snapshot_.clusters.size());
  if (!inserted) return row->second;
  Cluster cluster;
  cluster.name = std::move(name);
  cluster.service = service.name;
  cluster.ns = service.ns;
  cluster.subset = subset;
  const TrafficPolicySpec* of_subset = chosen != nullptr ? &chosen->traffic : nullptr;
  PolicyBlocks blocks = blocks_for(policy.traffic, of_subset, port);
  const MeshSpec& mesh = resources_.mesh;
  if (mesh.locality && !blocks.own_locality) {
    if (!blocks.balancing) blocks.balancing.emplace();
    blocks.balancing->locality = *mesh.locality;
  }
  cluster.policy = cluster_policy(blocks, client_terms(blocks, service), policy.traffic, of_subset);
  if (blocks.balancing) cluster.load_balancer = blocks.balancing->algorithm;
  if (service.passthrough) cluster.load_balancer = LoadBalancer::kPassthrough;
  cluster.anywhere = service.passthrough && service.addresses.empty() && service.ranges.empty();
  const ConnectionSettings connections = blocks.connections.value_or(ConnectionSettings());
  cluster.connect_timeout_ms = mesh.connect_timeout_ms;
  if (connections.connect_timeout_ms != 0) cluster.connect_timeout_ms = connections.connect_timeout_ms;
  // What the service declares about its servers is known; the policy is for those that say nothing.
  cluster.protocol = found->protocol == Protocol::kHttp2 ? ClusterProtocol::kHttp2 : connections.protocol;
  const bool silent = cluster.protocol == ClusterProtocol::kAsClient && !connections.use_client_protocol;
  if (silent && found->protocol == Protocol::kHttp) cluster.protocol = ClusterProtocol::kHttp1OrGrpc;
  cluster.endpoints = endpoints(service, *found, chosen, cluster.policy.get());
  snapshot_.clusters.push_back(std::move(cluster));
  return row->second;
}

}  // namespace weft::proxy
