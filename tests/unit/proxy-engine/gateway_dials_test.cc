// Whom the proxy is where it dials for gateways, through a real worker: two Gateways of one port share no
// pooled connection, and TLS of a DestinationRule (ISTIO_MUTUAL) shows the certificate of the one whose route
// it is, also where it copies requests and asks providers.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "tests/unit/proxy-engine/gateway_tls_rig.h"
#include "tests/unit/proxy-engine/policy_messages.h"
#include "userspace-proxy/config/gateway_rules.h"
#include "userspace-proxy/policy/external_provider.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr char kEdgeId[] = "spiffe://cluster.local/ns/shop/sa/edge-weft";
constexpr char kOtherId[] = "spiffe://cluster.local/ns/shop/sa/other-weft";
constexpr char kServerId[] = "spiffe://cluster.local/ns/shop/sa/server";

// Speaks TLS of the mesh, answers requests, and notes whose connections come.
class MeshServer {
 public:
  explicit MeshServer(const test::Authority& mesh)
      : mesh_(mesh), server_([this](TestConnection& connection) { serve(connection); }) {}
  const SocketAddress& address() const { return server_.address(); }
  std::vector<std::string> clients() {
    const std::lock_guard lock(mutex_);
    return clients_;
  }

 private:
  void serve(TestConnection& connection) {
    test::OpensslPeer peer(
        UniqueFd(::fcntl(connection.fd(), F_DUPFD_CLOEXEC, 0)),
        {.server = true, .leaf = &leaf_, .trusts = {mesh_.certificate.get()}, .alpn = "\x08http/1.1"},
        [this](SSL* ssl) {
          {
            const std::lock_guard lock(mutex_);
            clients_.push_back(shown_name(ssl));
          }
          for (std::string head, byte; !(byte = test::OpensslPeer::read(ssl, 1)).empty();) {
            head += byte;
            if (!head.ends_with("\r\n\r\n")) continue;
            head.clear();
            if (!test::OpensslPeer::write(ssl, ok_response("inside"))) return;
          }
        });
    peer.join();
  }

  const test::Authority& mesh_;
  const test::Leaf leaf_ = test::make_leaf(mesh_, {.names = {{GEN_URI, kServerId}}});
  std::mutex mutex_;
  std::vector<std::string> clients_;
  TestServer server_;  // last: its threads end first
};

