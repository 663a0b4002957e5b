// See kernel_plan.h. Called by the reconciler after every change and by the ejection of failing backends.
#include "agent/mesh/kernel_plan.h"

#include <netinet/in.h>

#include <algorithm>

namespace weft::agent {
namespace {

using istio::workload::AppProtocol;
using istio::workload::LoadBalancing;

// Ranks of claims on m_svc: a service address beats an endpoint's, and an endpoint that also serves a port
// with L7 is no endpoint that may be dialled past the proxy.
constexpr uint8_t kServiceAddress = 0;
constexpr uint8_t kProxiedEndpoint = 1;
constexpr uint8_t kPlainEndpoint = 2;
// Ranks of claims on m_dest.
constexpr uint8_t kOfService = 0;
constexpr uint8_t kOfWorkload = 1;
// A backend that failed so often in a row is reported to the agent.
constexpr uint32_t kEjectAfter = 5;
// A change of so many is the load of a mesh: most of what it touches is new.
constexpr size_t kMany = 10000;

std::optional<SocketAddress> socket_address(const IpAddress& ip, uint32_t port) {
  if (port > 65535) return std::nullopt;
  return SocketAddress{ip, static_cast<uint16_t>(port)};
}

// Nothing above L4 to do and nothing to encrypt: declared so, never guessed.
bool is_direct(AppProtocol protocol) {
  return protocol == istio::workload::TCP || protocol == istio::workload::TLS;
}

using WorkloadPorts = absl::InlinedVector<MeshWorkload::Port, 2>;

bool serves(const WorkloadPorts& ports, const MeshService::Port& port) {
  return std::any_of(ports.begin(), ports.end(),
                     [&port](const MeshWorkload::Port& p) { return p.service_port == port.service_port; });
}

// The workload's own port for a service port: its list first, then the service's.
uint32_t target_port(const WorkloadPorts& of_workload, const MeshService::Port& service_port) {
  for (const MeshWorkload::Port& port : of_workload) {
    if (port.service_port == service_port.service_port && port.target_port != 0) return port.target_port;
  }
  return service_port.target_port != 0 ? service_port.target_port : service_port.service_port;
}

}  // namespace

uint32_t target_port(const istio::workload::PortList& of_workload,
                     const istio::workload::Port& service_port) {
  for (const auto& port : of_workload.ports()) {
    if (port.service_port() == service_port.service_port() && port.target_port() != 0)
      return port.target_port();
  }
  return service_port.target_port() != 0 ? service_port.target_port() : service_port.service_port();
}

void KernelPlanner::claim_service(const MeshService* service, uint32_t id, DestinationSet* dests,
                                  ServiceSet* svcs) {
  std::vector<std::pair<SocketAddress, uint8_t>> listens;
  std::vector<std::pair<ServiceKey, uint8_t>> routed;
  if (service != nullptr) {
    for (const IpAddress& address : service->addresses) {
      for (const MeshService::Port& port : service->ports) {
        const auto at = socket_address(address, port.service_port);
        if (!at || at->port == 0) continue;
        listens.emplace_back(*at, kOfService);
        routed.emplace_back(ServiceKey{*at, IPPROTO_TCP}, kServiceAddress);
      }
      for (const MeshService::Port& port : service->asks().datagram_ports) {
        if (const auto at = socket_address(address, port.service_port))
          routed.emplace_back(ServiceKey{*at, IPPROTO_UDP}, kServiceAddress);
      }
    }
    for (const MeshService::Port& port : service->ports) {
      for (const MeshWorkload* member : service->members) {
        const bool plain = is_direct(port.protocol) && !needs_tunnel(*member);
        const uint8_t rank = plain ? kPlainEndpoint : kProxiedEndpoint;
        const WorkloadPorts& ports = *member->ports_of(service);
        if (!serves(ports, port)) continue;
        for (const IpAddress& address : member->addresses) {
          if (const auto at = socket_address(address, target_port(ports, port)))
            routed.emplace_back(ServiceKey{*at, IPPROTO_TCP}, rank);
        }
      }
    }
  }
  destinations_.set(id, listens, dests);
  services_.set(id, routed, svcs);
}

void KernelPlanner::claim_workload(const MeshWorkload& workload, uint32_t id, DestinationSet* dests) {
  std::vector<std::pair<SocketAddress, uint8_t>> listens;
  const auto claim = [&listens](const IpAddress& address, uint32_t port) {
    const auto at = socket_address(address, port);
    if (at && at->port != 0) listens.emplace_back(*at, kOfWorkload);
  };
  for (const MeshWorkload::Membership& membership : workload.services) {
    for (const IpAddress& address : workload.addresses) {
      for (const MeshWorkload::Port& port : membership.ports)
        claim(address, port.target_port != 0 ? port.target_port : port.service_port);
      for (const MeshService::Port& port : membership.service->ports)
        claim(address, target_port(membership.ports, port));
    }
  }
  // Pods on the host's network share its address, which names none of them.
  if (!workload.host_network) {
    for (const IpAddress& address : workload.addresses) {
      if (const auto at = socket_address(address, 0)) listens.emplace_back(*at, kOfWorkload);
    }
  }
  destinations_.set(id, listens, dests);
}

// Only the proxy can speak to it in a way that nobody between the nodes can read.
bool KernelPlanner::needs_tunnel(const MeshWorkload& workload) const {
  return workload.tunnels && (workload.place->node != node_name_ || workload.encrypts_same_node);
}

// The node is where its pods are.
void KernelPlanner::learn_locality(const MeshModel& model, const Touched& touched) {
  for (const control_plane::Resource& changed : touched.workloads) {
    const MeshWorkload* workload = model.workload(changed.name());
    if (workload == nullptr || workload->place->node != node_name_) continue;
    if (workload->place->has_locality()) here_ = *workload->place;
  }
}

uint32_t KernelPlanner::nearness(const LoadBalancing& balancing, const WorkloadPlace& theirs) const {
  uint32_t matched = 0;
  for (const int scope : balancing.routing_preference()) {
    bool same = false;
    if (scope == LoadBalancing::REGION) same = theirs.region == here_.region;
    if (scope == LoadBalancing::ZONE) same = theirs.zone == here_.zone;
    if (scope == LoadBalancing::SUBZONE) same = theirs.subzone == here_.subzone;
    if (scope == LoadBalancing::NODE) same = theirs.node == node_name_;
    if (scope == LoadBalancing::CLUSTER || scope == LoadBalancing::NETWORK) same = true;
    if (!same) break;
    ++matched;
  }
  return matched;
}

std::vector<BackendEntry> KernelPlanner::backends(const IdRegistry& ids, const MeshService& service,
                                                  uint32_t service_id, const MeshService::Port& port,
                                                  bool v4) const {
  const LoadBalancing& balancing = service.asks().balancing;
  const bool any_health = balancing.health_policy() == LoadBalancing::ALLOW_ALL;
  const bool local = balancing.mode() == LoadBalancing::STRICT || balancing.mode() == LoadBalancing::FAILOVER;
  uint32_t nearest = balancing.mode() == LoadBalancing::STRICT
                         ? static_cast<uint32_t>(balancing.routing_preference_size())
                         : 0;
  std::vector<std::pair<uint32_t, BackendEntry>> found;
  for (const MeshWorkload* member : service.members) {
    if (!any_health && !member->healthy) continue;
    const uint32_t near = local ? nearness(balancing, *member->place) : 0;
    for (const IpAddress& address : member->addresses) {
      const auto at = socket_address(address, target_port(*member->ports_of(&service), port));
      if (!at || at->port == 0 || at->ip.is_v4() != v4) continue;
      const auto share = share_.find({service_id, *at});
      const uint64_t weight =
          uint64_t{std::min(member->capacity, 65535u)} * (share == share_.end() ? 100 : share->second);
      found.push_back({near, BackendEntry{.address = *at,
                                          .id = ids.find(Subject::Kind::kWorkload, member->resource.name()),
                                          .weight = static_cast<uint32_t>(weight)}});
      nearest = std::max(nearest, near);
    }
  }
  std::vector<BackendEntry> out;
  for (auto& [near, backend] : found) {
    if (near == nearest) out.push_back(backend);
  }
  return out;
}

std::optional<ServiceEntry> KernelPlanner::entry(const MeshModel& model, const IdRegistry& ids,
                                                 const ServiceKey& key, const Claim& owner) const {
  // No row: the proxy takes it.
  if (owner.rank == kProxiedEndpoint) return std::nullopt;
  ServiceEntry out{.key = key, .id = owner.claimant};
  if (owner.rank == kPlainEndpoint) {
    out.path = ServiceEntry::Path::kPass;
    return out;
  }
  const MeshService* service = model.service(ids.service_key(owner.claimant));
  if (service == nullptr) return std::nullopt;
  out.affinity_seconds = service->asks().affinity_seconds;
  out.eject_after = kEjectAfter;
  const auto plan = [&](const MeshService::Port& port, ServiceEntry::Path path) {
    out.path = path;
    out.backends = backends(ids, *service, owner.claimant, port, key.address.ip.is_v4());
  };
  if (key.protocol == IPPROTO_UDP) {
    for (const MeshService::Port& port : service->asks().datagram_ports) {
      if (port.service_port == key.address.port) plan(port, ServiceEntry::Path::kDirect);
    }
    return out;
  }
  for (const MeshService::Port& port : service->ports) {
    if (port.service_port != key.address.port) continue;
    const bool tunnelled = std::any_of(service->members.begin(), service->members.end(),
                                       [this](const MeshWorkload* member) { return needs_tunnel(*member); });
    const bool direct = is_direct(port.protocol) && !tunnelled;
    plan(port, direct ? ServiceEntry::Path::kDirect : ServiceEntry::Path::kProxy);
    out.tunnelled = tunnelled;
    break;
  }
  return out;
}

KernelChange KernelPlanner::collect(const MeshModel& model, const IdRegistry& ids,
                                    const DestinationSet& dests, const ServiceSet& svcs) {
  KernelChange change;
  for (const SocketAddress& address : dests) {
    if (const auto owner = destinations_.owner(address))
      change.destinations.push_back({.address = address, .id = owner->claimant});
    else
      change.gone_destinations.push_back(address);
  }
  for (const ServiceKey& key : svcs) {
    const auto owner = services_.owner(key);
    std::optional<ServiceEntry> planned;
    if (owner) planned = entry(model, ids, key, *owner);
    if (planned)
      change.services.push_back(*std::move(planned));
    else
      change.gone_services.push_back(key);
  }
  return change;
}

KernelChange KernelPlanner::plan(const MeshModel& model, const IdRegistry& ids, const Touched& touched,
                                 const std::vector<uint32_t>& gone) {
  DestinationSet dests;
  ServiceSet svcs;
  learn_locality(model, touched);
  const size_t services = touched.services.size();
  const size_t workloads = touched.workloads.size();
  if (services + workloads >= kMany) {
    dests.reserve(services + 2 * workloads);
    svcs.reserve(services + workloads);
    destinations_.expect(services + 2 * workloads, services + workloads);
    services_.expect(services + workloads, services);
  }
  for (const uint32_t id : gone) {
    destinations_.set(id, {}, &dests);
    services_.set(id, {}, &svcs);
    absl::erase_if(share_, [id](const auto& row) { return row.first.first == id; });
  }
  for (const control_plane::Resource& service : touched.services) {
    const uint32_t id = ids.find(Subject::Kind::kService, service.name());
    if (id != 0) claim_service(model.service(service.name()), id, &dests, &svcs);
  }
  for (const control_plane::Resource& changed : touched.workloads) {
    const uint32_t id = ids.find(Subject::Kind::kWorkload, changed.name());
    if (id == 0) continue;
    if (const MeshWorkload* workload = model.workload(changed.name()))
      claim_workload(*workload, id, &dests);
    else
      destinations_.set(id, {}, &dests);
  }
  return collect(model, ids, dests, svcs);
}

std::optional<ServiceEntry> KernelPlanner::planned(const MeshModel& model, const IdRegistry& ids,
                                                   const ServiceKey& key) const {
  const auto owner = services_.owner(key);
  return owner ? entry(model, ids, key, *owner) : std::nullopt;
}

KernelChange KernelPlanner::everything(const MeshModel& model, const IdRegistry& ids) const {
  KernelChange all{.full = true};
  destinations_.for_each([&all](const SocketAddress& address, const Claim& owner) {
    all.destinations.push_back({.address = address, .id = owner.claimant});
  });
  services_.for_each([&](const ServiceKey& key, const Claim& owner) {
    std::optional<ServiceEntry> planned = entry(model, ids, key, owner);
    if (planned) all.services.push_back(*std::move(planned));
  });
  return all;
}

KernelChange KernelPlanner::set_share(const MeshModel& model, const IdRegistry& ids, uint32_t service,
                                      const SocketAddress& backend, uint32_t percent) {
  if (percent >= 100)
    share_.erase({service, backend});
  else
    share_[{service, backend}] = percent;
  ServiceSet svcs;
  const std::string_view key = ids.service_key(service);
  if (key.empty()) return {};
  DestinationSet unused;
  claim_service(model.service(key), service, &unused, &svcs);
  return collect(model, ids, {}, svcs);
}

}  // namespace weft::agent
