// The part of build_snapshot() that comes first: all resources, by what the later steps look them up by.
// Borrows from the resources, so it lives as long as the building.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/config/host_index.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

struct SnapshotWorld {
  explicit SnapshotWorld(const Resources& all);

  const Resources& resources;
  // Services, then entries: what any namespace may add never comes before what the cluster has.
  std::vector<const ServiceSpec*> services;
  // In that order.
  absl::flat_hash_map<std::string, std::vector<const ServiceSpec*>> services_by_host;
  HostIndex<RouteSetSpec> route_sets;
  // Those with routes for what is no HTTP.
  HostIndex<RouteSetSpec> l4_sets;
  // Of the Gateway API, by the host of the service that they take.
  absl::flat_hash_map<std::string, std::vector<const RouteSetSpec*>> address_sets;
  // Of clients; "default" is of those that nobody knows.
  std::set<std::string> namespaces;
  std::set<uint16_t> http_ports;
  bool confined = false;  // some workload may reach declared destinations only
};

// Of a port whose connections are never read as HTTP.
inline bool is_opaque(Protocol protocol) { return protocol == Protocol::kTcp || protocol == Protocol::kTls; }

// Routes for what is no HTTP.
inline bool has_l4(const RouteSetSpec& set) { return !set.tls.empty() || !set.tcp.empty(); }

}  // namespace weft::proxy
