// Plain connections to a pod whose policies ask about requests: the kernel hands them to the proxy, which
// judges each request; without such a policy, and for what needs no request, nobody stands in between.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "tests/harness/mesh_test.h"
#include "tests/unit/identity/pki.h"

namespace weft::harness {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr uint16_t kHttp = 8090, kTcp = 7009;

class InboundTest : public MeshTest {
 protected:
  // The client pod of the fixture, which is captured, is the server here.
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto nginx = start_nginx(*sandbox_, client_, kHttp, "served", 64 << 20);
    ASSERT_TRUE(nginx.ok()) << nginx.status();
    servers_.push_back(std::move(*nginx));
    auto whoami = start_peer(client_, "whoami", kTcp);
    ASSERT_TRUE(whoami.ok()) << whoami.status();
    servers_.push_back(std::move(*whoami));
  }

  void use_policy(const std::string& spec) {
    mesh_->manifests().write(
        "policy.yaml",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, "
        "namespace: default}\nspec: " +
            spec + "\n");
  }
  // The status of an answer; "000": there was none.
  static std::string status_of(const Pod& from, const SocketAddress& at, const std::string& path) {
    return curl(from, {"--max-time", "5", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                       "http://" + at.to_string() + path})
        .output;
  }
  ::testing::AssertionResult comes_to(const Pod& from, const SocketAddress& at, const std::string& path,
                                      const std::string& status) {
    std::string last;
    if (wait_until(milliseconds(20'000), [&] { return (last = status_of(from, at, path)) == status; }))
      return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << path << " gives " << last << "\n" << mesh_->log();
  }
  static bool dials(const Pod& from, const SocketAddress& at) {
    return peer(from, {"dial", at.to_string()}).output.find("\npeer=") != std::string::npos;
  }
  bool logged(const std::string& expression) {
    return wait_until(milliseconds(20'000),
                      [&] { return ::testing::Matches(ContainsRegex(expression))(mesh_->log()); });
  }
};

TEST_F(InboundTest, EachRequestOfAPlainClientIsJudged) {
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin/x", "200"));
  use_policy("{action: DENY, rules: [{to: [{operation: {ports: [\"8090\"], paths: [/admin/*]}}]}]}");
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin/x", "403"));
  EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/ok"), "200");
  EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/ok/../%61dmin/x"), "403");
  EXPECT_EQ(status_of(v1_, client_.v6(kHttp), "/admin/x"), "403");
  EXPECT_EQ(status_of(v1_, client_.v6(kHttp), "/ok"), "200");
  EXPECT_EQ(curl(v1_, {"--max-time", "5", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                       "--http2-prior-knowledge", "http://" + client_.v4(kHttp).to_string() + "/admin/x"})
                .output,
            "403");
  EXPECT_TRUE(dials(v1_, client_.v4(kTcp))) << "no request could change the verdict there";
  EXPECT_TRUE(logged("request_denied.*policy=default/p"));
  EXPECT_TRUE(logged("path=/ok .*status=200 .*direction=inbound"));
  EXPECT_TRUE(logged("path=/admin/x .*status=403 .*outcome=access_denied .*direction=inbound"));
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(
        ContainsRegex("weft_requests_total\\{[^}]*source_workload=\"unknown\"[^}]*"
                      "destination_workload=\"" +
                      client_.name))(mesh_->metrics());
  })) << mesh_->metrics();
  // The agent says the same, and why.
  const CommandResult denied =
      mesh_->cli({"authz", "check", v1_.name, client_.name + ":8090", "--http", "GET /admin/x"});
  EXPECT_EQ(denied.exit_code, 79) << denied.output << denied.errors;
  EXPECT_THAT(denied.output, ContainsRegex("denied by default/p rules\\[0\\] \\(.*policy.yaml:1\\)"));
  EXPECT_EQ(mesh_->cli({"authz", "check", v1_.name, client_.name + ":8090", "--http", "GET /ok"}).exit_code,
            0);
  EXPECT_EQ(mesh_->cli({"authz", "explain", v1_.name, client_.name + ":7009"}).exit_code, 0);
  mesh_->manifests().remove("policy.yaml");
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin/x", "200"));
  // Nobody stands in between any more.
  mesh_->kill_proxy();
  EXPECT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin/x", "200"));
}

TEST_F(InboundTest, TlsIsJudgedByTheServerThatItsClientAsksFor) {
  const test::Leaf leaf = test::make_leaf(test::make_authority("own"), {.names = {{GEN_DNS, "any"}}});
  const std::string place = sandbox_->directory() + "/tls";
  std::ofstream(place + ".crt") << to_pem(leaf.certificate.get());
  std::ofstream(place + ".key") << test::key_pem(leaf.key.get());
  auto server = Process::start(in_pod(
      client_, {"/usr/bin/python3", "tests/harness/tls_server.py", "8443", place + ".crt", place + ".key"}));
  ASSERT_TRUE(server.ok()) << server.status();
  servers_.push_back(std::move(*server));
  ASSERT_TRUE(wait_for_port(client_.netns, client_.v4(8443), servers_.back().get()).ok());
  const auto ask = [&](const SocketAddress& at, const std::string& name) {
    const std::string host = name + ":8443";
    return curl(v1_, {"--max-time", "5", "-s", "-k", "--connect-to", host + ":" + at.to_string(),
                      "https://" + host + "/"})
        .output;
  };
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ask(client_.v4(8443), "bad.example").find("sni=bad.example") != std::string::npos;
  })) << mesh_->log();
  use_policy(
      "{action: ALLOW, rules: [{to: [{operation: {ports: [\"8443\"]}}], "
      "when: [{key: connection.sni, values: [\"*.good.example\"]}]}]}");
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] { return ask(client_.v4(8443), "bad.example").empty(); }))
      << mesh_->log();
  EXPECT_THAT(ask(client_.v4(8443), "a.good.example"), HasSubstr("sni=a.good.example"));
  EXPECT_THAT(ask(client_.v6(8443), "a.good.example"), HasSubstr("sni=a.good.example"));
  EXPECT_EQ(ask(client_.v6(8443), "bad.example"), "");
  EXPECT_EQ(status_of(v1_, client_.v4(8443), "/"), "000") << "without TLS nobody names a server";
  EXPECT_TRUE(logged("connection_denied.*policy=default/p"));
  const auto exit_of = [&](const char* name) {
    return mesh_->cli({"authz", "check", v1_.name, client_.name + ":8443", "--tls", name}).exit_code;
  };
  EXPECT_EQ(exit_of("bad.example"), 79);
  EXPECT_EQ(exit_of("a.Good.example"), 0);
}

