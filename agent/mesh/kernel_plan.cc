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

std::optional<SocketAddress> socket_address(const std::string& packed, uint32_t port) {
  const std::optional<IpAddress> ip = IpAddress::from_packed(packed);
  if (!ip.has_value() || port > 65535) return std::nullopt;
  return SocketAddress{*ip, static_cast<uint16_t>(port)};
}

// A CIDR is not an address that somebody listens at.
bool is_host(const istio::workload::NetworkAddress& address) {
  return !address.has_length() || address.length() == address.address().size() * 8;
}

// Nothing above L4 to do and nothing to encrypt: declared so, never guessed.
bool is_direct(AppProtocol protocol) {
  return protocol == istio::workload::TCP || protocol == istio::workload::TLS;
}

bool serves(const istio::workload::PortList& list, const istio::workload::Port& port) {
  return std::any_of(list.ports().begin(), list.ports().end(), [&port](const istio::workload::Port& p) {
    return p.service_port() == port.service_port();
  });
}

istio::workload::Port datagram_port(const mesh::v1::ServicePorts::DatagramPort& port) {
  istio::workload::Port out;
  out.set_service_port(port.number());
  out.set_target_port(port.target_port());
  return out;
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

mesh::v1::ServicePorts service_extension(const istio::workload::Service& service) {
  mesh::v1::ServicePorts out;
  for (const istio::workload::Extension& extension : service.extensions()) {
    if (extension.name() == "weft.mesh.v1.ServicePorts" && out.ParseFromString(extension.config().value()))
      return out;
  }
  return {};
}

void KernelPlanner::claim_service(const MeshModel& model, const std::string& key, uint32_t id,
                                  DestinationSet* dests, ServiceSet* svcs) {
  std::vector<std::pair<SocketAddress, uint8_t>> listens;
  std::vector<std::pair<ServiceKey, uint8_t>> routed;
  const auto found = model.services().find(key);
  if (found != model.services().end()) {
    const istio::workload::Service& service = found->second;
    const mesh::v1::ServicePorts extension = service_extension(service);
    for (const auto& address : service.addresses()) {
      if (!is_host(address)) continue;
      for (const auto& port : service.ports()) {
        const auto at = socket_address(address.address(), port.service_port());
        if (!at || at->port == 0) continue;
        listens.emplace_back(*at, kOfService);
        routed.emplace_back(ServiceKey{*at, IPPROTO_TCP}, kServiceAddress);
      }
      for (const auto& port : extension.datagram_ports()) {
        if (const auto at = socket_address(address.address(), port.number()))
          routed.emplace_back(ServiceKey{*at, IPPROTO_UDP}, kServiceAddress);
      }
    }
    for (const auto& port : service.ports()) {
      const uint8_t rank = is_direct(port.app_protocol()) ? kPlainEndpoint : kProxiedEndpoint;
      for (const istio::workload::Workload* member : model.members(key)) {
        const istio::workload::PortList& list = member->services().at(key);
        if (!serves(list, port)) continue;
        for (const std::string& address : member->addresses()) {
          if (const auto at = socket_address(address, target_port(list, port)))
            routed.emplace_back(ServiceKey{*at, IPPROTO_TCP}, rank);
        }
      }
    }
  }
  destinations_.set(id, listens, dests);
  services_.set(id, routed, svcs);
}

void KernelPlanner::claim_workload(const MeshModel& model, const istio::workload::Workload& workload,
                                   uint32_t id, DestinationSet* dests) {
  std::vector<std::pair<SocketAddress, uint8_t>> listens;
  const auto claim = [&listens](const std::string& address, uint32_t port) {
    const auto at = socket_address(address, port);
    if (at && at->port != 0) listens.emplace_back(*at, kOfWorkload);
  };
  for (const auto& [service_key, ports] : workload.services()) {
    const auto service = model.services().find(service_key);
    for (const std::string& address : workload.addresses()) {
      for (const auto& port : ports.ports())
        claim(address, port.target_port() != 0 ? port.target_port() : port.service_port());
      if (service == model.services().end()) continue;
      for (const auto& port : service->second.ports()) claim(address, target_port(ports, port));
    }
  }
  // Pods on the host's network share its address, which names none of them.
  if (workload.network_mode() != istio::workload::HOST_NETWORK) {
    for (const std::string& address : workload.addresses()) {
      if (const auto at = socket_address(address, 0)) listens.emplace_back(*at, kOfWorkload);
    }
  }
  destinations_.set(id, listens, dests);
}

// The node is where its pods are.
void KernelPlanner::learn_locality(const MeshModel& model, const Touched& touched) {
  for (const std::string& uid : touched.workloads) {
    const auto found = model.workloads().find(uid);
    if (found == model.workloads().end() || found->second.node() != node_name_) continue;
    if (found->second.has_locality()) locality_ = found->second.locality();
  }
}

uint32_t KernelPlanner::nearness(const istio::workload::Service& service,
                                 const istio::workload::Workload& workload) const {
  uint32_t matched = 0;
  for (const int scope : service.load_balancing().routing_preference()) {
    const istio::workload::Locality& theirs = workload.locality();
    bool same = false;
    if (scope == LoadBalancing::REGION) same = theirs.region() == locality_.region();
    if (scope == LoadBalancing::ZONE) same = theirs.zone() == locality_.zone();
    if (scope == LoadBalancing::SUBZONE) same = theirs.subzone() == locality_.subzone();
    if (scope == LoadBalancing::NODE) same = workload.node() == node_name_;
    if (scope == LoadBalancing::CLUSTER || scope == LoadBalancing::NETWORK) same = true;
    if (!same) break;
    ++matched;
  }
  return matched;
}

std::vector<BackendEntry> KernelPlanner::backends(const MeshModel& model, const IdRegistry& ids,
                                                  const std::string& service_key, uint32_t service_id,
                                                  const istio::workload::Port& port, bool v4) const {
  const istio::workload::Service& service = model.services().at(service_key);
  const LoadBalancing& balancing = service.load_balancing();
  const bool any_health = balancing.health_policy() == LoadBalancing::ALLOW_ALL;
  const bool local = balancing.mode() == LoadBalancing::STRICT || balancing.mode() == LoadBalancing::FAILOVER;
  uint32_t nearest = balancing.mode() == LoadBalancing::STRICT
                         ? static_cast<uint32_t>(balancing.routing_preference_size())
                         : 0;
  std::vector<std::pair<uint32_t, BackendEntry>> found;
  for (const istio::workload::Workload* member : model.members(service_key)) {
    if (!any_health && member->status() == istio::workload::UNHEALTHY) continue;
    const istio::workload::PortList& list = member->services().at(service_key);
    const uint32_t near = local ? nearness(service, *member) : 0;
    const uint32_t capacity = member->has_capacity() ? member->capacity().value() : 1;
    for (const std::string& address : member->addresses()) {
      const auto at = socket_address(address, target_port(list, port));
      if (!at || at->port == 0 || at->ip.is_v4() != v4) continue;
      const auto share = share_.find({service_id, *at});
      const uint64_t weight =
          uint64_t{std::min(capacity, 65535u)} * (share == share_.end() ? 100 : share->second);
      found.push_back({near, BackendEntry{.address = *at,
                                          .id = ids.find(Subject::Kind::kWorkload, member->uid()),
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
  const Subject* subject = ids.subject(owner.claimant);
  if (subject == nullptr || !model.services().contains(subject->key)) return std::nullopt;
  const istio::workload::Service& service = model.services().at(subject->key);
  const mesh::v1::ServicePorts extension = service_extension(service);
  out.affinity_seconds = extension.affinity_seconds();
  out.eject_after = kEjectAfter;
  const auto plan = [&](const istio::workload::Port& port, ServiceEntry::Path path) {
    out.path = path;
    out.backends = backends(model, ids, subject->key, owner.claimant, port, key.address.ip.is_v4());
  };
  if (key.protocol == IPPROTO_UDP) {
    for (const auto& port : extension.datagram_ports()) {
      if (port.number() == key.address.port) plan(datagram_port(port), ServiceEntry::Path::kDirect);
    }
    return out;
  }
  for (const auto& port : service.ports()) {
    if (port.service_port() != key.address.port) continue;
    plan(port, is_direct(port.app_protocol()) ? ServiceEntry::Path::kDirect : ServiceEntry::Path::kProxy);
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
  for (const uint32_t id : gone) {
    destinations_.set(id, {}, &dests);
    services_.set(id, {}, &svcs);
    absl::erase_if(share_, [id](const auto& row) { return row.first.first == id; });
  }
  for (const std::string& key : touched.services) {
    const uint32_t id = ids.find(Subject::Kind::kService, key);
    if (id != 0) claim_service(model, key, id, &dests, &svcs);
  }
  for (const std::string& uid : touched.workloads) {
    const uint32_t id = ids.find(Subject::Kind::kWorkload, uid);
    const auto found = model.workloads().find(uid);
    if (id == 0) continue;
    if (found != model.workloads().end())
      claim_workload(model, found->second, id, &dests);
    else
      destinations_.set(id, {}, &dests);
  }
  return collect(model, ids, dests, svcs);
}

size_t KernelPlanner::services() const {
  size_t count = 0;
  services_.for_each(
      [&count](const ServiceKey&, const Claim& owner) { count += owner.rank != kProxiedEndpoint; });
  return count;
}

KernelChange KernelPlanner::set_share(const MeshModel& model, const IdRegistry& ids, uint32_t service,
                                      const SocketAddress& backend, uint32_t percent) {
  if (percent >= 100)
    share_.erase({service, backend});
  else
    share_[{service, backend}] = percent;
  ServiceSet svcs;
  const Subject* subject = ids.subject(service);
  if (subject == nullptr) return {};
  DestinationSet unused;
  claim_service(model, subject->key, service, &unused, &svcs);
  return collect(model, ids, {}, svcs);
}

}  // namespace weft::agent
