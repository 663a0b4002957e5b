// Policies of CUSTOM, at pods and at a gateway, with providers that nobody here wrote the client for:
// Python's HTTP server (that of the example) and grpcio, which the node's proxy asks before the application
// sees a request.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// The distribution's, which has its package python3-grpcio.
constexpr char kPython[] = "/usr/bin/python3";
constexpr uint16_t kHttp = 8090, kAsk = 9000, kCall = 9001;
// Of the node, where the agent runs; below the ports that the kernel gives away.
constexpr uint16_t kEdge = 18742;

class ExternalAuthorizationTest : public MeshTest {
 protected:
  // The client pod of the fixture, which is captured, is the server here; it says what it was sent.
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto echo = start_peer(client_, "http", kHttp);
    ASSERT_TRUE(echo.ok()) << echo.status();
    servers_.push_back(std::move(*echo));
    auto pod = add_service({.name = "desk",
                            .ip4 = "10.96.0.40",
                            .ip6 = "",
                            .ports = {{.name = "http", .port = kAsk, .target_port = kAsk},
                                      {.name = "grpc", .port = kCall, .target_port = kCall}}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    desk_ = *pod;
    serve("examples/external-authorization/provider.py", kAsk);
    serve("tests/harness/authz_peer.py", kCall);
  }

  void serve(const char* script, uint16_t port) {
    auto server = Process::start(in_pod(desk_, {kPython, "-B", script, std::to_string(port)}));
    ASSERT_TRUE(server.ok()) << server.status();
    const absl::Status up = wait_for_port(desk_.netns, desk_.v4(port), server->get(), milliseconds(30'000));
    ASSERT_TRUE(up.ok()) << up << (*server)->output();
    servers_.push_back(std::move(*server));
  }

  void use_mesh(const std::string& more = "") {
    mesh_->manifests().write(
        "mesh.yaml",
        str_cat("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n"
                "  mesh: |\n    extensionProviders:\n    - name: ask\n      envoyExtAuthzHttp: {service: "
                "default/desk, port: 9000, timeout: 5s, includeRequestHeadersInCheck: [x-pass], "
                "headersToUpstreamOnAllow: [x-user]",
                more,
                "}\n    - name: call\n      envoyExtAuthzGrpc: {service: default/desk, port: 9001, timeout: "
                "5s",
                more, "}\n"));
  }
  void use_policy(const std::string& provider) {
    mesh_->manifests().write(
        "policy.yaml",
        str_cat("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: "
                "p, namespace: default}\nspec: {selector: {matchLabels: {app: client}}, "
                "action: CUSTOM, provider: {name: ",
                provider, "}, rules: [{to: [{operation: {paths: [/private/*, /head]}}]}]}\n"));
  }
  std::string answer(const std::string& path, const std::string& field = "x-pass: wrong") {
    return curl(v1_, {"--max-time", "10", "-s", "-i", "-H", field,
                      "http://" + client_.v4(kHttp).to_string() + path})
        .output;
  }
  ::testing::AssertionResult comes_to(const std::string& path, const std::string& text) {
    std::string last;
    if (wait_until(milliseconds(20'000),
                   [&] { return (last = answer(path)).find(text) != std::string::npos; }))
      return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << path << " gives " << last << "\n" << mesh_->log();
  }

  Pod desk_;
};

TEST_F(ExternalAuthorizationTest, AProviderByHttpIsAskedAboutWhatThePolicySelects) {
  use_mesh();
  use_policy("ask");
  ASSERT_TRUE(comes_to("/private/a", "ask at the desk"));
  const std::string denied = answer("/private/a");
  EXPECT_THAT(denied, HasSubstr("HTTP/1.1 401 "));
  EXPECT_THAT(denied, HasSubstr("x-desk: ground floor"));
  EXPECT_THAT(denied, HasSubstr("x-weft-reason: provider_denied"));
  EXPECT_THAT(answer("/open"), HasSubstr("HTTP/1.1 200 ")) << "nobody is asked";
  EXPECT_THAT(answer("/a/../private/a"), HasSubstr("HTTP/1.1 401 "));
  const std::string allowed = answer("/private/a", "x-pass: open");
  EXPECT_THAT(allowed, HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(answer("/head", "x-pass: open"), HasSubstr("\nx-user: guest\n")) << "who that is";
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("weft_proxy_provider_allowed_total [1-9]"))(mesh_->metrics());
  })) << mesh_->metrics();
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("path=/private/a .*outcome=provider_denied"))(mesh_->log());
  }));
  const CommandResult said =
      mesh_->cli({"authz", "check", v1_.name, client_.name + ":8090", "--http", "GET /private/a"});
  EXPECT_THAT(said.output, HasSubstr("if provider ask allows it (default/p)")) << said.errors;
}

