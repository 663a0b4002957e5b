// The steps from resources to a snapshot, in the order of build_snapshot() at the end. What applies depends
// on the client's namespace, so virtual hosts are made once per namespace (short names, exportTo, policy
// look-up). Never fails; waits for nobody but as give_way() of base/courtesy.h does.
#include "userspace-proxy/config/snapshot_builder.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/courtesy.h"
#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/gateway_rules.h"
#include "userspace-proxy/config/route_lists.h"
#include "userspace-proxy/config/snapshot_sources.h"
#include "userspace-proxy/config/snapshot_world.h"

namespace weft::proxy {
namespace {

constexpr char kDefaultRoute[] = "default";

// What a service may be called in `client_ns`, besides its full name. Names that are no "<name>.<ns>.svc…"
// have no short form.
std::vector<std::string> short_names(const ServiceSpec& service, std::string_view client_ns) {
  const std::string stem = str_cat(service.name, ".", service.ns);
  const std::string full = str_cat(stem, ".svc");
  std::vector<std::string> out;
  if (service.host != full && service.host.compare(0, full.size() + 1, str_cat(full, ".")) != 0) return out;
  if (service.host != full) out.push_back(full);
  out.push_back(stem);
  if (service.ns == client_ns) out.push_back(service.name);
  return out;
}

// One client namespace's view, written into the snapshot.
class NamespaceView {
 public:
  NamespaceView(const SnapshotWorld& world, const std::string& ns, ClusterTable& clusters, RouteLists& lists,
                Snapshot& out)
      : world_(world), ns_(ns), clusters_(clusters), lists_(lists), out_(out) {}

  // The first of a spelling has it. A full name beats somebody's short form, but not when it is one that
  // another namespace has added.
  void build() {
    for (const ServiceSpec* service : world_.services) {
      give_way();
      if (!is_foreign(*service)) add_service(*service);
    }
    for (const auto& [name, set] : world_.resources.route_sets) add_free_hosts(*set);
    add_short_hosts();
    for (const ServiceSpec* service : world_.services) {
      give_way();
      if (is_foreign(*service)) add_service(*service);
    }
    add_short_hosts();
    add_providers();
  }

  // A set of a gateway, as the gateway's own namespace sees the mesh.
  void add_gateway(const RouteSetSpec& set, GatewayRulesTable& rules) {
    const RouteSetSpec::Gateway& gateway = *set.gateway;
    for (const SpiffeId& id : gateway.identities) out_.gateway_identities.push_back(id);
    GatewayPort port{.kind = gateway.kind};
    if (gateway.kind == GatewayPort::Kind::kHttp || gateway.any_host || !set.hosts.empty()) {
      const uint32_t host = add_routes(set, gateway.port);
      if (auto asked = rules.of(ns_, gateway.policies)) add_gateway_rules(host, std::move(asked));
      if (gateway.any_host)
        out_.gateway_host_by_host.try_emplace(Snapshot::HostKey{gateway.server, gateway.port, ""}, host);
      for (const std::string& name : set.hosts)
        out_.gateway_host_by_host.try_emplace(Snapshot::HostKey{gateway.server, gateway.port, name}, host);
    }
    if (gateway.kind != GatewayPort::Kind::kHttp) {
      port.l4_host = add_l4_host(set, set.tls, set.tcp, gateway.port);
      if (gateway.server.empty()) port.rules = rules.of(ns_, gateway.policies);
    }
    for (const RouteSetSpec::Gateway::Server& server : gateway.servers)
      add_server(set, server, rules.of(ns_, server.policies));
    const auto [row, inserted] = out_.gateway_ports.try_emplace(gateway.port, port);
    // One of the port's sets has what is passed through.
    if (!inserted && row->second.l4_host == kNone) row->second.l4_host = port.l4_host;
    if (!inserted && row->second.rules == nullptr) row->second.rules = port.rules;
  }

 private:
  // Providers are reached as the gateway's own namespace sees them.
  void add_gateway_rules(uint32_t host, std::shared_ptr<const GatewayRules> rules) {
    if (rules->asks_providers) add_providers();
    out_.gateways_ask |= rules->asks_providers;
    out_.gateway_rules.emplace(out_.virtual_hosts[host].get(), std::move(rules));
  }

