// See snapshot_world.h.
#include "userspace-proxy/config/snapshot_world.h"

namespace weft::proxy {
namespace {

constexpr char kDefaultNamespace[] = "default";

void add_set(const RouteSetSpec& set, SnapshotWorld* world) {
  if (set.gateway) return;
  for (const std::string& host : set.hosts) {
    if (set.by_address) {
      world->address_sets[host].push_back(&set);
      continue;
    }
    // Without HTTP routes it says nothing about HTTP, and the other way round.
    if (!set.routes.empty()) world->route_sets.add(host, set);
    if (has_l4(set)) world->l4_sets.add(host, set);
  }
}

}  // namespace

SnapshotWorld::SnapshotWorld(const Resources& all) : resources(all), namespaces{kDefaultNamespace} {
  for (const bool entry : {false, true}) {
    for (const auto& [name, service] : resources.services) {
      if (service->entry == entry) services.push_back(service.get());
    }
  }
  for (const ServiceSpec* service : services) {
    services_by_host[service->host].push_back(service);
    for (const ServiceSpec::Port& port : service->ports) {
      if (!is_opaque(port.protocol)) http_ports.insert(port.number);
    }
  }
  for (const auto& [name, set] : resources.route_sets) add_set(*set, this);
  route_sets.sort();
  l4_sets.sort();
  for (const auto& [name, workload] : resources.workloads) {
    namespaces.insert(workload->ns);
    confined = confined || workload->registry_only;
  }
}

}  // namespace weft::proxy
