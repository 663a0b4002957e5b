// Services that are no Kubernetes Services (ServiceEntry): passed through, dialled by their endpoints,
// wildcards, and who sees them.
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

void change(istio::workload::Service* service, const std::string& extension) {
  weft::mesh::v1::ServicePorts ports;
  EXPECT_TRUE(service->extensions(0).config().UnpackTo(&ports));
  ports.MergeFrom(parse<weft::mesh::v1::ServicePorts>(extension));
  service->mutable_extensions(0)->mutable_config()->PackFrom(ports);
}

// "api.example.com" of namespace shop on port 80; clients in shop and other.
World with_entry(const std::string& extension, const std::vector<std::string>& ips,
                 const std::string& host = "api.example.com") {
  World world;
  for (const char* ns : {"shop", "other"}) world.workload(ns, "client", {"10.1.0.1"});
  auto address = service_address("shop", "api", ips, {{80, 80}}, host);
  change(address.mutable_service(), extension);
  world.address("shop/" + host, address);
  return world;
}

TEST(SnapshotEntryTest, ResolutionNoneIsAClusterThatPassesThrough) {
  World world = with_entry("passthrough:true", {"240.0.0.1"});
  const SnapshotPtr snapshot = world.build();
  const Asked asked = ask(*snapshot, "shop", "api.example.com", "240.0.0.1:80");
  ASSERT_EQ(asked.clusters(), "api.example.com|80|");
  EXPECT_EQ(snapshot->clusters[asked.route->clusters[0].cluster].load_balancer, LoadBalancer::kPassthrough);
}

TEST(SnapshotEntryTest, WithoutAnAddressItIsDialledByItsEndpoints) {
  World world = with_entry("", {});
  world.workload("shop", "192.0.2.1", {"192.0.2.1"}, {"shop/api.example.com"});
  const SnapshotPtr snapshot = world.build();
  EXPECT_NE(snapshot->find_service_port(*SocketAddress::parse("192.0.2.1:80")), nullptr);
  EXPECT_EQ(snapshot->find_service_port(*SocketAddress::parse("192.0.2.1:81")), nullptr);
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "192.0.2.1:80").endpoints(), "192.0.2.1:80");
}

TEST(SnapshotEntryTest, AWildcardAnswersForAllBelowIt) {
  World world = with_entry("passthrough:true", {"240.0.0.1"}, "*.example.com");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "a.b.example.com", "192.0.2.9:80").clusters(), ".example.com|80|");
  EXPECT_EQ(ask(*snapshot, "shop", "example.com", "192.0.2.9:80").clusters(), "no host");
}

TEST(SnapshotEntryTest, OnlyNamespacesThatItIsExportedToSeeIt) {
  World world = with_entry("export_to:'shop'", {"240.0.0.1"});
  world.routes(
      "name:'r' namespace:'other' hosts:'mine.example.com' http{destinations{host:'api.example.com' "
      "weight:1}}");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "240.0.0.1:80").clusters(), "api.example.com|80|");
  EXPECT_EQ(ask(*snapshot, "other", "api.example.com", "240.0.0.1:80").clusters(), "no host");
  EXPECT_EQ(ask(*snapshot, "other", "mine.example.com", "240.0.0.1:80").clusters(), "-");
}

}  // namespace
}  // namespace weft::proxy
