// Snapshots one after the other are what each would be if it were made of all resources at once, whatever
// changed in which order; and what did not change is not made anew.
#include "userspace-proxy/config/snapshot_series.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "base/strings.h"
#include "tests/unit/proxy-config/world.h"
#include "userspace-proxy/config/snapshot_builder.h"

namespace weft::proxy {
namespace {

std::string described(const VirtualHost& host) {
  std::string out = str_cat(host.name, " of ", host.resource, host.index != nullptr ? " indexed:" : ":");
  for (const Route& route : host.routes) {
    str_append(&out, " ", route.name, "(");
    for (const HttpMatcher& matcher : route.matches) str_append(&out, matcher.uri.text, ",");
    for (const WeightedCluster& to : route.clusters)
      str_append(&out, to.cluster, "*", to.weight, to.invalid ? "!" : "", to.label, ",");
    str_append(&out, route.total_weight, route.action != nullptr ? "a)" : ")");
  }
  return out;
}

// All that routes and services make of a snapshot, whatever the order of its tables.
std::multimap<std::string, std::string> described(const Snapshot& snapshot) {
  std::multimap<std::string, std::string> out;
  for (size_t i = 0; i < snapshot.clusters.size(); ++i) {
    const Cluster& cluster = snapshot.clusters[i];
    std::string text = cluster.name;
    for (const Endpoint& endpoint : cluster.endpoints) str_append(&text, " ", endpoint.address.to_string());
    out.emplace(str_cat("cluster ", i), text);
  }
  for (size_t i = 0; i < snapshot.virtual_hosts.size(); ++i)
    out.emplace(str_cat("routes ", i), described(*snapshot.virtual_hosts[i]));
  for (const auto& [key, host] : snapshot.virtual_host_by_host)
    out.emplace(str_cat(key.ns, " ", key.host, ":", key.port), str_cat(host));
  for (const auto& [key, host] : snapshot.virtual_host_by_address)
    out.emplace(str_cat(key.ns, " ", key.address.to_string()), str_cat(host));
  for (const auto& [key, host] : snapshot.routed_host_by_address)
    out.emplace(str_cat("routed ", key.ns, " ", key.address.to_string()), str_cat(host));
  for (const auto& [key, host] : snapshot.l4_host_by_address)
    out.emplace(str_cat("l4 ", key.ns, " ", key.address.to_string()), str_cat(host));
  for (const auto& [key, host] : snapshot.gateway_host_by_host)
    out.emplace(str_cat("gateway ", key.host, ":", key.port), described(*snapshot.virtual_hosts[host]));
  return out;
}

class Changes {
 public:
  explicit Changes(uint32_t seed) : random_(seed) {}

  void change(SnapshotSeries& series) {
    const size_t what = below(12);
    if (what == 0) return workload(series);
    if (what == 1) return service(series);
    const std::string name = any("one", "two", "three");
    if (what == 2) return series.remove(std::string(kRouteSetType), str_cat("shop/", name));
    const auto set = parse<weft::mesh::v1::RouteSet>(routes(name));
    const auto resource = make_resource(str_cat("shop/", name), set);
    // Some are refused: what they would be the last good one stays.
    series.apply(std::string(kRouteSetType), resource).IgnoreError();
  }

 private:
  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  template <typename... T>
  std::string any(const T&... texts) {
    const std::vector<std::string> all = {texts...};
    return all[below(all.size())];
  }
  std::string mostly(const std::string& usual, const std::string& other) {
    return below(10) == 0 ? other : usual;
  }
  std::string host() { return str_cat(any("web", "db"), ".shop.svc.cluster.local"); }

  void workload(SnapshotSeries& series) {
    const auto message = workload_address("shop", any("w1", "w2"), {str_cat("10.1.0.", 1 + below(3))},
                                          {str_cat("shop/", host())}, {});
    EXPECT_EQ(series.apply(std::string(kAddressType), make_resource(message.workload().uid(), message)),
              absl::OkStatus());
  }

