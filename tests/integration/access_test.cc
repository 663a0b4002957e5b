// Who may do what at a gateway, and what the operator sees of who talks to whom: policies and tokens at a
// port of the node, `weft edges`, `weft authz shadow`.
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/identity/tokens.h"

namespace weft::harness {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Of the machine, where the agent runs; below the ports that the kernel gives away.
constexpr char kPort[] = "18741";

class AccessTest : public MeshTest {
 protected:
  static std::string ask(const std::string& path, const std::vector<std::string>& headers = {}) {
    Spawn spawn;
    spawn.argv = {"curl", "-s", "-i", "--path-as-is", "--max-time", "5", "-H", "Host: shop.example"};
    for (const std::string& header : headers) spawn.argv.insert(spawn.argv.end(), {"-H", header});
    spawn.argv.push_back(str_cat("http://127.0.0.1:", kPort, path));
    return run(spawn).output;
  }
  static std::string status_of(const std::string& path, const std::vector<std::string>& headers = {}) {
    const std::string answer = ask(path, headers);
    const size_t space = answer.find(' ');
    return space == std::string::npos ? "none" : answer.substr(space + 1, 3);
  }
  ::testing::AssertionResult comes_to(const std::string& path, const std::string& status) {
    std::string last;
    if (wait_until(milliseconds(20'000), [&] { return (last = status_of(path)) == status; }))
      return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << path << " gives " << last << "\n" << mesh_->log();
  }
  // Admins, by a claim of their token, are answered "vault", others "shop".
  void open_gateway() {
    mesh_->manifests().write(
        "gateway.yaml",
        str_cat(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n",
            "  selector: {istio: ingressgateway}\n", "  servers: [{port: {number: ", kPort,
            ", name: http, protocol: HTTP}, hosts: [shop.example]}]\n",
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: edge}\nspec:\n",
            "  hosts: [shop.example]\n  gateways: [edge]\n  http:\n",
            "  - match: [{headers: {\"@request.auth.claims.groups\": {exact: admin}}}]\n",
            "    directResponse: {status: 200, body: {string: vault}}\n",
            "  - directResponse: {status: 200, body: {string: shop}}\n"));
  }
  static std::string selected(const char* kind, const std::string& spec) {
    return str_cat("apiVersion: security.istio.io/v1\nkind: ", kind,
                   "\nmetadata: {name: edge}\nspec: {selector: {matchLabels: {istio: ingressgateway}}, ",
                   spec, "}\n---\n");
  }
};

TEST_F(AccessTest, PoliciesHoldForClientsOfAGateway) {
  open_gateway();
  ASSERT_TRUE(comes_to("/admin/x", "200"));
  mesh_->manifests().write(
      "policy.yaml",
      selected("AuthorizationPolicy", "action: DENY, rules: [{to: [{operation: {paths: [/admin/*]}}]}]"));
  ASSERT_TRUE(comes_to("/admin/x", "403"));
  EXPECT_THAT(ask("/admin/x"), HasSubstr("RBAC: access denied"));
  EXPECT_EQ(status_of("/ok/../%61dmin/x"), "403");
  EXPECT_EQ(status_of("/ok"), "200");
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("request_denied.*policy=default/edge"))(mesh_->log());
  })) << mesh_->log();
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("weft_outcomes_total\\{outcome=\"access_denied\"\\} [1-9]"))(
        mesh_->metrics());
  })) << mesh_->metrics();
  mesh_->manifests().write(
      "policy.yaml",
      selected("AuthorizationPolicy", "rules: [{from: [{source: {remoteIpBlocks: [192.0.2.0/24]}}]}]"));
  ASSERT_TRUE(comes_to("/ok", "403"));
  EXPECT_EQ(status_of("/ok", {"X-Forwarded-For: 192.0.2.1"}), "403") << "anybody can write that";
  mesh_->manifests().write("policy.yaml", selected("AuthorizationPolicy",
                                                   "rules: [{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}]"));
  ASSERT_TRUE(comes_to("/ok", "200"));
}