  void add_server(const RouteSetSpec& set, const RouteSetSpec::Gateway::Server& server,
                  std::shared_ptr<const GatewayRules> rules) {
    GatewayServer out;
    out.rules = std::move(rules);
    if (server.terms != nullptr) {
      out.tls = with_keys(server);
      out.l4_host = add_l4_host(set, {}, server.tcp, set.gateway->port);
    }
    const auto index = static_cast<uint32_t>(out_.gateway_servers.size());
    out_.gateway_servers.push_back(std::move(out));
    for (const std::string& host : server.hosts)
      out_.gateway_server_by_name.try_emplace(Snapshot::HostKey{"", set.gateway->port, host}, index);
  }

  std::shared_ptr<const ServerTerms> with_keys(const RouteSetSpec::Gateway::Server& server) const {
    auto out = std::make_shared<ServerTerms>(*server.terms);
    const auto find = [&](const std::string& name) -> const SecretSpec* {
      const auto found = world_.resources.secrets.find(name);
      if (found != world_.resources.secrets.end()) return found->second.get();
      if (out->problem.empty())
        out->problem = str_cat("Secret ", name, " has not come; next: see `weft analyze` and `weft status`");
      return nullptr;
    };
    for (const std::string& name : server.certificates) {
      if (const SecretSpec* secret = find(name)) out->certificates.push_back(secret->pair);
    }
    const SecretSpec* roots = server.roots.empty() ? nullptr : find(server.roots);
    if (roots == nullptr) return out;
    out->roots = roots->roots;
    out->crls = roots->crls;
    return out;
  }

  const EffectivePolicy& policy(const ServiceSpec& service) {
    const auto [row, inserted] = policies_.try_emplace(&service);
    if (inserted) row->second = clusters_.policy_for(ns_, service);
    return row->second;
  }

  const RouteSetSpec* route_set(std::string_view host) const {
    const auto found =
        world_.route_sets.find(host, [&](const RouteSetSpec& s) { return visible_in(s, ns_); });
    return found.empty() ? nullptr : found.front();
  }

  // The Gateway API's routes for a service's port; those of the client's namespace before the service's own.
  const RouteSetSpec* address_set(std::string_view host, uint16_t port, bool http) const {
    const auto found = world_.address_sets.find(to_absl(host));
    if (found == world_.address_sets.end()) return nullptr;
    const RouteSetSpec* best = nullptr;
    for (const RouteSetSpec* set : found->second) {
      const bool fits = (set->port == 0 || set->port == port) && visible_in(*set, ns_) &&
                        (http ? !set->routes.empty() : has_l4(*set));
      if (fits && (best == nullptr || (set->consumer && !best->consumer))) best = set;
    }
    return best;
  }

  bool is_foreign(const ServiceSpec& service) const { return service.entry && service.ns != ns_; }

  void add_short_hosts() {
    for (auto& [key, host] : short_hosts_) out_.virtual_host_by_host.try_emplace(std::move(key), host);
    short_hosts_.clear();
  }

  void add_providers() {
    for (const ExternalProviderPtr& provider : world_.resources.mesh.providers) {
      const ServiceSpec* const service = service_of(provider->host, provider->port);
      if (service == nullptr) continue;
      const uint32_t cluster = clusters_.intern(*service, provider->port, "", policy(*service));
      if (cluster != kNone)
        out_.provider_clusters.try_emplace(Snapshot::HostKey{ns_, 0, provider->name}, cluster);
    }
  }

  // What this namespace knows by the name, a Service before its own entry, and that before another's; of
  // several the first that has the port (0: any).
  const ServiceSpec* service_of(std::string_view host, uint16_t port) const {
    const auto found = world_.services_by_host.find(to_absl(host));
    if (found == world_.services_by_host.end()) return nullptr;
    const auto rank = [&](const ServiceSpec& service) {
      const auto is_port = [port](const ServiceSpec::Port& p) { return port == 0 || p.number == port; };
      const bool has_port = std::any_of(service.ports.begin(), service.ports.end(), is_port);
      return (service.entry ? (service.ns == ns_ ? 2 : 4) : 0) + (has_port ? 0 : 1);
    };
    const ServiceSpec* best = nullptr;
    for (const ServiceSpec* service : found->second) {
      if (visible_in(*service, ns_) && (best == nullptr || rank(*service) < rank(*best))) best = service;
    }
    return best;
  }