TEST_F(ExternalAuthorizationTest, AProviderByGrpcIsAskedByTheSameWireAsEnvoys) {
  use_mesh();
  use_policy("call");
  ASSERT_TRUE(comes_to("/private/a", "HTTP/1.1 429 "));
  EXPECT_THAT(answer("/private/a?b"), HasSubstr("x-desk: /private/a?b"));
  EXPECT_THAT(answer("/private/a"), HasSubstr("later"));
  EXPECT_THAT(answer("/private/a", "x-pass: open"), HasSubstr("HTTP/1.1 200 "));
  const std::string head = answer("/head", "x-pass: open");
  EXPECT_THAT(head, HasSubstr("x-user: "));
  EXPECT_THAT(head, Not(HasSubstr("x-pass"))) << "the provider takes it away";
}

TEST_F(ExternalAuthorizationTest, WithoutAProviderNobodyIsLetInUntilTheMeshSaysSo) {
  use_policy("ask");
  ASSERT_TRUE(comes_to("/private/a", "provider_failed")) << "the mesh has no such provider";
  use_mesh();
  ASSERT_TRUE(comes_to("/private/a", "provider_denied")) << "a change of MeshConfig is in force";
  mesh_->manifests().remove("desk.yaml");
  ASSERT_TRUE(comes_to("/private/a", "HTTP/1.1 403 "));
  use_mesh(", statusOnError: \"503\"");
  ASSERT_TRUE(comes_to("/private/a", "HTTP/1.1 503 "));
  use_mesh(", failOpen: true, statusOnError: \"429\"");
  EXPECT_TRUE(comes_to("/private/a", "HTTP/1.1 429 ")) << "nobody is let in for a service that nobody has";
  EXPECT_THAT(mesh_->cli({"analyze", mesh_->manifests().path()}).output, HasSubstr("WF0072"));
}

// In the node's network, from where the provider's pod is reached; so is the client, which is none of the
// mesh.
TEST_F(ExternalAuthorizationTest, AGatewayAsksTheProviderBeforeItAnswers) {
  EXPECT_EQ(mesh_->stop_proxy(), 0);
  EXPECT_EQ(mesh_->stop_agent(), 0);
  const std::string node = topology_->host_netns(1);
  mesh_->run_in(node);
  use_mesh();
  mesh_->manifests().write(
      "gateway.yaml",
      str_cat("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n",
              "  selector: {istio: ingressgateway}\n  servers: [{port: {number: ", kEdge,
              ", name: http, protocol: HTTP}, hosts: [shop.example]}]\n---\n",
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: edge}\nspec:\n",
              "  hosts: [shop.example]\n  gateways: [edge]\n  http:\n",
              "  - match: [{headers: {x-user: {exact: guest}}}]\n",
              "    directResponse: {status: 200, body: {string: let in by the desk}}\n",
              "  - directResponse: {status: 200, body: {string: shop}}\n---\n",
              "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: edge}\nspec: ",
              "{selector: {matchLabels: {istio: ingressgateway}}, action: CUSTOM, provider: {name: ask}, ",
              "rules: [{to: [{operation: {paths: [/private/*]}}]}]}\n"));
  ASSERT_TRUE(mesh_->start_agent().ok()) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok()) << mesh_->log();
  const auto at_gateway = [&node](const std::string& path, const std::string& field = "x-pass: wrong") {
    Spawn spawn;
    spawn.netns = node;
    spawn.argv = {"curl", "-s", "-i", "--max-time", "10", "-H", "Host: shop.example", "-H", field};
    spawn.argv.push_back(str_cat("http://127.0.0.1:", kEdge, path));
    return run(spawn).output;
  };
  std::string last;
  ASSERT_TRUE(wait_until(
      milliseconds(20'000),
      [&] { return (last = at_gateway("/private/a")).find("ask at the desk") != std::string::npos; }))
      << last << mesh_->log();
  EXPECT_THAT(last, HasSubstr("HTTP/1.1 401 "));
  EXPECT_THAT(at_gateway("/open"), HasSubstr("shop")) << "nobody is asked";
  EXPECT_THAT(at_gateway("/private/a", "x-pass: open"), HasSubstr("let in by the desk"));
}

}  // namespace
}  // namespace weft::harness
