// What a snapshot says of identities: the policies of each workload, and who takes tunnels.
#include <gmock/gmock.h>

#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> names(const Snapshot& snapshot, const char* uid) {
  std::vector<std::string> out;
  for (const auto& policy : *snapshot.sources[snapshot.find_source(uid)].authorizations)
    out.push_back(policy == nullptr ? "unknown" : policy->name());
  return out;
}

void authorization(World& world, const std::string& ns, const std::string& name,
                   istio::security::Scope scope) {
  istio::security::Authorization policy;
  policy.set_namespace_(ns);
  policy.set_name(name);
  policy.set_scope(scope);
  EXPECT_EQ(world.store.apply(kAuthorizationType, make_resource(ns + "/" + name, policy)), absl::OkStatus());
}

void workload(World& world, const std::string& ns, const std::string& name,
              const std::vector<std::string>& policies) {
  auto message = workload_address(ns, name, {"10.1.0.1"}, {});
  for (const std::string& policy : policies) message.mutable_workload()->add_authorization_policies(policy);
  world.address(message.workload().uid(), message);
}

TEST(SnapshotIdentityTest, AWorkloadHasThePoliciesOfTheMeshOfItsNamespaceAndThoseThatItNames) {
  World world;
  authorization(world, "istio-system", "everywhere", istio::security::GLOBAL);
  authorization(world, "shop", "all-of-shop", istio::security::NAMESPACE);
  authorization(world, "shop", "one", istio::security::WORKLOAD_SELECTOR);
  workload(world, "shop", "plain", {});
  workload(world, "shop", "other", {});
  workload(world, "shop", "named", {"shop/one", "shop/none"});
  workload(world, "else", "plain", {});
  const SnapshotPtr snapshot = world.build();
  EXPECT_THAT(names(*snapshot, "cluster/shop/plain"), ElementsAre("everywhere", "all-of-shop"));
  EXPECT_THAT(names(*snapshot, "cluster/shop/named"),
              ElementsAre("everywhere", "all-of-shop", "unknown", "one"));
  EXPECT_THAT(names(*snapshot, "cluster/else/plain"), ElementsAre("everywhere"));
  const auto list_of = [](const SnapshotPtr& of, const char* uid) {
    return of->sources[of->find_source(uid)].authorizations;
  };
  EXPECT_EQ(list_of(snapshot, "cluster/shop/plain"), list_of(snapshot, "cluster/shop/other")) << "shared";
  const SnapshotPtr next = world.build();
  EXPECT_EQ(*list_of(snapshot, "cluster/shop/named"), *list_of(next, "cluster/shop/named"))
      << "what did not change compares equal";
}