TEST_F(AccessTest, RoutesOfAGatewayFollowClaimsThatWereProved) {
  const KeyPtr key = test::ec_key("P-256");
  const auto bearer = [&](const std::string& claims, EVP_PKEY* by) {
    return str_cat("Authorization: Bearer ",
                   test::make_token("ES256", by, str_cat(R"({"iss":"test","sub":"me")", claims, "}"), ""));
  };
  open_gateway();
  ASSERT_TRUE(comes_to("/", "200"));
  const std::string admin = bearer(R"(,"groups":["staff","admin"])", key.get());
  EXPECT_THAT(ask("/", {admin}), HasSubstr("shop")) << "nobody proves tokens yet";
  mesh_->manifests().write(
      "tokens.yaml", selected("RequestAuthentication", str_cat("jwtRules: [{issuer: test, jwks: '",
                                                               test::jwk_set(test::jwk(key.get())), "'}]")));
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ask("/", {admin}).find("vault") != std::string::npos;
  })) << mesh_->log();
  EXPECT_THAT(ask("/", {bearer(R"(,"groups":"staff")", key.get())}), HasSubstr("shop"));
  EXPECT_THAT(ask("/"), HasSubstr("shop"));
  const KeyPtr other = test::ec_key("P-256");
  EXPECT_EQ(status_of("/", {bearer(R"(,"groups":"admin")", other.get())}), "401");
  EXPECT_THAT(ask("/", {"request.auth.claims.groups: admin"}), HasSubstr("shop"));
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// No Secret is anywhere: the gateway is somebody of the mesh, and so are its clients.
TEST_F(AccessTest, AGatewayOfTheMeshKnowsWorkloadsByTheirCertificates) {
  constexpr char kMeshPort[] = "18742";
  const test::ScratchFolder folder;
  const std::string ca = mesh_->run_dir() + "/ca/";
  const test::Authority mesh{.certificate = std::move((*read_certificates(text_of(ca + "ca.crt"))).front()),
                             .key = *read_private_key(text_of(ca + "ca.key"))};
  const test::Authority other = test::make_authority("other");
  const auto certify = [&](const test::Authority& by, const std::string& account) {
    const test::Leaf leaf = test::make_leaf(
        by, {.names = {{GEN_URI, str_cat("spiffe://cluster.local/ns/default/sa/", account)}}});
    std::ofstream(folder.file("client.crt")) << to_pem(leaf.certificate.get());
    std::ofstream(folder.file("client.key")) << test::key_pem(leaf.key.get());
  };
  const auto ask_as = [&](const std::vector<std::string>& client) {
    Spawn spawn;
    spawn.argv = {"curl", "-s", "-i", "-k", "--max-time", "5", "--connect-to"};
    spawn.argv.push_back(str_cat("shop.example:", kMeshPort, ":127.0.0.1:", kMeshPort));
    spawn.argv.insert(spawn.argv.end(), client.begin(), client.end());
    spawn.argv.push_back(str_cat("https://shop.example:", kMeshPort, "/"));
    return run(spawn).output;
  };
  const std::vector<std::string> with = {"--cert", folder.file("client.crt"), "--key",
                                         folder.file("client.key")};
  mesh_->manifests().write(
      "gateway.yaml",
      str_cat(
          "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n",
          "  selector: {istio: ingressgateway}\n  servers: [{port: {number: ", kMeshPort,
          ", name: https, protocol: HTTPS}, hosts: [shop.example], tls: {mode: ISTIO_MUTUAL}}]\n",
          "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: edge}\nspec:\n",
          "  hosts: [shop.example]\n  gateways: [edge]\n",
          "  http: [{directResponse: {status: 200, body: {string: shop}}}]\n"));
  mesh_->manifests().write(
      "policy.yaml",
      selected("AuthorizationPolicy",
               "rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/web]}}]}]"));
  certify(mesh, "web");
  const auto comes_in = [&] { return ask_as(with).find(" 200") != std::string::npos; };
  ASSERT_TRUE(wait_until(milliseconds(20'000), comes_in)) << ask_as(with) << mesh_->log();
  EXPECT_THAT(mesh_->cli({"cert", "list"}).output, HasSubstr("spiffe://cluster.local/ns/default/sa/edge-"))
      << "cut to the width of a terminal";
  EXPECT_EQ(ask_as({}), "") << "who shows nothing";
  certify(other, "web");
  EXPECT_EQ(ask_as(with), "") << "of another authority";
  certify(mesh, "cart");
  EXPECT_THAT(ask_as(with), HasSubstr(" 403")) << "another workload";
  certify(mesh, "web");
  const std::string before = mesh_->cli({"cert", "list"}).output;
  EXPECT_EQ(mesh_->cli({"cert", "rotate", "spiffe://cluster.local/ns/default/sa/edge-weft"}).exit_code, 0);
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return mesh_->cli({"cert", "list"}).output != before && comes_in();
  })) << mesh_->log();
}

TEST_F(AccessTest, EdgesSayWhoTalksToWhom) {
  ASSERT_TRUE(reachable(kProductV4));
  const std::string row =
      client_.name + " +default/product-service +plain +proxy +[1-9][0-9]* +[1-9][0-9]* +[0-9.]+";
  EXPECT_TRUE(wait_until(
      milliseconds(20'000),
      [&] { return ::testing::Matches(ContainsRegex("default/" + row))(mesh_->cli({"edges"}).output); }))
      << mesh_->cli({"edges"}).output << mesh_->metrics();
  const auto json = nlohmann::json::parse(mesh_->cli({"-o", "json", "edges"}).output, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["schema"], "weft.edges.v1");
  EXPECT_EQ(mesh_->cli({"-n", "nobody", "edges"}).output.find("product-service"), std::string::npos);
}

TEST_F(AccessTest, AManifestIsTriedOnTrafficAndNothingIsPutInForce) {
  const test::ScratchFolder folder;
  const std::string file = folder.file("new.yaml");
  std::ofstream(file)
      << "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: next}\n"
         "spec: {action: DENY, rules: [{to: [{operation: {paths: [/secret/*]}}]}]}\n";
  std::atomic<bool> over{false};
  std::thread traffic([&] {
    while (!over) {
      for (const char* path : {"/secret/plan", "/ok"})
        EXPECT_THAT(curl(client_, {"-i", str_cat("http://", kProductV4, path)}).output,
                    HasSubstr("x-version"))
            << "nothing is denied";
    }
  });
  const CommandResult result = mesh_->cli({"authz", "shadow", file, "--for", "3s"});
  over = true;
  traffic.join();
  EXPECT_EQ(result.exit_code, 79) << result.output << result.errors;
  EXPECT_THAT(result.output,
              ContainsRegex("[0-9]+ +[^ ]*client[^ ]* +default/[^ ]+:8080 +GET /secret/\\* +allowed +denied +"
                            "default/next rules\\[0\\] +new.yaml:1"))
      << result.errors << mesh_->log();
  EXPECT_EQ(result.output.find("GET /ok"), std::string::npos) << result.output;
  EXPECT_EQ(mesh_->cli({"authz", "shadow", str_cat(file, ".gone")}).exit_code, 65);
}

}  // namespace
}  // namespace weft::harness