  // The cluster of a destination; kNone: there is none.
  uint32_t cluster_of(const DestinationSpec& destination, uint16_t dialled_port) {
    if (destination.invalid) return kNone;
    const auto [row, inserted] =
        known_.try_emplace(std::make_tuple(to_absl(destination.host), to_absl(destination.subset),
                                           destination.port, dialled_port),
                           kNone);
    if (!inserted) return row->second;
    const ServiceSpec* const found = service_of(destination.host, destination.port);
    if (found == nullptr) return kNone;
    const ServiceSpec& service = *found;
    uint16_t port = destination.port;
    if (port == 0) port = service.ports.size() == 1 ? service.ports.front().number : dialled_port;
    return row->second = clusters_.intern(service, port, destination.subset, policy(service));
  }

  uint32_t add_routes(const RouteSetSpec& set, uint16_t port) {
    const std::vector<const DestinationSpec*>& destinations = lists_.destinations_of(set);
    std::vector<uint32_t> clusters;
    clusters.reserve(destinations.size());
    for (const DestinationSpec* destination : destinations)
      clusters.push_back(cluster_of(*destination, port));
    return lists_.add(set, std::move(clusters), out_);
  }

  L4Route l4_route(const L4RouteSpec& spec, uint32_t index, uint16_t port) {
    L4Route out{.name = spec.name, .index = index, .matches = spec.matches, .clusters = {}};
    out.dials_as = spec.dials_as;
    for (const DestinationSpec& destination : spec.destinations) {
      out.clusters.push_back(weighted_cluster(destination, cluster_of(destination, port)));
      out.total_weight += destination.weight;
    }
    return out;
  }

  // Those of the routes that speak of this port.
  std::vector<L4Route> l4_routes(const std::vector<L4RouteSpec>& specs, uint16_t port) {
    std::vector<L4Route> out;
    for (uint32_t i = 0; i < specs.size(); ++i) {
      const std::vector<L4Matcher>& matches = specs[i].matches;
      const auto of_port = [&](const L4Matcher& m) { return m.port == 0 || m.port == port; };
      if (matches.empty() || std::any_of(matches.begin(), matches.end(), of_port))
        out.push_back(l4_route(specs[i], i, port));
    }
    return out;
  }

  // kNone: nothing is said about this port.
  uint32_t add_l4_host(const RouteSetSpec& set, const std::vector<L4RouteSpec>& tls,
                       const std::vector<L4RouteSpec>& tcp, uint16_t port) {
    L4Host host{.name = str_cat(set.ns, "/", set.name),
                .resource = set.resource,
                .tls = l4_routes(tls, port),
                .tcp = l4_routes(tcp, port)};
    if (host.tls.empty() && host.tcp.empty()) return kNone;
    out_.l4_hosts.push_back(std::move(host));
    return static_cast<uint32_t>(out_.l4_hosts.size() - 1);
  }

  // Connections that are no HTTP: `tls` is for ports that may speak TLS, unless a TLSRoute names the port.
  void add_l4(const ServiceSpec& service, const ServiceSpec::Port& port) {
    if (port.protocol == Protocol::kHttp || port.protocol == Protocol::kHttp2) return;
    const RouteSetSpec* set = address_set(service.host, port.number, false);
    if (set == nullptr) {
      const auto found =
          world_.l4_sets.find(service.host, [&](const RouteSetSpec& s) { return visible_in(s, ns_); });
      if (found.empty()) return;
      set = found.front();
    }
    const bool tls = set->by_address || port.protocol != Protocol::kTcp;
    const uint32_t host =
        add_l4_host(*set, tls ? set->tls : std::vector<L4RouteSpec>(), set->tcp, port.number);
    if (host == kNone) return;
    for (const SocketAddress& address : dialled_at(service, port.number))
      out_.l4_host_by_address.try_emplace(Snapshot::AddressKey{ns_, address}, host);
  }

