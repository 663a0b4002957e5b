// A gateway's listener that shows the gateway's own identity and wants workloads of the mesh (ISTIO_MUTUAL):
// who comes in, as whom, and what renewal and revocation do to those who are in.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/gateway_tls_rig.h"
#include "tests/unit/proxy-engine/policy_messages.h"

namespace weft::proxy {
namespace {

using test::OpensslPeer;

constexpr char kEdge[] = "spiffe://cluster.local/ns/shop/sa/edge-weft";
constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kCart[] = "spiffe://cluster.local/ns/shop/sa/cart";

class GatewayMeshTlsTest : public GatewayTlsRig {
 protected:
  static std::shared_ptr<ServerTerms> of_mesh(const std::string& name) {
    auto out = std::make_shared<ServerTerms>();
    out->name = str_cat("IstioGateway shop/edge:443 ", name);
    out->mutual = true;
    out->identity = SpiffeId::parse(kEdge);
    return out;
  }
  // The proxy gets a new certificate for the gateway, and these revocation lists.
  void certify(const std::string& lists = "") {
    const test::Leaf leaf = test::make_leaf(mesh_, {.names = {{GEN_URI, kEdge}}});
    const std::string chain[] = {to_pem(leaf.certificate.get()), to_pem(mesh_.certificate.get())};
    auto made = make_credentials(*SpiffeId::parse(kEdge), share(leaf.key.get()), chain, lists);
    ASSERT_TRUE(made.ok()) << made.status();
    auto set = std::make_shared<CredentialSet>();
    set->by_id.emplace((*made)->id, *made);
    rig_.worker().set_credentials(std::move(set));
  }
  test::Leaf workload(const char* id) const { return test::make_leaf(mesh_, {.names = {{GEN_URI, id}}}); }
  OpensslPeer::Setup as(const test::Leaf* leaf, const char* name = "a.example") const {
    return {.leaf = leaf, .trusts = {mesh_.certificate.get()}, .alpn = kHttp1, .server_name = name};
  }
  std::string get_as(const test::Leaf* leaf, const char* name = "a.example") {
    return get(as(leaf, name), name);
  }
  static std::shared_ptr<const GatewayRules> allow(const char* principal) {
    auto out = std::make_shared<GatewayRules>();
    out->policies = std::make_shared<const PolicySet>(
        std::vector<AuthorizationPtr>{with_principal(everything(istio::security::ALLOW), principal)});
    return out;
  }

