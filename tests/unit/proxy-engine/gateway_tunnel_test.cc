// Tunnels of gateways: each proves who it is, two on one port share nothing, and a certificate that is on its
// way is waited for. At the pool, and from a client of a gateway's port through a real worker.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/unit/proxy-engine/hbone_pair.h"

namespace weft::proxy {
namespace {

constexpr char kEdgeId[] = "spiffe://cluster.local/ns/shop/sa/edge-weft";
constexpr char kOtherId[] = "spiffe://cluster.local/ns/shop/sa/other-weft";

class GatewayTunnelTest : public HbonePairTest {
 protected:
  CredentialSetPtr with_gateways(const std::vector<DialIdentityPtr>& gateways) const {
    auto set = std::make_shared<CredentialSet>();
    set->by_workload.emplace(kServerUid, credentials(kServerId));
    for (const DialIdentityPtr& each : gateways)
      set->by_workload.emplace(each->credentials, credentials(each->id.to_string().c_str()));
    for (const auto& [uid, one] : set->by_workload) set->by_id.emplace(one->id, one);
    return set;
  }
  // Connections for tunnels that have come to the pod.
  int at_the_pod() const {
    int count = 0;
    for (HboneServer* each = server_->tunnel_servers.front(); each != nullptr;
         each = server_->tunnel_servers.after(*each))
      ++count;
    return count;
  }

  const DialIdentityPtr edge_ = std::make_shared<const DialIdentity>(*SpiffeId::parse(kEdgeId));
  const DialIdentityPtr other_ = std::make_shared<const DialIdentity>(*SpiffeId::parse(kOtherId));
};

class GatewayPoolTest : public GatewayTunnelTest {
 protected:
  struct GatewayCall {
    GatewayCall(GatewayPoolTest& test, const DialIdentity* as)
        : socket(*test.loop_), connector(*test.loop_, *test.home_) {
      const DialParameters dial{.timeout_ms = 60'000,
                                .use = test.gateway_->use.get(),
                                .terms = {},
                                .as = as,
                                .hbone = test.hbone_.get(),
                                .tunnel_to = &test.target_};
      step.began(connector.start(step.operation, socket, test.application_address_, dial));
    }
    Socket socket;
    Connector connector;
    TestStep step;
  };
  std::unique_ptr<GatewayCall> dial(const DialIdentity* as) {
    return std::make_unique<GatewayCall>(*this, as);
  }
  void certify(const std::vector<DialIdentityPtr>& gateways) {
    tls_.replace(with_gateways(gateways));
    hbone_->identities_changed();
  }
  // What it became of the dial; kWaiting: nothing yet.
  ConnectStatus settled(GatewayCall& call) {
    EXPECT_TRUE(until([&] { return call.step.done; }));
    return call.connector.status();
  }

