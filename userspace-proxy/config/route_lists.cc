// See route_lists.h.
#include "userspace-proxy/config/route_lists.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/courtesy.h"
#include "base/strings.h"

namespace weft::proxy {
namespace {

// Calls `visit` with every destination and mirror, in the order of routes.
template <typename Visit>
void each_destination(const RouteSetSpec& set, Visit visit) {
  for (const RouteSpec& route : set.routes) {
    for (const DestinationSpec& destination : route.destinations) visit(destination);
    for (const MirrorSpec& mirror : route.mirrors) visit(mirror.destination);
  }
}

bool go_to_the_same(const DestinationSpec* a, const DestinationSpec* b) {
  return std::tie(a->host, a->subset, a->port, a->invalid) ==
         std::tie(b->host, b->subset, b->port, b->invalid);
}

}  // namespace

bool lead_alike(const RouteSetSpec& before, const RouteSetSpec& now) {
  const auto is_plain = [](const RouteSetSpec& set) {
    return !set.gateway && set.tls.empty() && set.tcp.empty() && !set.routes.empty();
  };
  const auto place = [](const RouteSetSpec& set) {
    return std::tie(set.name, set.ns, set.hosts, set.export_to, set.by_address, set.port, set.consumer,
                    set.created);
  };
  return is_plain(before) && is_plain(now) && place(before) == place(now);
}

WeightedCluster weighted_cluster(const DestinationSpec& destination, uint32_t cluster) {
  if (destination.invalid) return {.weight = destination.weight, .label = "invalid", .invalid = true};
  return {.cluster = cluster,
          .weight = destination.weight,
          .label = destination.subset.empty() ? destination.host : destination.subset,
          .action = destination.action};
}

RouteLists::Known& RouteLists::known(const RouteSetSpec& set) {
  const auto [row, inserted] = sets_.try_emplace(&set);
  if (!inserted) return *row->second;
  row->second = std::make_unique<Known>();
  Known& out = *row->second;
  out.set = set.shared_from_this();
  absl::flat_hash_map<std::tuple<absl::string_view, absl::string_view, uint16_t, bool>, uint32_t> seen;
  each_destination(set, [&](const DestinationSpec& destination) {
    const auto [known, fresh] =
        seen.try_emplace(std::make_tuple(to_absl(destination.host), to_absl(destination.subset),
                                         destination.port, destination.invalid),
                         static_cast<uint32_t>(out.destinations.size()));
    if (fresh) out.destinations.push_back(&destination);
    out.which.push_back(known->second);
  });
  return out;
}

const std::vector<const DestinationSpec*>& RouteLists::destinations_of(const RouteSetSpec& set) {
  return known(set).destinations;
}

uint32_t RouteLists::add(const RouteSetSpec& set, std::vector<uint32_t> clusters, Snapshot& out) {
  Known& routes = known(set);
  const auto [row, inserted] = routes.by_clusters.try_emplace(std::move(clusters));
  Made& made = row->second;
  if (inserted) made.host = std::make_shared<const VirtualHost>(make_host(routes, row->first));
  if (made.snapshot != snapshot_) {
    made.snapshot = snapshot_;
    made.index = static_cast<uint32_t>(out.virtual_hosts.size());
    out.virtual_hosts.push_back(made.host);
  }
  return made.index;
}

bool RouteLists::replace(const RouteSetSpec& before, const RouteSetSpec& now, Snapshot& out) {
  const auto row = sets_.find(&before);
  // It is nowhere: another has its hosts.
  if (row == sets_.end()) return true;
  const std::unique_ptr<Known> old = std::move(row->second);
  sets_.erase(row);
  Known& routes = known(now);
  if (!std::equal(old->destinations.begin(), old->destinations.end(), routes.destinations.begin(),
                  routes.destinations.end(), go_to_the_same))
    return false;
  for (const auto& [clusters, was] : old->by_clusters) {
    Made& made = routes.by_clusters[clusters];
    made = {std::make_shared<const VirtualHost>(make_host(routes, clusters)), was.snapshot, was.index};
    out.virtual_hosts[made.index] = made.host;
  }
  return true;
}

void RouteLists::finish() {
  absl::erase_if(sets_, [this](auto& entry) {
    auto& made = entry.second->by_clusters;
    std::erase_if(made, [this](const auto& one) { return one.second.snapshot != snapshot_; });
    return made.empty();
  });
  ++snapshot_;
}

VirtualHost RouteLists::make_host(const Known& known, const std::vector<uint32_t>& clusters) {
  const RouteSetSpec& set = *known.set;
  VirtualHost host{.name = str_cat(set.ns, "/", set.name),
                   .resource = set.resource,
                   .routes = {},
                   .index = set.index,
                   .owner = known.set};
  host.routes.reserve(set.routes.size());
  auto next = known.which.begin();
  for (const RouteSpec& spec : set.routes) {
    give_way();
    Route& route = host.routes.emplace_back();
    route.name = spec.name;
    route.matches = spec.matches;
    route.action = spec.action;
    route.dials_as = spec.dials_as.get();
    route.clusters.reserve(spec.destinations.size());
    for (const DestinationSpec& destination : spec.destinations) {
      route.clusters.push_back(weighted_cluster(destination, clusters[*next++]));
      route.total_weight += destination.weight;
    }
    for (const MirrorSpec& mirror : spec.mirrors)
      route.mirrors.push_back(RouteMirror{clusters[*next++], mirror.ppm});
  }
  return host;
}

}  // namespace weft::proxy