  const test::Authority mesh_ = test::make_authority("mesh");
};

TEST_F(GatewayMeshTlsTest, TheGatewayShowsItsIdentityAndKnowsWhoComes) {
  certify();
  serve({{"a.example", of_mesh("a.example")}});
  const test::Leaf web = workload(kWeb);
  std::string shown, response;
  OpensslPeer peer(dial(), as(&web), [&](SSL* ssl) {
    shown = shown_name(ssl);
    response = ask(ssl, "a.example");
  });
  peer.join();
  EXPECT_EQ(shown, kEdge);
  EXPECT_EQ(response, ok_response("inside"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).identity, kWeb);
}

TEST_F(GatewayMeshTlsTest, WhoIsNoWorkloadOfTheMeshIsRefused) {
  certify();
  serve({{"a.example", of_mesh("a.example")}});
  const test::Leaf good = workload(kWeb), foreign_domain = workload("spiffe://other/ns/shop/sa/web"),
                   unnamed = test::make_leaf(mesh_, {.names = {{GEN_DNS, "web"}}}),
                   foreign = test::make_leaf(clients_of_, {.names = {{GEN_URI, kWeb}}}),
                   server_only = test::make_leaf(mesh_, {.names = {{GEN_URI, kWeb}}, .usage = "serverAuth"}),
                   expired = test::make_leaf(
                       mesh_, {.names = {{GEN_URI, kWeb}}, .from_seconds = -100, .to_seconds = -10});
  EXPECT_EQ(get_as(&good), ok_response("inside"));
  for (const test::Leaf* each : {&foreign_domain, &unnamed, &foreign, &server_only, &expired})
    EXPECT_EQ(get_as(each), "");
  EXPECT_EQ(get_as(nullptr), "");
}

TEST_F(GatewayMeshTlsTest, PoliciesKnowThePrincipalOfTheClient) {
  const test::Leaf web = workload(kWeb), cart = workload(kCart);
  auto opaque = of_mesh("tcp.example");
  opaque->opaque = true;
  rules_ = allow("cluster.local/ns/shop/sa/web");
  certify();
  serve({{"a.example", of_mesh("a.example")},
         {"tcp.example", opaque},
         {"plain.example", terms("plain.example")}});
  EXPECT_EQ(get_as(&web), ok_response("inside"));
  EXPECT_TRUE(get_as(&cart).starts_with("HTTP/1.1 403"));
  EXPECT_EQ(get_as(&web, "tcp.example"), ok_response("inside"));
  EXPECT_EQ(get_as(&cart, "tcp.example"), "");
  EXPECT_TRUE(get(client("plain.example"), "plain.example").starts_with("HTTP/1.1 403"))
      << "who shows nothing is nobody";
}

TEST_F(GatewayMeshTlsTest, NamesThatAreWantedOfClientsCount) {
  const test::Leaf web = workload(kWeb), cart = workload(kCart);
  auto narrow = of_mesh("a.example");
  narrow->client_names = {kWeb};
  narrow->min = TlsVersion::k13;
  certify();
  serve({{"a.example", narrow}, {"b.example", of_mesh("b.example")}});
  EXPECT_EQ(get_as(&web), ok_response("inside"));
  EXPECT_EQ(get_as(&cart), "");
  EXPECT_EQ(get_as(&cart, "b.example"), ok_response("inside"));
  const auto version = [&](const char* name, int most) {
    std::string seen;
    OpensslPeer::Setup setup = as(&web, name);
    setup.max_version = most;
    OpensslPeer peer(dial(), setup, [&](SSL* ssl) { seen = SSL_get_version(ssl); });
    peer.join();
    return seen;
  };
  EXPECT_EQ(version("a.example", TLS1_2_VERSION), "");
  EXPECT_EQ(version("b.example", TLS1_2_VERSION), "TLSv1.2");
  EXPECT_EQ(version("b.example", TLS1_3_VERSION), "TLSv1.3");
}

TEST_F(GatewayMeshTlsTest, UntilTheCertificateIsHereHandshakesAreRefused) {
  const test::Leaf web = workload(kWeb);
  serve({{"a.example", of_mesh("a.example")}});
  EXPECT_EQ(get_as(&web), "");
  certify();
  serve({{"a.example", of_mesh("a.example")}});
  EXPECT_EQ(get_as(&web), ok_response("inside"));
}

TEST_F(GatewayMeshTlsTest, ARenewedCertificateIsForNewHandshakesAndEndsNoConnection) {
  const test::Leaf web = workload(kWeb);
  certify();
  serve({{"a.example", of_mesh("a.example")}});
  const auto serial_of = [](SSL* ssl) { return serial_number(SSL_get0_peer_certificate(ssl)); };
  std::string before, after, first, second;
  OpensslPeer live(dial(), as(&web), [&](SSL* ssl) {
    before = serial_of(ssl);
    first = ask(ssl, "a.example");
    certify();
    serve({{"a.example", of_mesh("a.example")}});
    second = ask(ssl, "a.example");
  });
  live.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_EQ(second, ok_response("inside"));
  OpensslPeer next(dial(), as(&web), [&](SSL* ssl) { after = serial_of(ssl); });
  next.join();
  EXPECT_NE(after, "");
  EXPECT_NE(after, before);
}

TEST_F(GatewayMeshTlsTest, WhomAListRevokesIsOutAndStaysOut) {
  const test::Leaf web = workload(kWeb), cart = workload(kCart);
  certify();
  serve({{"a.example", of_mesh("a.example")}});
  std::string first, rest = "not read", other;
  OpensslPeer stays(dial(), as(&cart), [&](SSL* cart_ssl) {
    ask(cart_ssl, "a.example");
    OpensslPeer goes(dial(), as(&web), [&](SSL* ssl) {
      first = ask(ssl, "a.example");
      certify(test::crl_pem(mesh_, {web.certificate.get()}));
      rest = OpensslPeer::read(ssl, 1);
    });
    goes.join();
    other = ask(cart_ssl, "a.example");
  });
  stays.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_EQ(rest, "") << "what is revoked ends at once";
  EXPECT_EQ(other, ok_response("inside"));
  EXPECT_EQ(get_as(&web), "");
  EXPECT_EQ(get_as(&cart), ok_response("inside"));
}

// Who was let in with less is not let go on.
TEST_F(GatewayMeshTlsTest, AListenerThatBeginsToAskSendsAwayWhoShowedNothing) {
  auto before = terms("a.example");
  auto after = of_mesh("a.example");
  after->name = before->name;
  certify();
  serve({{"a.example", before}});
  std::string first, rest;
  OpensslPeer live(dial(), client("a.example"), [&](SSL* ssl) {
    first = ask(ssl, "a.example");
    serve({{"a.example", after}});
    OpensslPeer::write(ssl, request("a.example"));
    rest = OpensslPeer::read(ssl, 4096);
  });
  live.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_TRUE(rest.starts_with("HTTP/1.1 421")) << rest;
}

}  // namespace
}  // namespace weft::proxy
