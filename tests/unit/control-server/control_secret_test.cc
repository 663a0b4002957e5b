// Keys by weft-control: who gets them, who does not, and what becomes of them when they change.
#include <algorithm>
#include <atomic>

#include "absl/strings/escaping.h"
#include "tests/unit/control-server/control_world.h"
#include "tests/unit/kubernetes/edge_gateway.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kDestinationRules[] = "/apis/networking.istio.io/v1/destinationrules";

Json rule(const std::string& credential) {
  return {{"apiVersion", "networking.istio.io/v1"},
          {"kind", "DestinationRule"},
          {"metadata", {{"namespace", "shop"}, {"name", "partner"}}},
          {"spec",
           {{"host", "cart.shop.svc.cluster.local"},
            {"exportTo", {"."}},
            {"trafficPolicy", {{"tls", {{"mode", "MUTUAL"}, {"credentialName", credential}}}}}}}};
}

// A certificate and its key, and what they are in a Secret.
struct Pair {
  Pair() {
    const ::weft::test::Authority authority = ::weft::test::make_authority("public");
    const ::weft::test::Leaf leaf =
        ::weft::test::make_leaf(authority, {.names = {{GEN_DNS, "shop.example"}}});
    certificate = to_pem(leaf.certificate.get());
    key = ::weft::test::key_pem(leaf.key.get());
  }
  Json secret(const std::string& name) const {
    return {{"apiVersion", "v1"},
            {"kind", "Secret"},
            {"type", "kubernetes.io/tls"},
            {"metadata", {{"namespace", "shop"}, {"name", name}}},
            {"data", {{"tls.crt", absl::Base64Escape(certificate)}, {"tls.key", absl::Base64Escape(key)}}}};
  }
  std::string certificate, key;
};

class ControlSecretTest : public ControlServerTest {};

TEST_F(ControlSecretTest, KeysOfAGatewayReachTheNodesThatServeIt) {
  const Pair first, second;
  api_.install(kGateways);
  api_.install(kSecretsOfShop);
  api_.put(kGateways, edge_gateway("edge-cert"));
  api_.put(kSecretsOfShop, first.secret("edge-cert"));
  api_.put(kSecretsOfShop, second.secret("of-nobody"));
  gateway_nodes_ = {"node2"};
  serve();
  RemoteOptions options = client_options("node2");
  write(folder_.file("token2"), "second@node2");
  options.access.token_file = folder_.file("token2");
  options.gateway = true;
  Client plain(client_options("node1")), edge(options);
  ASSERT_TRUE(plain.start().ok());
  ASSERT_TRUE(edge.start().ok());
  EXPECT_EQ(edge.key_of("shop/edge-cert"), first.key) << "with the first that it was told";
  // Renewed.
  api_.put(kSecretsOfShop, second.secret("edge-cert"));
  EXPECT_TRUE(edge.holds("shop/edge-cert", second.key));
  // No pair: the last good one serves, and it is said why.
  Json broken = second.secret("edge-cert");
  broken["data"]["tls.key"] = absl::Base64Escape(first.key);
  api_.put(kSecretsOfShop, broken);
  const auto says = [](const std::string& words) {
    return [words](const Change& last) {
      return std::any_of(last.findings.begin(), last.findings.end(), [&](const Finding& finding) {
        return to_string(finding).find(words) != std::string::npos;
      });
    };
  };
  EXPECT_TRUE(plain.wait_until(says("the key is not that of the certificate")));
  EXPECT_EQ(edge.key_of("shop/edge-cert"), second.key);
  for (const Finding& finding : plain.last().findings) {
    EXPECT_THAT(to_string(finding), Not(HasSubstr("PRIVATE")));
    EXPECT_THAT(to_string(finding), Not(HasSubstr(absl::Base64Escape(first.key).substr(0, 40))));
  }
  // Gone: the finding is of the Gateway that names it.
  api_.remove(kSecretsOfShop, "shop", "edge-cert");
  EXPECT_TRUE(edge.holds("shop/edge-cert", ""));
  EXPECT_TRUE(plain.wait_until(says("Secret shop/edge-cert is unknown, or was refused")));
  api_.put(kSecretsOfShop, first.secret("edge-cert"));
  EXPECT_TRUE(edge.holds("shop/edge-cert", first.key));
  for (Client* each : {&plain, &edge}) EXPECT_EQ(each->key_of("shop/of-nobody"), "");
  EXPECT_EQ(plain.key_of("shop/edge-cert"), "");
  for (const FakeApiServer::Request& request : api_.requests(kSecretsOfShop))
    EXPECT_NE(request.value("fieldSelector"), "") << "one by one, by their names";
  EXPECT_THAT(metrics(), Not(HasSubstr("edge-cert")));
}

