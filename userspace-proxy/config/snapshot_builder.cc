// The steps from resources to a snapshot, in the order of build_snapshot() at the end. What applies depends
// on the client's namespace, so virtual hosts are made once per namespace (short names, exportTo, policy
// look-up). Never fails, never waits.
#include "userspace-proxy/config/snapshot_builder.h"

#include <set>

#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/match_route.h"

namespace weft::proxy {
namespace {

constexpr char kDefaultNamespace[] = "default";
constexpr char kDefaultRoute[] = "default";

// What is looked up while building; borrowed from the resources.
struct World {
  const Resources& resources;
  absl::flat_hash_map<std::string, const ServiceSpec*> service_by_host;
  HostIndex<RouteSetSpec> route_sets;
  std::set<std::string> namespaces;
  std::set<uint16_t> http_ports;
};

World make_world(const Resources& resources) {
  World world{resources, {}, {}, {kDefaultNamespace}, {}};
  for (const auto& [name, service] : resources.services) {
    world.service_by_host.try_emplace(service->host, service.get());
    for (const ServiceSpec::Port& port : service->ports) {
      if (port.protocol != Protocol::kTcp) world.http_ports.insert(port.number);
    }
  }
  for (const auto& [name, set] : resources.route_sets) {
    // Without HTTP routes it says nothing about HTTP.
    if (set->routes.empty()) continue;
    for (const std::string& host : set->hosts) world.route_sets.add(host, *set);
  }
  world.route_sets.sort();
  for (const auto& [name, workload] : resources.workloads) world.namespaces.insert(workload->ns);
  return world;
}

void add_sources(const World& world, Snapshot* out) {
  for (const auto& [name, workload] : world.resources.workloads) {
    const uint32_t index = static_cast<uint32_t>(out->sources.size());
    if (!out->source_by_uid.try_emplace(workload->uid, index).second) continue;
    out->sources.push_back(Source{workload->uid, workload->name, workload->ns, workload->labels});
  }
}

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
  NamespaceView(const World& world, const std::string& ns, ClusterTable& clusters, Snapshot& out)
      : world_(world), ns_(ns), clusters_(clusters), out_(out) {}

  void build() {
    for (const auto& [name, service] : world_.resources.services) add_service(*service);
    for (const auto& [name, set] : world_.resources.route_sets) add_free_hosts(*set);
    // Last, so that a full name always beats somebody's short form of the same spelling.
    for (auto& [key, host] : short_hosts_) out_.virtual_host_by_host.try_emplace(std::move(key), host);
  }

 private:
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

  WeightedCluster resolve(const DestinationSpec& destination, uint16_t dialled_port) {
    WeightedCluster out;
    out.weight = destination.weight;
    out.action = destination.action;
    out.label = destination.subset.empty() ? destination.host : destination.subset;
    const auto found = world_.service_by_host.find(destination.host);
    if (found == world_.service_by_host.end()) return out;
    const ServiceSpec& service = *found->second;
    uint16_t port = destination.port;
    if (port == 0) port = service.ports.size() == 1 ? service.ports.front().number : dialled_port;
    out.cluster = clusters_.intern(service, port, destination.subset, policy(service));
    return out;
  }

  uint32_t add_routes(const RouteSetSpec& set, uint16_t port) {
    VirtualHost host;
    host.name = str_cat(set.ns, "/", set.name);
    for (const RouteSpec& spec : set.routes) {
      Route route;
      route.name = spec.name;
      route.matches = spec.matches;
      route.action = spec.action;
      for (const DestinationSpec& destination : spec.destinations) {
        route.clusters.push_back(resolve(destination, port));
        route.total_weight += destination.weight;
      }
      for (const MirrorSpec& mirror : spec.mirrors)
        route.mirrors.push_back(RouteMirror{resolve(mirror.destination, port).cluster, mirror.ppm});
      host.routes.push_back(std::move(route));
    }
    index_routes(&host);
    return add(std::move(host));
  }

