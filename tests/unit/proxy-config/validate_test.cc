// What a resource may not be: each refusal names the field, and a refused version leaves the last good one in
// force.
#include <gmock/gmock.h>

#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;
using testing::HasSubstr;

constexpr char kTo[] = "destinations{host:'b' weight:1}";

std::string route_error(const std::string& text) {
  return std::string(validate(parse<mesh::RouteSet>("name:'a' namespace:'n' " + text)).status().message());
}
std::string policy_error(const std::string& text) {
  return std::string(
      validate(parse<mesh::DestinationPolicy>("name:'a' namespace:'n' " + text)).status().message());
}

TEST(ValidateTest, RefusedRouteSetsNameTheField) {
  EXPECT_THAT(route_error(""), HasSubstr("hosts: empty"));
  EXPECT_THAT(route_error("hosts:'*'"), HasSubstr("host \"*\""));
  EXPECT_THAT(route_error("hosts:'a.*.b'"), HasSubstr("expected a host name"));
  EXPECT_THAT(route_error("hosts:'h' http{}"), HasSubstr("http[0]: destinations: the weights add up to 0"));
  EXPECT_THAT(route_error("hosts:'h' http{destinations{host:'' weight:1}}"), HasSubstr("http[0]: host"));
  EXPECT_THAT(
      route_error("hosts:'h' http{destinations{host:'b' weight:4294967295} destinations{host:'b' weight:1}}"),
      HasSubstr("add up to 4294967296"));
  EXPECT_THAT(
      route_error(str_cat("hosts:'h' http{", kTo, "} http{matches{} matches{uri{regex:'('}} ", kTo, "}")),
      HasSubstr("http[1]: matches[1]: uri: regex \"(\""));
  EXPECT_THAT(route_error(str_cat("hosts:'h' http{matches{headers{name:'x' value{regex:'['}}} ", kTo, "}")),
              HasSubstr("headers[x]: regex"));
  EXPECT_THAT(route_error(str_cat("hosts:'h' http{matches{port:70000} ", kTo, "}")),
              HasSubstr("port: 70000"));
  EXPECT_THAT(
      route_error(str_cat("hosts:'h' http{matches{uri{regex:'", std::string(1025, 'a'), "'}} ", kTo, "}")),
      HasSubstr("1025 characters, at most 1024"));
}

TEST(ValidateTest, RegexThatExplodesIsRefused) {
  EXPECT_THAT(route_error(str_cat("hosts:'h' http{matches{uri{regex:'((a{100}){100}){100}'}} ", kTo, "}")),
              HasSubstr("regex"));
}

TEST(ValidateTest, RefusedPoliciesNameTheField) {
  EXPECT_THAT(policy_error(""), HasSubstr("host"));
  EXPECT_THAT(policy_error("host:'h' subsets{}"), HasSubstr("subsets: a name is empty"));
  EXPECT_THAT(policy_error("host:'h' subsets{name:'v1'} subsets{name:'v1'}"),
              HasSubstr("\"v1\" is there twice"));
  EXPECT_THAT(policy_error("host:'h' traffic_policy{connection_pool{connect_timeout_ms:4000000000}}"),
              HasSubstr("connect_timeout_ms"));
}

TEST(ValidateTest, RefusedAddressesNameTheField) {
  auto service = service_address("n", "s", {"10.0.0.1"}, {{80, 80}});
  service.mutable_service()->mutable_ports(0)->set_service_port(70000);
  EXPECT_THAT(std::string(validate(service.service()).status().message()), HasSubstr("70000"));
  auto twice = service_address("n", "s", {}, {{80, 80}, {80, 81}});
  EXPECT_THAT(std::string(validate(twice.service()).status().message()), HasSubstr("80 is there twice"));
  auto bytes = workload_address("n", "w", {});
  bytes.mutable_workload()->add_addresses("abc");
  EXPECT_THAT(std::string(validate(bytes.workload()).status().message()),
              HasSubstr("3 bytes, expected 4 or 16"));
  auto key = workload_address("n", "w", {}, {"noslash"});
  EXPECT_THAT(std::string(validate(key.workload()).status().message()), HasSubstr("<namespace>/<hostname>"));
}

TEST(ResourceStoreTest, BadVersionLeavesTheLastGoodOneInForce) {
  ResourceStore store;
  auto set = parse<mesh::RouteSet>(str_cat("name:'a' namespace:'n' hosts:'h' http{", kTo, "}"));
  ASSERT_TRUE(store.apply(kRouteSetType, make_resource("n/a", set, "1")).ok());
  set.clear_hosts();
  EXPECT_FALSE(store.apply(kRouteSetType, make_resource("n/a", set, "2")).ok());
  EXPECT_EQ(store.resources().route_sets.at("n/a")->hosts.front(), "h");
  EXPECT_EQ(store.versions(kRouteSetType).at("n/a"), "1");
  EXPECT_THAT(store.rejected().at("weft.mesh.v1.RouteSet n/a"), HasSubstr("hosts"));
}

TEST(ResourceStoreTest, GoodVersionClearsTheRefusal) {
  ResourceStore store;
  auto policy = parse<mesh::DestinationPolicy>("name:'a' namespace:'n'");
  EXPECT_FALSE(store.apply(kDestinationPolicyType, make_resource("n/a", policy)).ok());
  policy.set_host("h");
  EXPECT_TRUE(store.apply(kDestinationPolicyType, make_resource("n/a", policy)).ok());
  EXPECT_TRUE(store.rejected().empty());
}

TEST(ResourceStoreTest, WrongTypeInsideIsRefused) {
  ResourceStore store;
  EXPECT_FALSE(store.apply(kRouteSetType, make_resource("n/a", mesh::DestinationPolicy())).ok());
  EXPECT_FALSE(store.apply(kAddressType, make_resource("n/a", istio::workload::Address())).ok());
  EXPECT_FALSE(store.apply("type.googleapis.com/other", make_resource("n/a", mesh::RouteSet())).ok());
}

TEST(ResourceStoreTest, RemovedResourceIsForgotten) {
  ResourceStore store;
  ASSERT_TRUE(
      store.apply(kAddressType, make_resource("n/s", service_address("n", "s", {}, {{80, 80}}))).ok());
  store.remove(kAddressType, "n/s");
  EXPECT_TRUE(store.resources().services.empty());
  EXPECT_TRUE(store.versions(kAddressType).empty());
}

}  // namespace
}  // namespace weft::proxy
