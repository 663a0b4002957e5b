// One small snapshot and records that refer to it, for the tests of telemetry.
#pragma once

#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/telemetry/exchange_record.h"

namespace weft::proxy {

inline Snapshot telemetry_snapshot(uint64_t generation = 1) {
  Snapshot s;
  s.generation = generation;
  s.sources.push_back(Source{.uid = "uid", .name = "web", .ns = "shop"});
  Cluster cluster;
  cluster.name = "cart.shop.svc.cluster.local|80|";
  cluster.service = "cart";
  cluster.ns = "shop";
  cluster.endpoints.push_back(
      Endpoint{.address = *SocketAddress::parse("10.1.0.3:8080"), .workload = "cart-v1", .ns = "shop"});
  s.clusters.push_back(cluster);
  return s;
}

inline ExchangeRecord telemetry_record() {
  ExchangeRecord r;
  r.status = 200;
  r.duration = 1'234'000;
  r.received_bytes = 10;
  r.sent_bytes = 20;
  r.client = *SocketAddress::parse("10.1.0.1:5555");
  r.dialled = *SocketAddress::parse("10.96.0.1:80");
  r.upstream = *SocketAddress::parse("10.1.0.3:8080");
  r.snapshot_generation = 1;
  r.source = 0;
  r.cluster = 0;
  r.endpoint = 0;
  r.method = "GET";
  r.authority = "cart";
  r.path = "/items";
  r.route = "default";
  return r;
}

}  // namespace weft::proxy