  void service(SnapshotSeries& series) {
    const std::string name = any("web", "db");
    const std::vector<PortSpec> both = {{80, 8080}, {81, 8081}};
    const auto message = service_address("shop", name, {str_cat("10.96.0.", 1 + below(3))},
                                         below(2) == 0 ? both : std::vector<PortSpec>{{80, 8080}}, "");
    EXPECT_EQ(series.apply(std::string(kAddressType),
                           make_resource(str_cat("shop/", name, ".shop.svc.cluster.local"), message)),
              absl::OkStatus());
  }

  std::string routes(const std::string& name) {
    std::string out =
        str_cat("namespace:'shop' name:'", name, "' hosts:'", mostly(str_cat(name, ".example.net"), host()),
                "' ", mostly("", "export_to:'shop' "), mostly("", "created_unix:5 "),
                mostly("", str_cat("hosts:'", host(), "' ")), mostly("", "gateway{port:8000 kind:HTTP} "),
                mostly("", str_cat("tcp{destinations{host:'", host(), "' weight:1}} ")),
                mostly("", "by_address:true "));
    for (size_t left = mostly("x", "").size() * (1 + below(20)); left > 0; --left)
      str_append(&out, "http{", mostly(str_cat("matches{uri{prefix:'/", left, "'}} "), ""),
                 "destinations{host:'", mostly("web.shop.svc.cluster.local", host()), "' ",
                 mostly("", "port:81 "), mostly("", "subset:'s' "), "weight:", 1 + below(3), "} ",
                 mostly("", "timeout_ms:5 "), "} ");
    return out;
  }

  std::minstd_rand random_;
};

TEST(SnapshotSeriesTest, AnySequenceOfChangesGivesWhatItsResourcesGiveAtOnce) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Changes changes(seed);
    SnapshotSeries series;
    std::map<SnapshotPtr, std::multimap<std::string, std::string>> kept;
    for (uint64_t step = 1; step <= 100; ++step) {
      for (size_t left = 1 + step % 3; left > 0; --left) changes.change(series);
      const SnapshotPtr snapshot = series.next();
      SCOPED_TRACE(str_cat("seed ", seed, ", step ", step));
      EXPECT_EQ(snapshot->generation, step);
      ASSERT_EQ(described(*snapshot), described(*build_snapshot(series.store().resources(), step)));
      if (step % 20 == 0) kept[snapshot] = described(*snapshot);
    }
    for (const auto& [snapshot, text] : kept)
      EXPECT_EQ(described(*snapshot), text) << "a snapshot does not change when others are made of it";
  }
}

TEST(SnapshotSeriesTest, OtherRoutesAreAllThatIsMade) {
  SnapshotSeries series;
  const auto route = [&series](const std::string& name, int weight) {
    const auto set = parse<weft::mesh::v1::RouteSet>(
        str_cat("namespace:'shop' name:'", name, "' hosts:'", name,
                ".example.net' http{destinations{host:'web.shop.svc.cluster.local' weight:", weight, "}}"));
    ASSERT_EQ(series.apply(std::string(kRouteSetType), make_resource(str_cat("shop/", name), set)),
              absl::OkStatus());
  };
  const auto service = service_address("shop", "web", {"10.96.0.1"}, {{80, 8080}}, "");
  ASSERT_EQ(
      series.apply(std::string(kAddressType), make_resource("shop/web.shop.svc.cluster.local", service)),
      absl::OkStatus());
  route("a", 1);
  route("b", 1);
  const SnapshotPtr first = series.next();
  route("a", 2);
  const SnapshotPtr second = series.next();
  const auto of = [](const SnapshotPtr& snapshot, const std::string& host) {
    return snapshot->find_virtual_host(kNone, host, *SocketAddress::parse("10.96.0.9:80"));
  };
  EXPECT_EQ(of(first, "a.example.net")->routes.front().clusters.front().weight, 1U);
  EXPECT_EQ(of(second, "a.example.net")->routes.front().clusters.front().weight, 2U);
  EXPECT_EQ(of(second, "b.example.net"), of(first, "b.example.net"));
  EXPECT_EQ(&*second->clusters, &*first->clusters) << "the tables of services are shared";
  EXPECT_EQ(&*second->virtual_host_by_host, &*first->virtual_host_by_host);
}

}  // namespace
}  // namespace weft::proxy
