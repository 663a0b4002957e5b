// weft-bench-route: what it costs the proxy to find the route of a request among few and among many, what a
// route takes of memory, how long a change takes to be used, and what requests feel of it (route_change.h).
// Run by `tools/dev bench route`; no root, no network but loopback.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/strings.h"
#include "tools/bench/paired.h"
#include "tools/bench/route_change.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::bench {
namespace {

namespace mesh = weft::mesh::v1;
using Clock = std::chrono::steady_clock;

constexpr char kHost[] = "shop.default.svc.cluster.local";
constexpr uint32_t kLookups = 200'000;

// One service whose requests go by prefix or exact path, in turn.
mesh::RouteSet make_routes(uint32_t count, uint32_t weight = 1) {
  mesh::RouteSet set;
  set.set_name("shop");
  set.set_namespace_("default");
  set.add_hosts(kHost);
  for (uint32_t i = 0; i < count; ++i) {
    mesh::HttpRoute& route = *set.add_http();
    route.set_name(str_cat("route-", i));
    mesh::StringMatch& uri = *route.add_matches()->mutable_uri();
    if (i % 2 == 0) {
      uri.set_prefix(str_cat("/item-", i, "/"));
    } else {
      uri.set_exact(str_cat("/item-", i));
    }
    mesh::Destination& destination = *route.add_destinations();
    destination.set_host(kHost);
    destination.set_weight(weight);
  }
  return set;
}

proxy::Resources make_resources(uint32_t count) {
  proxy::Resources out;
  proxy::ServiceSpec service;
  service.key = str_cat("default/", kHost);
  service.name = "shop";
  service.ns = "default";
  service.host = kHost;
  service.addresses.push_back(*IpAddress::parse("10.96.0.10"));
  service.ports.push_back({.number = 80, .target = 8080, .protocol = proxy::Protocol::kHttp});
  out.services[service.key] = std::make_shared<const proxy::ServiceSpec>(std::move(service));
  auto set = proxy::validate(make_routes(count));
  if (set.ok()) out.route_sets["default/shop"] = std::make_shared<const proxy::RouteSetSpec>(*std::move(set));
  return out;
}

// The requests of a round: as many routes of `count` are asked for as there are lookups, drawn evenly.
std::vector<std::string> make_paths(uint32_t count) {
  proxy::Random random(7);
  std::vector<std::string> out;
  for (uint32_t i = 0; i < 4096; ++i) {
    const uint32_t route = random.below(count);
    out.push_back(str_cat("/item-", route, route % 2 == 0 ? "/detail" : ""));
  }
  return out;
}

// Nanoseconds of a look-up by host and path; every one finds a route.
double lookup_ns(const proxy::Snapshot& snapshot, const std::vector<std::string>& paths) {
  const SocketAddress dialled = *SocketAddress::parse("10.96.0.10:80");
  proxy::RequestHead head;
  head.method = "GET";
  head.authority = "shop";
  uint32_t missed = 0;
  const Clock::time_point begin = Clock::now();
  for (uint32_t i = 0; i < kLookups; ++i) {
    head.path = paths[i % paths.size()];
    const proxy::VirtualHost* host = snapshot.find_virtual_host(proxy::kNone, head.authority, dialled);
    const proxy::RouteMatch match =
        proxy::match_route(*host, head, proxy::source_view(snapshot, proxy::kNone), dialled.port);
    missed += match.route == nullptr ? 1 : 0;
  }
  const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
  if (missed > 0) std::fprintf(stderr, "weft-bench-route: %u look-ups found no route\n", missed);
  return ns / kLookups;
}

// Milliseconds of changes of the whole RouteSet, each from the bytes that the agent sends to the snapshot
// that workers swap to: what a shift of weights takes here.
std::vector<double> change_ms(uint32_t many, uint32_t changes) {
  proxy::ResourceStore store;
  istio::workload::Address address;
  address.mutable_service()->set_name("shop");
  address.mutable_service()->set_namespace_("default");
  address.mutable_service()->set_hostname(kHost);
  address.mutable_service()->add_addresses()->set_address(IpAddress::parse("10.96.0.10")->packed());
  istio::workload::Port& port = *address.mutable_service()->add_ports();
  port.set_service_port(80);
  port.set_target_port(8080);
  port.set_app_protocol(istio::workload::HTTP11);
  envoy::service::discovery::v3::Resource resource;
  resource.set_name(str_cat("default/", kHost));
  resource.mutable_resource()->PackFrom(address);
  absl::Status status = store.apply(proxy::kAddressType, resource);
  resource.set_name("default/shop");
  std::vector<double> out;
  proxy::SnapshotPtr used;
  for (uint32_t i = 0; i < changes && status.ok(); ++i) {
    resource.mutable_resource()->PackFrom(make_routes(many, 1 + i % 2));
    const Clock::time_point begin = Clock::now();
    status = store.apply(proxy::kRouteSetType, resource);
    const proxy::SnapshotPtr built = proxy::build_snapshot(store.resources(), i + 1);
    out.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    used = built;
  }
  if (!status.ok()) std::fprintf(stderr, "weft-bench-route: %s\n", std::string(status.message()).c_str());
  return out;
}

double percentile_99(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, values.size() * 99 / 100)];
}