  // Connections that are no HTTP follow the rules of their client's namespace, where those are others.
  void add_tcp_cluster(const ServiceSpec& service, const ServiceSpec::Port& port) {
    const EffectivePolicy& own = policy(service);
    if (own.view.empty()) return;
    const uint32_t cluster = clusters_.intern(service, port.number, "", own);
    for (const SocketAddress& address : dialled_at(service, port.number))
      out_.tcp_cluster_by_address.try_emplace(Snapshot::AddressKey{ns_, address}, cluster);
  }

  // Who may reach declared destinations only gets to a name without an address by the name alone.
  void add_named(const ServiceSpec& service, const ServiceSpec::Port& port) {
    const bool http = port.protocol == Protocol::kHttp || port.protocol == Protocol::kHttp2;
    if (!world_.confined || http || !service.by_endpoint || !service.ranges.empty()) return;
    const uint32_t cluster = clusters_.intern(service, port.number, "", policy(service));
    out_.named_cluster_by_host.try_emplace(Snapshot::HostKey{ns_, port.number, service.host}, cluster);
  }

  // True: the address decides, and Host finds this port of the service nowhere else.
  bool add_address_routes(const ServiceSpec& service, const ServiceSpec::Port& port) {
    const RouteSetSpec* set = address_set(service.host, port.number, true);
    if (set == nullptr) return false;
    const uint32_t host = add_routes(*set, port.number);
    for (const IpAddress& ip : service.addresses)
      out_.routed_host_by_address.try_emplace(Snapshot::AddressKey{ns_, SocketAddress{ip, port.number}},
                                              host);
    return true;
  }

  uint32_t add_default(const ServiceSpec& service, uint16_t port) {
    const uint32_t cluster = clusters_.intern(service, port, "", policy(service));
    Route route;
    route.name = kDefaultRoute;
    route.clusters.push_back(WeightedCluster{cluster, 1, service.host});
    route.total_weight = 1;
    route.action = world_.resources.mesh.default_action;
    VirtualHost host;
    host.name = service.key;
    host.routes.push_back(std::move(route));
    return add(std::move(host));
  }

  uint32_t add(VirtualHost host) {
    out_.virtual_hosts.push_back(std::make_shared<const VirtualHost>(std::move(host)));
    return static_cast<uint32_t>(out_.virtual_hosts.size() - 1);
  }

  void add_service(const ServiceSpec& service) {
    if (!visible_in(service, ns_)) return;
    const RouteSetSpec* set = route_set(service.host);
    const std::vector<std::string> spellings = short_names(service, ns_);
    for (const ServiceSpec::Port& port : service.ports) {
      add_named(service, port);
      add_l4(service, port);
      add_tcp_cluster(service, port);
      if (is_opaque(port.protocol)) continue;
      if (add_address_routes(service, port) && set == nullptr) continue;
      const uint32_t host =
          set != nullptr ? add_routes(*set, port.number) : add_default(service, port.number);
      out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, port.number, service.host}, host);
      for (const std::string& name : spellings) {
        short_hosts_.emplace_back(Snapshot::HostKey{ns_, port.number, name}, host);
      }
      add_by_address(service, port.number, host);
    }
  }

  // For a Host that is nobody's. Who dials an endpoint may mean another of its names, for which the routes
  // are not.
  void add_by_address(const ServiceSpec& service, uint16_t port, uint32_t host) {
    const std::vector<SocketAddress> addresses = dialled_at(service, port);
    if (service.by_endpoint && !addresses.empty()) host = add_default(service, port);
    for (const SocketAddress& address : addresses)
      out_.virtual_host_by_address.try_emplace(Snapshot::AddressKey{ns_, address}, host);
  }

  std::vector<SocketAddress> dialled_at(const ServiceSpec& service, uint16_t port) {
    const uint32_t cluster =
        service.by_endpoint ? clusters_.intern(service, port, "", policy(service)) : kNone;
    return clusters_.dialled_at(service, port, cluster);
  }

  bool depends_on_port(const DestinationSpec& destination) const {
    if (destination.port != 0) return false;
    const ServiceSpec* const service = service_of(destination.host, 0);
    return service != nullptr && service->ports.size() > 1;
  }