TEST_F(InboundTest, APodOfThisNodeIsKnownByItsNamespaceAndOthersAreNobody) {
  auto other = topology_->add_pod(1, "other");
  ASSERT_TRUE(other.ok()) << other.status();
  mesh_->manifests().write("other.yaml", pod_yaml(*other, {{"app", "other"}}, true));
  ASSERT_TRUE(comes_to(*other, client_.v4(kHttp), "/ok", "200"));
  use_policy(
      "{action: ALLOW, rules: [{from: [{source: {namespaces: [default]}}], to: [{operation: {paths: "
      "[/ok]}}]}, "
      "{to: [{operation: {paths: [/open]}}]}]}");
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/ok", "403"));
  EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/open"), "200");
  EXPECT_TRUE(comes_to(*other, client_.v4(kHttp), "/ok", "200"));
  EXPECT_EQ(status_of(*other, client_.v4(kHttp), "/no"), "403");
  EXPECT_FALSE(dials(v1_, client_.v4(kTcp))) << "what is no HTTP is allowed by no path";
}

TEST_F(InboundTest, APolicyThatDecidesNothingCountsWhatItWouldSay) {
  use_policy("{action: AUDIT, rules: [{to: [{operation: {paths: [/seen]}}]}]}");
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/seen"), "200");
    return ::testing::Matches(ContainsRegex("weft_proxy_policy_audited_total [1-9]"))(mesh_->metrics());
  })) << mesh_->log();
  EXPECT_TRUE(dials(v1_, client_.v4(kTcp)));
  EXPECT_TRUE(logged("audited.*policy=default/p"));
  mesh_->manifests().write("policy.yaml",
                           "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, "
                           "namespace: default, annotations: {istio.io/dry-run: \"true\"}}\nspec: {}\n");
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/ok"), "200");
    return ::testing::Matches(ContainsRegex("weft_proxy_policy_shadow_denied_total [1-9]"))(mesh_->metrics());
  })) << mesh_->log();
  EXPECT_TRUE(dials(v1_, client_.v4(kTcp)));
  // A line a second, of both kinds: the next one may be of a later request.
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/ok"), "200");
    return ::testing::Matches(ContainsRegex("shadow_denied.*policy=default/p"))(mesh_->log());
  }));
}

TEST_F(InboundTest, AChangeEndsALiveAnswerThatItForbids) {
  use_policy("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}");
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin", "403"));
  const std::string got = sandbox_->directory() + "/got";
  Spawn slow = in_pod(v1_, {"curl", "--max-time", "60", "-s", "--limit-rate", "200k", "-o", got,
                            "http://" + client_.v4(kHttp).to_string() + "/file"});
  auto download = Process::start(slow);
  ASSERT_TRUE(download.ok()) << download.status();
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("[1-9]"))(run(Spawn{.argv = {"stat", "-c", "%s", got}}).output);
  }));
  use_policy("{action: DENY, rules: [{to: [{operation: {paths: [/file]}}]}]}");
  EXPECT_NE((*download)->wait(milliseconds(30'000)), 0);
  EXPECT_TRUE(logged("path=/file .*outcome=access_denied .*direction=inbound"));
}

TEST_F(InboundTest, WithoutAProxyTheFailModeDecides) {
  use_policy("{action: DENY, rules: [{to: [{operation: {ports: [\"8090\"], paths: [/admin]}}]}]}");
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin", "403"));
  mesh_->proxy().signal(SIGSTOP);
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return curl(v1_, {"--max-time", "1", "-s", "http://" + client_.v4(kHttp).to_string() + "/ok"})
               .exit_code == 7;
  })) << mesh_->log();
  EXPECT_THAT(mesh_->cli({"status"}).output, HasSubstr(" inbound: "));
  mesh_->proxy().signal(SIGCONT);
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/ok", "200"));
  EXPECT_EQ(status_of(v1_, client_.v4(kHttp), "/admin"), "403");
  // A proxy that comes again serves it, too, and so does an agent.
  EXPECT_EQ(mesh_->stop_proxy(), 0);
  ASSERT_TRUE(mesh_->start_proxy().ok());
  ASSERT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin", "403"));
  ASSERT_TRUE(listeners_shared());
  EXPECT_EQ(mesh_->stop_agent(), 0);
  ASSERT_TRUE(mesh_->start_agent().ok());
  EXPECT_TRUE(comes_to(v1_, client_.v4(kHttp), "/admin", "403"));
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] { return mesh_->cli({"diff"}).exit_code == 0; }))
      << mesh_->cli({"diff"}).output;
}

}  // namespace
}  // namespace weft::harness