std::vector<Figure> measure_tables(uint32_t many, uint32_t rounds) {
  const proxy::SnapshotPtr small = proxy::build_snapshot(make_resources(10), 1);
  const size_t before = mallinfo2().uordblks;
  const proxy::Resources resources = make_resources(many);
  const proxy::SnapshotPtr large = proxy::build_snapshot(resources, 2);
  const double bytes = static_cast<double>(mallinfo2().uordblks - before) / many;
  const std::vector<std::string> few_paths = make_paths(10), many_paths = make_paths(many);
  std::vector<double> few_ns, many_ns, ratios, build_ms;
  for (uint32_t i = 0; i < rounds; ++i) {
    few_ns.push_back(lookup_ns(*small, few_paths));
    many_ns.push_back(lookup_ns(*large, many_paths));
    ratios.push_back(many_ns.back() / few_ns.back());
    const Clock::time_point begin = Clock::now();
    const proxy::SnapshotPtr built = proxy::build_snapshot(resources, 3);
    build_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  const std::vector<double> changes = change_ms(many, 5 * rounds);
  const double change_p99 = percentile_99(changes);
  const std::string name = str_cat(many, " routes");
  return {
      {"look-up among 10 routes", "ns", median_interval(few_ns), 1'000},
      {str_cat("look-up among ", name), "ns", median_interval(many_ns), 1'000},
      {str_cat("look-up among ", name, " against 10"), "ratio", median_interval(ratios), 1.5},
      {"memory of a route, resource and snapshot", "bytes", {bytes, bytes, bytes}, 1'024},
      {str_cat("snapshot of ", name), "ms", median_interval(build_ms), 50},
      {str_cat("change of ", name, ", received to snapshot"), "ms", median_interval(changes), 50},
      {str_cat("change of ", name, ", p99"), "ms", {change_p99, change_p99, change_p99}, 50},
  };
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  CLI::App app("What finding a route costs among few and among many.", "weft-bench-route");
  uint32_t many = 10'000, rounds = 20;
  weft::bench::ChangeOptions change;
  std::string json;
  app.add_option("--routes", many, "The long list")->check(CLI::Range(16, 1'000'000));
  app.add_option("--rounds", rounds, "Pairs of measurements")->check(CLI::Range(3, 1'000));
  app.add_option("--sets", change.sets, "VirtualServices that they are in, where one of them changes")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--changes", change.changes, "Changes that are timed")->check(CLI::Range(1, 100'000));
  app.add_option("--rate", change.rate, "Requests per second while routes change")
      ->check(CLI::Range(100, 100'000));
  app.add_option("--slice", change.slice, "Seconds of requests with, and without changes")
      ->check(CLI::Range(0.1, 60.0));
  app.add_option("--json", json, "Also write the figures there");
  CLI11_PARSE(app, argc, argv);
  change.routes = many;
  change.rounds = rounds;
  std::vector<weft::bench::Figure> figures = weft::bench::measure_tables(many, rounds);
  const std::vector<weft::bench::Figure> of_changes = weft::bench::measure_changes(change);
  figures.insert(figures.end(), of_changes.begin(), of_changes.end());
  return weft::bench::report(figures, json) ? 0 : 1;
}