  const std::shared_ptr<CaptureOrigin> gateway_ =
      std::make_shared<CaptureOrigin>(99, std::string(kGatewayUid));
};

TEST_P(GatewayPoolTest, GatewaysOfOnePortNeverShareATunnelsConnection) {
  certify({edge_, other_});
  const auto first = dial(edge_.get()), second = dial(edge_.get()), third = dial(other_.get());
  for (const auto* each : {&first, &second, &third}) EXPECT_EQ(settled(**each), ConnectStatus::kConnected);
  EXPECT_EQ(hbone_->connections(), 2u);
  EXPECT_EQ(at_the_pod(), 2);
  // The same identity, of another configuration that had lost it meanwhile, is not taken for the old one.
  const DialIdentityPtr again = std::make_shared<const DialIdentity>(edge_->id);
  const auto fourth = dial(again.get());
  EXPECT_EQ(settled(*fourth), ConnectStatus::kConnected);
  EXPECT_EQ(hbone_->connections(), 3u);
}

TEST_P(GatewayPoolTest, TheRouteMayBeGoneWhileItsTunnelIsDialled) {
  certify({});
  auto brief = std::make_shared<const DialIdentity>(edge_->id);
  const auto call = dial(brief.get());
  pass(100);
  brief.reset();
  certify({edge_});
  EXPECT_EQ(settled(*call), ConnectStatus::kConnected);
}

TEST_P(GatewayPoolTest, ACertificateOnItsWayIsWaitedForAndAnotherGatewaysIsNone) {
  certify({});
  const auto early = dial(edge_.get());
  pass(600);
  certify({other_});
  pass(300);
  EXPECT_FALSE(early->step.done);
  certify({other_, edge_});
  EXPECT_EQ(settled(*early), ConnectStatus::kConnected);
}

TEST_P(GatewayPoolTest, WhatNobodySignsFailsAfterASecond) {
  certify({other_});
  const auto call = dial(edge_.get());
  const auto nameless = dial(nullptr);
  pass(900);
  EXPECT_FALSE(call->step.done);
  pass(200);
  EXPECT_EQ(settled(*call), ConnectStatus::kFailed);
  EXPECT_EQ(settled(*nameless), ConnectStatus::kFailed) << "its name is too long for an identity";
  EXPECT_EQ(hbone_->connections(), 0u);
}

// Two Gateways of one port, edge (a.example) and other (b.example), before a pod that takes tunnels.
class GatewayTunnelRouteTest : public GatewayTunnelTest {
 protected:
  void SetUp() override {
    GatewayTunnelTest::SetUp();
    if (loop_ == nullptr) return;
    rig_ = std::make_unique<Rig>(setup_for(application_address_));
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  std::shared_ptr<Snapshot> base() {
    auto out =
        std::make_shared<Snapshot>(*rig_->make_snapshot(one_endpoint(application_address_), ++generation_));
    auto spec = std::make_shared<WorkloadSpec>();
    spec->uid = kServerUid;
    spec->node = "far";
    spec->hbone = true;
    spec->identity = target_;
    out->clusters[0].endpoints[0].tunnel = spec;
    out->clusters[0].connect_timeout_ms = 10'000;
    return out;
  }
  void serve(std::shared_ptr<Snapshot> snapshot) {
    rig_->use(std::move(snapshot));
    if (!listener_.valid()) return;
    rig_->worker().add_listener({.netns_cookie = 99,
                                 .workload_uid = std::string(kGatewayUid),
                                 .netns = {},
                                 .listener = std::move(listener_)});
  }
  void serve_http() {
    auto snapshot = base();
    snapshot->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kHttp};
    for (const auto& [host, identity] : {std::pair("a.example", edge_), std::pair("b.example", other_)}) {
      Route route{.name = host};
      route.clusters.push_back(WeightedCluster{.cluster = 0, .label = "pod"});
      route.total_weight = 1;
      route.dials_as = identity.get();
      VirtualHost routes{.name = host};
      routes.routes.push_back(std::move(route));
      snapshot->gateway_host_by_host[Snapshot::HostKey{"", address_.port, host}] =
          static_cast<uint32_t>(snapshot->virtual_hosts.size());
      snapshot->virtual_hosts.push_back(std::make_shared<const VirtualHost>(std::move(routes)));
    }
    serve(std::move(snapshot));
  }
  void serve_tcp(const DialIdentityPtr& identity) {
    auto snapshot = base();
    L4Route route{.name = "tcp", .matches = {}, .clusters = {{.cluster = 0, .label = "pod"}}};
    route.total_weight = 1;
    route.dials_as = identity;
    snapshot->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kTcp,
                                              .l4_host = static_cast<uint32_t>(snapshot->l4_hosts.size())};
    snapshot->l4_hosts.push_back({.name = "edge", .resource = "edge", .tls = {}, .tcp = {route}});
    serve(std::move(snapshot));
  }
  FarEnd connect() const {
    const TestConnection client = TestConnection::to(address_);
    return FarEnd(UniqueFd(::fcntl(client.fd(), F_DUPFD_CLOEXEC, 0)));
  }
  FarEnd ask(const char* host) {
    FarEnd client = connect();
    client.send(str_cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"));
    return client;
  }
  // Reads one request there, and answers it.
  void answer(FarEnd& application) {
    EXPECT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
    application.forget_received();
    application.send(ok_response("inside"));
  }
  bool is_answered(FarEnd& client, std::string_view text) {
    return until([&] { return client.has(text); });
  }

  std::unique_ptr<Rig> rig_;
  SocketAddress address_;
  UniqueFd listener_;
};

TEST_P(GatewayTunnelRouteTest, ThePodKnowsWhichGatewaySendsARequest) {
  use_policies({policy(istio::security::ALLOW, "edge-weft")});
  rig_->worker().set_credentials(with_gateways({edge_, other_}));
  serve_http();
  FarEnd client = ask("a.example");
  FarEnd application = accept_application();
  answer(application);
  EXPECT_TRUE(is_answered(client, "inside"));
  FarEnd refused = ask("b.example");
  EXPECT_TRUE(is_answered(refused, "HTTP/1.1 503"));
}

TEST_P(GatewayTunnelRouteTest, GatewaysOfOnePortShareNoConnectionToThePod) {
  rig_->worker().set_credentials(with_gateways({edge_, other_}));
  serve_http();
  FarEnd first = ask("a.example");
  FarEnd of_edge = accept_application();
  answer(of_edge);
  ASSERT_TRUE(is_answered(first, "inside"));
  FarEnd second = ask("a.example");
  answer(of_edge);
  EXPECT_TRUE(is_answered(second, "inside")) << "its own connection is used again";
  FarEnd third = ask("b.example");
  FarEnd of_other = accept_application();
  answer(of_other);
  EXPECT_TRUE(is_answered(third, "inside"));
  EXPECT_EQ(at_the_pod(), 2);
}

TEST_P(GatewayTunnelRouteTest, ARequestWaitsForTheGatewaysCertificate) {
  serve_http();
  FarEnd client = ask("a.example");
  ASSERT_TRUE(until([&] {
    const auto pod = rig_->pod(99);
    return pod != nullptr && pod->exchanges.get() == 1;
  }));
  rig_->worker().set_credentials(with_gateways({edge_}));
  FarEnd application = accept_application();
  answer(application);
  EXPECT_TRUE(is_answered(client, "inside"));
}

TEST_P(GatewayTunnelRouteTest, WithoutACertificateARequestIsAnsweredAfterASecond) {
  serve_http();
  const auto begin = std::chrono::steady_clock::now();
  FarEnd client = ask("a.example");
  EXPECT_TRUE(is_answered(client, "HTTP/1.1 503"));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took.count(), 0.9);
  EXPECT_EQ(rig_->sink().wait(1).at(0).outcome, Outcome::kConnectFailed);
}

TEST_P(GatewayTunnelRouteTest, ConnectionsGoByTunnelsOfTheGatewayToo) {
  use_policies({policy(istio::security::ALLOW, "edge-weft")});
  rig_->worker().set_credentials(with_gateways({edge_, other_}));
  serve_tcp(edge_);
  FarEnd client = connect();
  client.send("question");
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("question"); }));
  application.send("answer");
  EXPECT_TRUE(is_answered(client, "answer"));
  serve_tcp(other_);
  FarEnd refused = connect();
  refused.send("question");
  EXPECT_TRUE(until([&] { return refused.end() != FarEnd::End::kOpen; }));
}

constexpr auto kName = [](const testing::TestParamInfo<IoKind>& kind) {
  return kind.param == IoKind::kEpoll ? "Epoll" : "Uring";
};
INSTANTIATE_TEST_SUITE_P(, GatewayPoolTest, testing::Values(IoKind::kEpoll, IoKind::kUring), kName);
INSTANTIATE_TEST_SUITE_P(, GatewayTunnelRouteTest, testing::Values(IoKind::kEpoll, IoKind::kUring), kName);

}  // namespace
}  // namespace weft::proxy