class GatewayDialsTest : public testing::Test {
 protected:
  GatewayDialsTest() {
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  static std::shared_ptr<const ClusterPolicy> with_mesh_tls() {
    auto terms = std::make_shared<ClientTerms>();
    terms->mode = ClientTlsMode::kMesh;
    terms->sni = "v1";
    terms->names = {kServerId};
    auto settings = std::make_shared<ConnectionSettings>();
    settings->tls.terms = std::move(terms);
    auto out = std::make_shared<ClusterPolicy>();
    out->connections = std::move(settings);
    return out;
  }
  void certify(const std::vector<DialIdentityPtr>& gateways) {
    auto set = std::make_shared<CredentialSet>();
    for (const DialIdentityPtr& each : gateways) {
      const test::Leaf leaf = test::make_leaf(mesh_, {.names = {{GEN_URI, each->id.to_string()}}});
      const std::string chain[] = {to_pem(leaf.certificate.get()), to_pem(mesh_.certificate.get())};
      auto made = make_credentials(each->id, share(leaf.key.get()), chain, {});
      ASSERT_TRUE(made.ok()) << made.status();
      set->by_workload.emplace(each->credentials, *made);
      set->by_id.emplace(each->id, *made);
    }
    rig_.worker().set_credentials(std::move(set));
  }
  // a.example and b.example are routes of edge and of other, to the first cluster. `mirror`: a copy of each
  // request goes there.
  std::shared_ptr<Snapshot> routes(const std::vector<TestCluster>& clusters, bool mirror = false) {
    auto out = std::make_shared<Snapshot>(*rig_.make_snapshot(clusters, ++generation_));
    out->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kHttp};
    for (const auto& [host, identity] : {std::pair("a.example", edge_), std::pair("b.example", other_)}) {
      Route route{.name = host};
      route.clusters.push_back(WeightedCluster{.cluster = 0, .label = "first"});
      route.total_weight = 1;
      route.dials_as = identity.get();
      if (mirror) {
        route.action = std::make_shared<const RouteAction>();
        route.mirrors.push_back({.cluster = 1, .ppm = 1'000'000});
      }
      VirtualHost made{.name = host};
      made.routes.push_back(std::move(route));
      out->gateway_host_by_host[Snapshot::HostKey{"", address_.port, host}] =
          static_cast<uint32_t>(out->virtual_hosts.size());
      out->virtual_hosts.push_back(std::make_shared<const VirtualHost>(std::move(made)));
    }
    return out;
  }
  void serve(SnapshotPtr snapshot) {
    rig_.use(std::move(snapshot));
    if (!listener_.valid()) return;
    rig_.worker().add_listener({.netns_cookie = 99,
                                .workload_uid = std::string(kGatewayUid),
                                .netns = {},
                                .listener = std::move(listener_)});
  }
  std::string get(const std::string& host) {
    TestConnection client = TestConnection::to(address_);
    client.send(str_cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"));
    return client.read_message();
  }

  const test::Authority mesh_ = test::make_authority("mesh");
  const DialIdentityPtr edge_ = std::make_shared<const DialIdentity>(*SpiffeId::parse(kEdgeId));
  const DialIdentityPtr other_ = std::make_shared<const DialIdentity>(*SpiffeId::parse(kOtherId));
  TestServer plain_{always("inside")};
  Rig rig_{setup_for(plain_.address())};
  SocketAddress address_;
  UniqueFd listener_;
  uint64_t generation_ = 1;
};

TEST_F(GatewayDialsTest, GatewaysOfOnePortShareNoPooledConnection) {
  serve(routes(one_endpoint(plain_.address())));
  for (const char* host : {"a.example", "a.example"}) EXPECT_EQ(get(host), ok_response("inside"));
  EXPECT_EQ(plain_.connections(), 1);
  EXPECT_EQ(get("b.example"), ok_response("inside"));
  EXPECT_EQ(plain_.connections(), 2);
  serve(routes(one_endpoint(plain_.address())));
  for (const char* host : {"a.example", "b.example"}) EXPECT_EQ(get(host), ok_response("inside"));
  EXPECT_EQ(plain_.connections(), 2) << "another snapshot with the same identities ends none";
}

TEST_F(GatewayDialsTest, TlsOfARuleShowsTheCertificateOfTheRoutesGateway) {
  MeshServer server(mesh_);
  certify({edge_, other_});
  serve(routes({{.name = "v1", .endpoints = {server.address()}, .policy = with_mesh_tls()}}));
  for (const char* host : {"a.example", "b.example", "a.example", "b.example"})
    EXPECT_EQ(get(host), ok_response("inside"));
  EXPECT_THAT(server.clients(), ElementsAre(kEdgeId, kOtherId));
}

TEST_F(GatewayDialsTest, AGatewayWithoutACertificateShowsNoOther) {
  MeshServer server(mesh_);
  certify({other_});
  serve(routes({{.name = "v1", .endpoints = {server.address()}, .policy = with_mesh_tls()}}));
  EXPECT_THAT(get("a.example"), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kTlsFailed);
  EXPECT_EQ(get("b.example"), ok_response("inside"));
  EXPECT_THAT(server.clients(), ElementsAre(kOtherId));
}

TEST_F(GatewayDialsTest, CopiesOfRequestsAreSentByTheSameGateway) {
  MeshServer shadow(mesh_);
  certify({edge_, other_});
  serve(routes({{.name = "v1", .endpoints = {plain_.address()}},
                {.name = "v2", .endpoints = {shadow.address()}, .policy = with_mesh_tls()}},
               true));
  EXPECT_EQ(get("b.example"), ok_response("inside"));
  ASSERT_TRUE(rig_.wait_for([&] { return !shadow.clients().empty(); }));
  EXPECT_THAT(shadow.clients(), ElementsAre(kOtherId));
}

TEST_F(GatewayDialsTest, ProvidersAreAskedByTheGatewayWhosePolicyItIs) {
  MeshServer provider(mesh_);
  certify({edge_, other_});
  auto snapshot = routes({{.name = "v1", .endpoints = {plain_.address()}},
                          {.name = "authz", .endpoints = {provider.address()}, .policy = with_mesh_tls()}});
  weft::mesh::v1::ExternalProvider message;
  message.set_name("ask");
  message.set_host("authz");
  message.set_port(9000);
  message.set_timeout_ms(2'000);
  message.mutable_http();
  const auto compiled = ExternalProvider::compile(message);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  snapshot->providers.emplace("ask", *compiled);
  snapshot->provider_clusters.emplace(Snapshot::HostKey{"shop", 0, "ask"}, 1u);
  Resources resources;
  resources.authorizations.emplace("shop/one", custom(everything(istio::security::DENY), "ask"));
  GatewayPolicyNames names{.authorizations = {"shop/one"}, .authentications = {}, .asks_as = other_};
  auto rules = GatewayRulesTable(resources).of("shop", names);
  snapshot->gateways_ask = rules->asks_providers;
  const uint32_t host = snapshot->gateway_host_by_host.at(Snapshot::HostKey{"", address_.port, "a.example"});
  snapshot->gateway_rules.emplace(snapshot->virtual_hosts[host].get(), std::move(rules));
  serve(std::move(snapshot));
  EXPECT_EQ(get("a.example"), ok_response("inside"));
  EXPECT_THAT(provider.clients(), ElementsAre(kOtherId));
}

}  // namespace
}  // namespace weft::proxy
