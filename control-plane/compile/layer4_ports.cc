// See layer4_ports.h.
#include "control-plane/compile/layer4_ports.h"

#include <algorithm>

#include "control-plane/compile/protocol.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

bool names_port(const google::protobuf::RepeatedPtrField<mesh::v1::L4Route>& routes, uint32_t port) {
  for (const mesh::v1::L4Route& route : routes) {
    if (route.matches().empty()) return true;
    for (const mesh::v1::L4Match& match : route.matches()) {
      if (match.port() == 0 || match.port() == port) return true;
    }
  }
  return false;
}

// What it says about connections is more than the kernel's balancing knows.
bool needs_proxy(const mesh::v1::TrafficPolicy& policy) {
  using mesh::v1::LoadBalancing;
  const mesh::v1::ConnectionPool& pool = policy.connection_pool();
  const LoadBalancing& balancing = policy.load_balancing();
  const auto& near = balancing.locality();
  const auto tls = policy.tls().mode();
  const bool begins_tls = tls != mesh::v1::ClientTls::MODE_UNSPECIFIED && tls != mesh::v1::ClientTls::DISABLE;
  return begins_tls || policy.has_outlier_detection() || balancing.has_hash() || balancing.has_warmup() ||
         balancing.algorithm() == LoadBalancing::PASSTHROUGH || !near.distribute().empty() ||
         !near.failover().empty() || !near.failover_priority().empty() || pool.max_connections() > 0 ||
         pool.connect_timeout_ms() > 0 || pool.max_connection_duration_ms() > 0 || pool.has_tcp_idle_ms() ||
         pool.has_keepalive();
}

// A port's blocks take the place of the rule's.
bool needs_proxy(const mesh::v1::TrafficPolicy& policy, uint32_t port) {
  for (const mesh::v1::TrafficPolicy::Port& own : policy.ports()) {
    if (own.port() == port) return needs_proxy(own.policy());
  }
  return needs_proxy(policy);
}

bool needs_proxy_anywhere(const mesh::v1::TrafficPolicy& policy) {
  const auto of_port = [](const mesh::v1::TrafficPolicy::Port& own) { return needs_proxy(own.policy()); };
  return needs_proxy(policy) || std::any_of(policy.ports().begin(), policy.ports().end(), of_port);
}

void add_ruled_port(const DestinationRule& rule, const std::string& host, uint32_t number,
                    mesh::v1::Protocol protocol, Layer4Ports& out) {
  const bool opaque = protocol == mesh::v1::PROTOCOL_TCP || protocol == mesh::v1::PROTOCOL_TLS;
  if (opaque && needs_proxy(rule.policy.traffic_policy(), number))
    out.try_emplace({host, number}, mesh::v1::PROTOCOL_UNSPECIFIED);
}

void add_ruled_ports(const Objects& objects, Layer4Ports& out) {
  for_each<DestinationRule>(objects, [&](const DestinationRule& rule) {
    if (rule.hidden || !needs_proxy_anywhere(rule.policy.traffic_policy())) return;
    for_each<Service>(objects, [&](const Service& service) {
      const std::string host = service_host(service.meta.name, service.meta.ns);
      if (!host_covers(rule.host.host, host)) return;
      for (const Service::Port& port : service.ports)
        add_ruled_port(rule, host, port.number, protocol_of(port.app_protocol, port.name, port.number), out);
    });
    for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
      for (const std::string& host : entry.hosts) {
        if (!host_covers(rule.host.host, host)) continue;
        for (const ServiceEntry::Port& port : entry.ports)
          add_ruled_port(rule, host, port.number, protocol_of(port.protocol, port.name, port.number), out);
      }
    });
  });
}

class PortsOfRoutes {
 public:
  PortsOfRoutes(const mesh::v1::RouteSet& routes, Layer4Ports& out) : routes_(routes), out_(out) {}

  // Ports of a Service or a ServiceEntry.
  template <typename Ports>
  void add(const std::string& host, const Ports& ports) {
    const auto covers = [&host](const std::string& pattern) { return host_covers(pattern, host); };
    if (std::none_of(routes_.hosts().begin(), routes_.hosts().end(), covers)) return;
    for (const auto& port : ports) {
      if (names_port(routes_.tls(), port.number) || names_port(routes_.tcp(), port.number))
        out_.try_emplace({host, port.number}, mesh::v1::PROTOCOL_UNSPECIFIED);
    }
  }

 private:
  const mesh::v1::RouteSet& routes_;
  Layer4Ports& out_;
};

}  // namespace

Layer4Ports layer4_ports(const Objects& objects, const std::vector<MeshRouteSet>& gateway_api) {
  Layer4Ports out;
  add_ruled_ports(objects, out);
  // Whoever attaches a route says what the port speaks.
  for (const MeshRouteSet& set : gateway_api) {
    if (!set.tls && !set.tcp) continue;
    const mesh::v1::Protocol protocol = set.consumer ? mesh::v1::PROTOCOL_UNSPECIFIED
                                        : set.tls    ? mesh::v1::PROTOCOL_TLS
                                                     : mesh::v1::PROTOCOL_TCP;
    mesh::v1::Protocol& port = out[{set.host, set.port}];
    if (protocol != mesh::v1::PROTOCOL_UNSPECIFIED) port = protocol;
  }
  for_each<VirtualService>(objects, [&](const VirtualService& service_routes) {
    if (service_routes.hidden || !service_routes.has_layer4()) return;
    const mesh::v1::RouteSet routes = routes_at(service_routes, *service_routes.routes, "mesh");
    if (routes.tls().empty() && routes.tcp().empty()) return;
    PortsOfRoutes ports(routes, out);
    for_each<Service>(objects, [&ports](const Service& service) {
      ports.add(service_host(service.meta.name, service.meta.ns), service.ports);
    });
    for_each<ServiceEntry>(objects, [&ports](const ServiceEntry& entry) {
      for (const std::string& host : entry.hosts) ports.add(host, entry.ports);
    });
  });
  return out;
}

}  // namespace weft::control_plane
