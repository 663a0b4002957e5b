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

// What a client of that namespace dials there.
const ServicePort* port_at(const Snapshot& snapshot, const std::string& ns, const std::string& address) {
  return snapshot.find_service_port(snapshot.find_source("cluster/" + ns + "/client"),
                                    *SocketAddress::parse(address));
}

// One more entry, of another namespace, with an endpoint of its own.
void add_entry(World* world, const std::string& ns, const std::string& host, const std::string& endpoint,
               const std::vector<std::string>& ips = {}, const std::string& extension = "") {
  auto address = service_address(ns, "mine", ips, {{80, 80}}, host);
  change(address.mutable_service(), extension);
  world->address(ns + "/" + host, address);
  world->workload(ns, endpoint, {endpoint}, {ns + "/" + host});
}

TEST(SnapshotEntryTest, ResolutionNoneIsAClusterThatPassesThrough) {
  World world = with_entry("passthrough:true", {"240.0.0.1"});
  const SnapshotPtr snapshot = world.build();
  const Asked asked = ask(*snapshot, "shop", "api.example.com", "240.0.0.1:80");
  ASSERT_EQ(asked.clusters(), "api.example.com|80|||shop");
  EXPECT_EQ(snapshot->clusters[asked.route->clusters[0].cluster].load_balancer, LoadBalancer::kPassthrough);
}

TEST(SnapshotEntryTest, WithoutAnAddressItIsDialledByItsEndpoints) {
  World world = with_entry("", {});
  world.workload("shop", "192.0.2.1", {"192.0.2.1"}, {"shop/api.example.com"});
  const SnapshotPtr snapshot = world.build();
  EXPECT_NE(port_at(*snapshot, "shop", "192.0.2.1:80"), nullptr);
  EXPECT_EQ(port_at(*snapshot, "shop", "192.0.2.1:81"), nullptr);
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "192.0.2.1:80").endpoints(), "192.0.2.1:80");
}

TEST(SnapshotEntryTest, AWildcardAnswersForAllBelowIt) {
  World world = with_entry("passthrough:true", {"240.0.0.1"}, "*.example.com");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "a.b.example.com", "192.0.2.9:80").clusters(), ".example.com|80|||shop");
  EXPECT_EQ(ask(*snapshot, "shop", "example.com", "192.0.2.9:80").clusters(), "no host");
}

TEST(SnapshotEntryTest, OnlyNamespacesThatItIsExportedToSeeIt) {
  World world = with_entry("export_to:'shop'", {"240.0.0.1"});
  world.routes(
      "name:'r' namespace:'other' hosts:'mine.example.com' http{destinations{host:'api.example.com' "
      "weight:1}}");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "240.0.0.1:80").clusters(),
            "api.example.com|80|||shop");
  EXPECT_EQ(ask(*snapshot, "other", "api.example.com", "240.0.0.1:80").clusters(), "no host");
  EXPECT_EQ(ask(*snapshot, "other", "mine.example.com", "240.0.0.1:80").clusters(), "-");
}

// "aaa" comes before everybody in the order of names.
TEST(SnapshotEntryTest, AServiceKeepsItsHostAndItsAddress) {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  world.service("prod", "payments", {"10.96.0.5"}, {{80, 8080}});
  world.workload("prod", "one", {"10.2.0.1"}, {"prod/payments"});
  add_entry(&world, "aaa", "payments.prod.svc.cluster.local", "192.0.2.6", {"10.96.0.5"});
  const SnapshotPtr snapshot = world.build();
  for (const char* host : {"payments.prod.svc.cluster.local", "payments.prod", "nobody.example"})
    EXPECT_EQ(ask(*snapshot, "shop", host, "10.96.0.5:80").endpoints(), "10.2.0.1:8080") << host;
  const ServicePort* port = port_at(*snapshot, "shop", "10.96.0.5:80");
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->service, "payments");
  EXPECT_EQ(snapshot->clusters[port->tcp_cluster].endpoints.at(0).address.to_string(), "10.2.0.1:8080");
}