TEST_F(ControlSecretTest, KeysOfARuleReachNodesWithACapturedPodOfItsNamespace) {
  const Pair pair;
  api_.install(kDestinationRules);
  api_.install(kSecretsOfShop);
  Json other = pod("till", "node3", "10.0.0.4");
  other["metadata"]["namespace"] = "bank";
  api_.put(kPods, other);
  api_.put(kServices, service("cart", 80));
  api_.put(kDestinationRules, rule("client-cert"));
  api_.put(kSecretsOfShop, pair.secret("client-cert"));
  serve();
  RemoteOptions options = client_options("node3");
  write(folder_.file("token3"), "third@node3");
  options.access.token_file = folder_.file("token3");
  Client shop(client_options("node1")), bank(options);
  ASSERT_TRUE(shop.start().ok());
  ASSERT_TRUE(bank.start().ok());
  EXPECT_EQ(shop.key_of("shop/client-cert"), pair.key);
  EXPECT_EQ(bank.key_of("shop/client-cert"), "");
  api_.put(kPods, pod("web2", "node3", "10.0.0.5"));
  EXPECT_TRUE(bank.holds("shop/client-cert", pair.key));
  api_.remove(kPods, "shop", "web2");
  EXPECT_TRUE(bank.holds("shop/client-cert", "")) << "it is taken back";
  EXPECT_EQ(shop.key_of("shop/client-cert"), pair.key);
}

TEST_F(ControlSecretTest, CertificatesOfAGatewaysIdentityAreForTheNodesThatServeIt) {
  constexpr char kEdge[] = "spiffe://cluster.local/ns/shop/sa/edge-weft";
  api_.install(kGateways);
  api_.put(kGateways, mesh_gateway());
  gateway_nodes_ = {"node2"};
  serve();
  EXPECT_EQ(sign(kEdge).status().code(), absl::StatusCode::kUnauthenticated) << "node1 serves none";
  EXPECT_TRUE(sign(kWeb).ok());
  write(folder_.file("token"), "second@node2");
  const auto chain = sign(kEdge);
  ASSERT_TRUE(chain.ok()) << chain.status();
  const auto leaf = read_certificates(chain->front());
  ASSERT_TRUE(leaf.ok());
  SpiffeId id;
  EXPECT_EQ(read_san(leaf->front().get(), &id), SanReading::kOk);
  EXPECT_EQ(id.to_string(), kEdge);
  EXPECT_FALSE(sign("spiffe://cluster.local/ns/shop/sa/other-weft").ok()) << "there is no such Gateway";
  EXPECT_FALSE(sign("spiffe://cluster.local/ns/bank/sa/edge-weft").ok());
  EXPECT_FALSE(sign(kWeb).ok()) << "a pod of another node";
  // It shows nobody who it is any more, but proves it where it dials, until it is gone.
  Json plain = edge_gateway("");
  plain["spec"]["servers"][0].erase("tls");
  plain["spec"]["servers"][0]["port"] = {{"number", 80}, {"name", "http"}, {"protocol", "HTTP"}};
  plain["metadata"]["name"] = "plain";
  api_.put(kGateways, plain);
  EXPECT_TRUE(
      harness::wait_until(kLimit, [&] { return sign("spiffe://cluster.local/ns/shop/sa/plain-weft").ok(); }));
  api_.put(kGateways, edge_gateway("edge-cert"));
  api_.remove(kGateways, "shop", "plain");
  EXPECT_TRUE(harness::wait_until(
      kLimit, [&] { return !sign("spiffe://cluster.local/ns/shop/sa/plain-weft").ok(); }));
  EXPECT_TRUE(sign(kEdge).ok());
}

// A replica that starts while the server answers for everything but Secrets does not tell agents that there
// are none.
TEST_F(ControlSecretTest, AReplicaThatStartsWaitsForTheKeysBeforeItServes) {
  const Pair pair;
  api_.install(kGateways);
  api_.install(kSecretsOfShop);
  api_.put(kGateways, edge_gateway("edge-cert"));
  api_.put(kSecretsOfShop, pair.secret("edge-cert"));
  const auto failures = std::make_shared<std::atomic<int>>(0);
  api_.set_script(
      [this, failures](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
        if (request.path == kReviews) return review(Json::parse(request.body)["spec"]["token"]);
        if (request.path != kSecretsOfShop || request.value("fieldSelector") != "metadata.name=edge-cert")
          return {};
        if (++*failures > 2) return std::nullopt;
        return FakeApiServer::Reply{.status = 500, .body = R"({"kind":"Status","message":"etcd is away"})"};
      });
  serve();
  RemoteOptions options = client_options("node1");
  options.gateway = true;
  Client edge(options);
  ASSERT_TRUE(edge.start().ok());
  EXPECT_GT(*failures, 2);
  EXPECT_EQ(edge.key_of("shop/edge-cert"), pair.key);
}

}  // namespace
}  // namespace weft::control_plane::test