TEST(SnapshotIdentityTest, AWorkloadKnowsWhetherItsPoliciesAskAboutRequests) {
  World world;
  workload(world, "shop", "cart", {});
  const auto judges = [&world] {
    const SnapshotPtr snapshot = world.build();
    return snapshot->sources[snapshot->find_source("cluster/shop/cart")].judges_requests;
  };
  authorization(world, "shop", "plain", istio::security::NAMESPACE);
  EXPECT_FALSE(judges());
  istio::security::Authorization policy;
  policy.set_namespace_("shop");
  policy.set_name("asks");
  policy.set_scope(istio::security::NAMESPACE);
  weft::mesh::v1::HttpTerms terms;
  terms.add_methods()->set_exact("GET");
  auto& extension = *policy.add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.mutable_config()->PackFrom(terms);
  const auto apply = [&] {
    return world.store.apply(kAuthorizationType, make_resource("shop/asks", policy));
  };
  ASSERT_EQ(apply(), absl::OkStatus());
  EXPECT_TRUE(judges());
  policy.set_dry_run(true);
  ASSERT_EQ(apply(), absl::OkStatus());
  EXPECT_FALSE(judges());
  // What cannot be read is refused, and the last good form stays.
  policy.set_dry_run(false);
  extension.mutable_config()->set_type_url("type.googleapis.com/of.Tomorrow");
  EXPECT_EQ(apply().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(judges());
}

TEST(SnapshotIdentityTest, AWorkloadKnowsWhetherPodsOfItsNodeEncryptToo) {
  World world;
  workload(world, "shop", "cart", {"istio-system/istio_converted_static_strict_same_node"});
  workload(world, "shop", "web", {"istio-system/istio_converted_static_strict"});
  const SnapshotPtr snapshot = world.build();
  const auto encrypts = [&snapshot](const char* uid) {
    return snapshot->sources[snapshot->find_source(uid)].encrypts_same_node;
  };
  EXPECT_TRUE(encrypts("cluster/shop/cart"));
  EXPECT_FALSE(encrypts("cluster/shop/web"));
}

TEST(SnapshotIdentityTest, AWorkloadKnowsWhoseTokensItsRequestsMayCarryAndWhichPortsHaveNone) {
  World world;
  const auto apply = [&world](const char* name, const std::string& text) {
    return world.store.apply(kAuthenticationType,
                             make_resource(name, parse<weft::mesh::v1::RequestAuthentication>(text)));
  };
  const auto cart = service_address("shop", "cart", {"10.96.0.1"},
                                    {{80, 8080}, {5432, 5432, weft::mesh::v1::PROTOCOL_TCP}});
  world.address("shop/cart.shop.svc.cluster.local", cart);
  auto pod = workload_address("shop", "web", {"10.1.0.3"}, {"shop/cart.shop.svc.cluster.local"});
  auto& ports = (*pod.mutable_workload()->mutable_services())["shop/cart.shop.svc.cluster.local"];
  ports.clear_ports();
  for (const uint32_t port : {80u, 5432u}) {
    ports.add_ports()->set_service_port(port);
    ports.mutable_ports(ports.ports_size() - 1)->set_target_port(port == 80 ? 8080 : port);
  }
  world.address(pod.workload().uid(), pod);
  workload(world, "else", "web", {});
  const auto source = [&world](const char* uid) {
    const SnapshotPtr snapshot = world.build();
    return snapshot->sources[snapshot->find_source(uid)];
  };
  EXPECT_EQ(source("cluster/shop/web").authentication, nullptr);
  ASSERT_EQ(apply("shop/one", "name:'one' namespace:'shop' rules{issuer:'i'}"), absl::OkStatus());
  EXPECT_NE(source("cluster/shop/web").authentication, nullptr);
  EXPECT_TRUE(source("cluster/shop/web").judges_requests);
  EXPECT_THAT(source("cluster/shop/web").opaque_ports, ElementsAre(5432));
  EXPECT_EQ(source("cluster/else/web").authentication, nullptr);
  // A rule that cannot be used is refused, and the last good form stays.
  EXPECT_EQ(apply("shop/one", "name:'one' namespace:'shop' rules{issuer:'i' jwks:'{}'}").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_NE(source("cluster/shop/web").authentication, nullptr);
  ASSERT_EQ(apply("shop/one", "name:'one' namespace:'shop' selector{key:'a' value:'b'} rules{issuer:'i'}"),
            absl::OkStatus());
  EXPECT_EQ(source("cluster/shop/web").authentication, nullptr);
  world.store.remove(kAuthenticationType, "shop/one");
  ASSERT_EQ(apply("istio-system/all", "every_namespace:true rules{issuer:'i'}"), absl::OkStatus());
  EXPECT_NE(source("cluster/else/web").authentication, nullptr);
}

TEST(SnapshotIdentityTest, TheAddressOfAHostIsNoWorkloadsThatTakesTunnels) {
  World world;
  for (const bool host : {false, true}) {
    auto message = workload_address("shop", host ? "host" : "pod", {host ? "10.0.0.1" : "10.1.0.1"}, {});
    message.mutable_workload()->set_tunnel_protocol(istio::workload::HBONE);
    if (host) message.mutable_workload()->set_network_mode(istio::workload::HOST_NETWORK);
    world.address(message.workload().uid(), message);
  }
  const SnapshotPtr snapshot = world.build();
  EXPECT_TRUE(snapshot->tunnels.contains(*SocketAddress::parse("10.1.0.1:0")));
  EXPECT_FALSE(snapshot->tunnels.contains(*SocketAddress::parse("10.0.0.1:0")));
}

}  // namespace
}  // namespace weft::proxy
