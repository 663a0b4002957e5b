// Sources that may reach declared destinations only: what is declared to whom, by address and by name.
#include "proto/weft/mesh/v1/egress.pb.h"
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

// Services and entries of namespace shop; a client of shop that is confined, and one of other that is not.
class SnapshotEgressTest : public testing::Test {
 protected:
  SnapshotEgressTest() {
    weft::mesh::v1::EgressPolicy policy;
    policy.set_registry_only(true);
    workload(workload_address("shop", "client", {"10.1.0.1"}), policy);
    world_.workload("other", "client", {"10.1.0.2"});
  }
  void workload(istio::workload::Address address, const weft::mesh::v1::EgressPolicy& policy) {
    istio::workload::Extension* extension = address.mutable_workload()->add_extensions();
    extension->set_name("weft.mesh.v1.EgressPolicy");
    extension->mutable_config()->PackFrom(policy);
    world_.address(address.workload().uid(), address);
  }
  // Of entries: it is declared by them alone.
  void endpoint(const std::string& ip, const std::vector<std::string>& services) {
    weft::mesh::v1::EgressPolicy policy;
    policy.set_declared_by_services(true);
    workload(workload_address("shop", ip, {ip}, services), policy);
  }
  // An entry whose ports are of `protocol`.
  void entry(const std::string& host, const std::vector<std::string>& ips, bool passthrough,
             weft::mesh::v1::Protocol protocol = weft::mesh::v1::PROTOCOL_TLS,
             const std::string& export_to = "") {
    auto address = service_address("shop", host, ips, {{443, 443, protocol}}, host);
    weft::mesh::v1::ServicePorts ports;
    istio::workload::Extension* extension = address.mutable_service()->mutable_extensions(0);
    ASSERT_TRUE(extension->config().UnpackTo(&ports));
    ports.set_passthrough(passthrough);
    if (!export_to.empty()) ports.add_export_to(export_to);
    extension->mutable_config()->PackFrom(ports);
    world_.address("shop/" + host, address);
  }
  bool undeclared(const std::string& address, const std::string& ns = "shop") {
    const SnapshotPtr snapshot = world_.build();
    return snapshot->is_undeclared(snapshot->find_source("cluster/" + ns + "/client"),
                                   *SocketAddress::parse(address));
  }
  // Of the cluster that a server name leads to; "": none.
  std::string named(std::string_view name, uint16_t port = 443) {
    const SnapshotPtr snapshot = world_.build();
    const uint32_t cluster =
        snapshot->find_named_cluster(snapshot->find_source("cluster/shop/client"), name, port);
    return cluster == kNone ? "" : snapshot->clusters[cluster].name;
  }

  World world_;
};

TEST_F(SnapshotEgressTest, ServicesWorkloadsAndEntriesAreDeclared) {
  world_.service("shop", "web", {"10.96.0.1"}, {{80, 8080}});
  world_.workload("shop", "web-1", {"10.1.0.9"}, {"shop/web"});
  entry("api.example.com", {}, false);
  endpoint("192.0.2.1", {"shop/api.example.com"});
  EXPECT_FALSE(undeclared("10.96.0.1:80"));
  EXPECT_TRUE(undeclared("10.96.0.1:81")) << "a port that the Service has not";
  EXPECT_FALSE(undeclared("10.1.0.9:9999")) << "a pod is known as such";
  EXPECT_FALSE(undeclared("192.0.2.1:443"));
  EXPECT_TRUE(undeclared("192.0.2.1:22")) << "a port that the entry has not";
  EXPECT_TRUE(undeclared("198.51.100.1:443"));
  EXPECT_FALSE(undeclared("198.51.100.1:443", "other")) << "that pod is not confined";
}

TEST_F(SnapshotEgressTest, ANodeIsNotDeclaredByThePodsThatShareIt) {
  auto host = workload_address("shop", "agent", {"192.0.2.50"});
  host.mutable_workload()->set_network_mode(istio::workload::HOST_NETWORK);
  world_.address(host.workload().uid(), host);
  EXPECT_TRUE(undeclared("192.0.2.50:22"));
}

TEST_F(SnapshotEgressTest, RangesAreDeclaredForTheirPortsAndNamespaces) {
  auto address = service_address("shop", "net", {}, {{443, 443}}, "net.example.com");
  auto* range = address.mutable_service()->add_addresses();
  range->set_address(IpAddress::parse("198.51.100.0")->packed());
  range->set_length(24);
  world_.address("shop/net.example.com", address);
  EXPECT_FALSE(undeclared("198.51.100.77:443"));
  EXPECT_TRUE(undeclared("198.51.100.77:80"));
  EXPECT_TRUE(undeclared("198.51.101.77:443"));
}

TEST_F(SnapshotEgressTest, AnEntryThatIsNotExportedDeclaresNothing) {
  entry("api.example.com", {"240.0.0.1"}, false, weft::mesh::v1::PROTOCOL_TLS, "other");
  EXPECT_TRUE(undeclared("240.0.0.1:443"));
  entry("by.example.com", {}, false, weft::mesh::v1::PROTOCOL_TLS, "other");
  endpoint("192.0.2.1", {"shop/by.example.com"});
  EXPECT_TRUE(undeclared("192.0.2.1:443"));
}

TEST_F(SnapshotEgressTest, EntriesWithoutAnAddressAreFoundByServerName) {
  entry("*.example.com", {}, true);
  entry("api.example.org", {}, false);
  entry("fixed.example.net", {"240.0.0.1"}, true);
  entry("web.example.net", {}, true, weft::mesh::v1::PROTOCOL_HTTP);
  EXPECT_EQ(named("A.b.example.com"), ".example.com|443|||shop");
  EXPECT_EQ(named("api.example.org"), "api.example.org|443|||shop");
  EXPECT_EQ(named("example.com"), "") << "a wildcard stands for one label at least";
  EXPECT_EQ(named("a.example.com", 8443), "");
  EXPECT_EQ(named("fixed.example.net"), "") << "it says where it is";
  EXPECT_EQ(named("web.example.net"), "") << "HTTP is found by Host";
  const SnapshotPtr snapshot = world_.build();
  EXPECT_TRUE(snapshot->clusters[snapshot->find_cluster(".example.com|443|||shop")].anywhere);
  EXPECT_FALSE(snapshot->clusters[snapshot->find_cluster("fixed.example.net|443|||shop")].anywhere);
}

}  // namespace
}  // namespace weft::proxy