  bool depends_on_port(const RouteSetSpec& set) {
    const std::vector<const DestinationSpec*>& destinations = lists_.destinations_of(set);
    return std::any_of(destinations.begin(), destinations.end(),
                       [this](const DestinationSpec* each) { return depends_on_port(*each); });
  }

  // Hosts that are no service: reachable by name on any port of the mesh's HTTP services.
  void add_free_hosts(const RouteSetSpec& set) {
    for (const std::string& host : set.hosts) {
      if (set.routes.empty() || set.by_address || set.gateway || service_of(host, 0) != nullptr ||
          route_set(host) != &set)
        continue;
      if (!depends_on_port(set)) {
        out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, 0, host}, add_routes(set, 0));
        continue;
      }
      for (const uint16_t port : world_.http_ports) {
        out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, port, host}, add_routes(set, port));
      }
    }
  }

  const SnapshotWorld& world_;
  const std::string& ns_;
  ClusterTable& clusters_;
  RouteLists& lists_;
  Snapshot& out_;
  // By host, subset and port of the destination (0: none) and the dialled one.
  absl::flat_hash_map<std::tuple<absl::string_view, absl::string_view, uint16_t, uint16_t>, uint32_t> known_;
  absl::flat_hash_map<const ServiceSpec*, EffectivePolicy> policies_;
  std::vector<std::pair<Snapshot::HostKey, uint32_t>> short_hosts_;
};

// With the service's own view (add_tcp_cluster() has those of others); which services a client sees is asked
// when it dials.
class ServicePorts {
 public:
  ServicePorts(const SnapshotWorld& world, ClusterTable& clusters, Snapshot& out)
      : world_(world), clusters_(clusters), out_(out) {}

  void build() {
    for (const ServiceSpec* service : world_.services) {
      const EffectivePolicy policy = clusters_.policy_for(service->ns, *service);
      for (const ServiceSpec::Port& port : service->ports) {
        const uint32_t cluster = clusters_.intern(*service, port.number, "", policy);
        for (const SocketAddress& address : clusters_.dialled_at(*service, port.number, cluster))
          add(address, {.service = service->name,
                        .ns = service->ns,
                        .protocol = port.protocol,
                        .tcp_cluster = cluster,
                        .entry = service->entry,
                        .export_to = service->export_to});
      }
    }
  }

 private:
  void add(const SocketAddress& address, ServicePort port) {
    const auto index = static_cast<uint32_t>(out_.service_ports.size());
    out_.service_ports.push_back(std::move(port));
    const auto [row, inserted] = out_.service_port_by_address.try_emplace(address, index);
    if (inserted) return;
    uint32_t last = row->second;
    while (out_.service_ports[last].next != kNone) last = out_.service_ports[last].next;
    out_.service_ports[last].next = index;
  }

  const SnapshotWorld& world_;
  ClusterTable& clusters_;
  Snapshot& out_;
};

}  // namespace

SnapshotPtr build_snapshot(const Resources& resources, uint64_t generation) {
  RouteLists lists;
  return build_snapshot(resources, generation, lists);
}

SnapshotPtr build_snapshot(const Resources& resources, uint64_t generation, RouteLists& lists) {
  auto out = std::make_shared<Snapshot>();
  out->generation = generation;
  out->path_normalisation = resources.mesh.path_normalisation.value_or(resources.path_normalisation);
  for (const ExternalProviderPtr& provider : resources.mesh.providers)
    out->providers.emplace(provider->name, provider);
  const SnapshotWorld world(resources);
  ClusterTable clusters(resources, out.get());
  add_sources(resources, clusters, out.get());
  add_declared(resources, out.get());
  ServicePorts(world, clusters, *out).build();
  for (const std::string& ns : world.namespaces) NamespaceView(world, ns, clusters, lists, *out).build();
  GatewayRulesTable rules(resources);
  for (const auto& [name, set] : resources.route_sets) {
    if (set->gateway) NamespaceView(world, set->ns, clusters, lists, *out).add_gateway(*set, rules);
  }
  lists.finish();
  return out;
}

}  // namespace weft::proxy