TEST(SnapshotEntryTest, AHiddenEntryHidesNothing) {
  World world;
  for (const char* ns : {"shop", "aaa"}) world.workload(ns, "client", {"10.1.0.1"});
  world.service("prod", "payments", {"10.96.0.5"}, {{80, 8080}});
  world.workload("prod", "one", {"10.2.0.1"}, {"prod/payments"});
  add_entry(&world, "aaa", "payments.prod.svc.cluster.local", "192.0.2.6", {}, "export_to:'aaa'");
  world.routes(
      "name:'r' namespace:'shop' hosts:'mine.example.com' http{destinations{host:'payments.prod.svc.cluster."
      "local' weight:1}}");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "mine.example.com", "10.96.0.5:80").endpoints(), "10.2.0.1:8080");
}

TEST(SnapshotEntryTest, ItsOwnEntryIsWhatANamespaceMeansByAHost) {
  World world = with_entry("", {"240.0.0.1"});
  world.workload("shop", "192.0.2.1", {"192.0.2.1"}, {"shop/api.example.com"});
  world.workload("aaa", "client", {"10.1.0.1"});
  add_entry(&world, "aaa", "api.example.com", "192.0.2.6", {"240.0.0.1"});
  add_entry(&world, "bbb", "api.example.com", "192.0.2.7", {"240.0.0.1"}, "export_to:'bbb'");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "240.0.0.1:80").endpoints(), "192.0.2.1:80");
  EXPECT_EQ(ask(*snapshot, "aaa", "api.example.com", "240.0.0.1:80").endpoints(), "192.0.2.6:80");
  EXPECT_EQ(ask(*snapshot, "other", "api.example.com", "240.0.0.1:80").endpoints(), "192.0.2.6:80")
      << "the first of others'";
  EXPECT_EQ(port_at(*snapshot, "shop", "240.0.0.1:80")->ns, "shop");
  EXPECT_EQ(port_at(*snapshot, "aaa", "240.0.0.1:80")->ns, "aaa");
}

TEST(SnapshotEntryTest, WhoDoesNotSeeItPassesItsAddressThrough) {
  World world = with_entry("export_to:'shop'", {"240.0.0.1"});
  const SnapshotPtr snapshot = world.build();
  EXPECT_NE(port_at(*snapshot, "shop", "240.0.0.1:80"), nullptr);
  EXPECT_EQ(port_at(*snapshot, "other", "240.0.0.1:80"), nullptr);
}

// Several names may have one address, and not all of them are known here.
TEST(SnapshotEntryTest, AnotherHostAtTheAddressOfAnEndpointGoesThere) {
  World world = with_entry("", {});
  world.workload("shop", "192.0.2.1", {"192.0.2.1"}, {"shop/api.example.com"});
  world.routes(
      "name:'r' namespace:'shop' hosts:'api.example.com' http{direct_response{status:404} name:'only'}");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "www.example.com", "192.0.2.1:80").endpoints(), "192.0.2.1:80");
  EXPECT_EQ(ask(*snapshot, "shop", "api.example.com", "192.0.2.1:80").route->name, "only");
}

// The routes of connections to an entry that is dialled by its endpoints are found there.
TEST(SnapshotEntryTest, ConnectionsToAnEndpointAreRouted) {
  World world;
  for (const char* ns : {"shop", "other"}) world.workload(ns, "client", {"10.1.0.1"});
  world.address(
      "shop/db.example.com",
      service_address("shop", "db", {}, {{5432, 5432, weft::mesh::v1::PROTOCOL_TCP}}, "db.example.com"));
  world.workload("shop", "192.0.2.5", {"192.0.2.5"}, {"shop/db.example.com"});
  world.routes(
      "name:'r' namespace:'shop' hosts:'db.example.com' tcp{destinations{host:'db.example.com' weight:1}}");
  const SnapshotPtr snapshot = world.build();
  const uint32_t source = snapshot->find_source("cluster/shop/client");
  const L4Host* host = snapshot->find_l4_host(source, *SocketAddress::parse("192.0.2.5:5432"));
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->tcp.size(), 1u);
}

}  // namespace
}  // namespace weft::proxy
