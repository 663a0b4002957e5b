// See snapshot_sources.h.
#include "userspace-proxy/config/snapshot_sources.h"

#include <algorithm>
#include <map>
#include <set>

#include "agent/policy/l4_policy.h"
#include "proto/istio/security.pb.h"
#include "userspace-proxy/config/snapshot_world.h"
#include "userspace-proxy/policy/request_authentication.h"

namespace weft::proxy {
namespace {

bool asks_about_requests(const std::shared_ptr<const istio::security::Authorization>& policy) {
  return policy != nullptr && agent::asks_about_requests(*policy);
}

// Which policies apply to a workload: looked up while building.
class Authorizations {
 public:
  explicit Authorizations(const Resources& resources) : all_(resources.authorizations) {
    for (const auto& [name, policy] : all_) {
      if (policy->scope() == istio::security::GLOBAL) everywhere_.insert(name);
      if (policy->scope() == istio::security::NAMESPACE) by_namespace_[policy->namespace_()].insert(name);
    }
  }

  std::shared_ptr<const AuthorizationList> of(const WorkloadSpec& workload) {
    if (!workload.policies.empty()) return list(workload);
    std::shared_ptr<const AuthorizationList>& known = made_[workload.ns];
    if (known == nullptr) known = list(workload);
    return known;
  }

 private:
  using Names = std::set<std::string_view>;

  std::shared_ptr<const AuthorizationList> list(const WorkloadSpec& workload) const {
    Names names = everywhere_;
    if (const auto found = by_namespace_.find(workload.ns); found != by_namespace_.end())
      names.insert(found->second.begin(), found->second.end());
    names.insert(workload.policies.begin(), workload.policies.end());
    auto out = std::make_shared<AuthorizationList>();
    for (const std::string_view name : names) {
      const auto found = all_.find(std::string(name));
      out->push_back(found == all_.end() ? nullptr : found->second);
    }
    return out;
  }

  const Resources::Table<istio::security::Authorization>& all_;
  Names everywhere_;
  absl::flat_hash_map<std::string, Names> by_namespace_;
  absl::flat_hash_map<std::string, std::shared_ptr<const AuthorizationList>> made_;
};

bool selects(const AuthenticationSpec& spec, const WorkloadSpec& workload) {
  if (spec.gateways_only) return false;
  if (!spec.every_namespace && spec.ns != workload.ns) return false;
  return std::all_of(spec.selector.begin(), spec.selector.end(), [&workload](const auto& label) {
    return std::find(workload.labels.begin(), workload.labels.end(), label) != workload.labels.end();
  });
}

// Null: none selects it.
std::shared_ptr<const RequestAuthentication> authentication_of(const Resources& resources,
                                                               const WorkloadSpec& workload) {
  std::vector<TokenRulePtr> rules;
  for (const auto& [name, spec] : resources.authentications) {
    if (selects(*spec, workload)) rules.insert(rules.end(), spec->rules.begin(), spec->rules.end());
  }
  return rules.empty() ? nullptr : std::make_shared<const RequestAuthentication>(std::move(rules));
}

// The pod's ports that all its services declare to be no HTTP.
std::vector<uint16_t> opaque_ports(const Resources& resources, const WorkloadSpec& workload) {
  std::map<uint16_t, bool> opaque;
  for (const auto& [key, ports] : workload.services) {
    const auto service = resources.services.find(key);
    if (service == resources.services.end()) continue;
    for (const auto& [number, target] : ports) {
      for (const ServiceSpec::Port& port : service->second->ports) {
        if (port.number != number) continue;
        const bool here = is_opaque(port.protocol);
        const auto [known, is_new] = opaque.emplace(target, here);
        known->second = known->second && here;
      }
    }
  }
  std::vector<uint16_t> out;
  for (const auto& [port, all] : opaque) {
    if (all) out.push_back(port);
  }
  return out;
}

}  // namespace

void add_sources(const Resources& resources, ClusterTable& clusters, Snapshot* out) {
  Authorizations authorizations(resources);
  for (const auto& [name, workload] : resources.workloads) {
    for (const std::optional<IpAddress>& ip : {workload->v4, workload->v6}) {
      // The address of a host is the node's: what listens there is not the workload's.
      if (workload->hbone && !workload->host_network && ip)
        out->tunnels.emplace(SocketAddress{*ip, 0}, workload);
    }
    const uint32_t index = static_cast<uint32_t>(out->sources.size());
    if (!out->source_by_uid.try_emplace(workload->uid, index).second) continue;
    out->sources.push_back(Source{workload->uid, workload->name, workload->ns, workload->labels, workload,
                                  clusters.locality_of(*workload), workload->node,
                                  authorizations.of(*workload), workload->registry_only});
    const AuthorizationList& policies = *out->sources.back().authorizations;
    Source& source = out->sources.back();
    source.authentication = authentication_of(resources, *workload);
    if (source.authentication != nullptr) source.opaque_ports = opaque_ports(resources, *workload);
    source.judges_requests = source.authentication != nullptr ||
                             std::any_of(policies.begin(), policies.end(), asks_about_requests);
    source.encrypts_same_node =
        std::any_of(workload->policies.begin(), workload->policies.end(), agent::encrypts_same_node);
  }
}

void add_declared(const Resources& resources, Snapshot* out) {
  const auto confined = [](const Source& source) { return source.registry_only; };
  if (std::none_of(out->sources.begin(), out->sources.end(), confined)) return;
  for (const auto& [name, workload] : resources.workloads) {
    // A node is more than the pods that share its addresses; what is outside is no more than its entries say.
    if (workload->host_network || workload->declared_by_services) continue;
    for (const std::optional<IpAddress>& ip : {workload->v4, workload->v6}) {
      if (ip) out->declared_workloads.insert(SocketAddress{*ip, 0});
    }
  }
  for (const auto& [name, service] : resources.services) {
    std::vector<uint16_t> ports;
    for (const ServiceSpec::Port& port : service->ports) ports.push_back(port.number);
    for (const IpRange& range : service->ranges)
      out->declared_ranges.push_back(DeclaredRange{range, ports, service->export_to});
  }
}

}  // namespace weft::proxy