  uint32_t add_default(const ServiceSpec& service, uint16_t port) {
    const uint32_t cluster = clusters_.intern(service, port, "", policy(service));
    Route route;
    route.name = kDefaultRoute;
    route.clusters.push_back(WeightedCluster{cluster, 1, service.host});
    route.total_weight = 1;
    VirtualHost host;
    host.name = service.key;
    host.routes.push_back(std::move(route));
    return add(std::move(host));
  }

  uint32_t add(VirtualHost host) {
    out_.virtual_hosts.push_back(std::move(host));
    return static_cast<uint32_t>(out_.virtual_hosts.size() - 1);
  }

  void add_service(const ServiceSpec& service) {
    const RouteSetSpec* set = route_set(service.host);
    const std::vector<std::string> spellings = short_names(service, ns_);
    for (const ServiceSpec::Port& port : service.ports) {
      if (port.protocol == Protocol::kTcp) continue;
      const uint32_t host =
          set != nullptr ? add_routes(*set, port.number) : add_default(service, port.number);
      out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, port.number, service.host}, host);
      for (const std::string& name : spellings) {
        short_hosts_.emplace_back(Snapshot::HostKey{ns_, port.number, name}, host);
      }
      for (const IpAddress& ip : service.addresses) {
        const SocketAddress address{ip, port.number};
        out_.virtual_host_by_address.try_emplace(Snapshot::AddressKey{ns_, address}, host);
      }
    }
  }

  bool depends_on_port(const RouteSetSpec& set) const {
    for (const RouteSpec& route : set.routes) {
      for (const DestinationSpec& d : route.destinations) {
        const auto found = world_.service_by_host.find(d.host);
        if (d.port == 0 && found != world_.service_by_host.end() && found->second->ports.size() > 1)
          return true;
      }
    }
    return false;
  }

  // Hosts that are no service: reachable by name on any port of the mesh's HTTP services.
  void add_free_hosts(const RouteSetSpec& set) {
    for (const std::string& host : set.hosts) {
      if (set.routes.empty() || world_.service_by_host.contains(host) || route_set(host) != &set) continue;
      if (!depends_on_port(set)) {
        out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, 0, host}, add_routes(set, 0));
        continue;
      }
      for (const uint16_t port : world_.http_ports) {
        out_.virtual_host_by_host.try_emplace(Snapshot::HostKey{ns_, port, host}, add_routes(set, port));
      }
    }
  }

  const World& world_;
  const std::string& ns_;
  ClusterTable& clusters_;
  Snapshot& out_;
  absl::flat_hash_map<const ServiceSpec*, EffectivePolicy> policies_;
  std::vector<std::pair<Snapshot::HostKey, uint32_t>> short_hosts_;
};

// Plain TCP knows no client namespace yet: the service's own view decides.
void add_service_ports(const World& world, ClusterTable& clusters, Snapshot* out) {
  for (const auto& [name, service] : world.resources.services) {
    const EffectivePolicy policy = clusters.policy_for(service->ns, *service);
    for (const ServiceSpec::Port& port : service->ports) {
      const uint32_t index = static_cast<uint32_t>(out->service_ports.size());
      const uint32_t cluster = clusters.intern(*service, port.number, "", policy);
      out->service_ports.push_back(ServicePort{service->name, service->ns, port.protocol, cluster});
      for (const IpAddress& ip : service->addresses) {
        out->service_port_by_address.try_emplace(SocketAddress{ip, port.number}, index);
      }
    }
  }
}

}  // namespace

SnapshotPtr build_snapshot(const Resources& resources, uint64_t generation) {
  auto out = std::make_shared<Snapshot>();
  out->generation = generation;
  out->path_normalisation = resources.path_normalisation;
  const World world = make_world(resources);
  ClusterTable clusters(resources, out.get());
  add_sources(world, out.get());
  add_service_ports(world, clusters, out.get());
  for (const std::string& ns : world.namespaces) NamespaceView(world, ns, clusters, *out).build();
  return out;
}

}  // namespace weft::proxy
