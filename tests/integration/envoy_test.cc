// Envoy, which nobody here wrote, as a node's peer: with an internal listener whose tunneling_config opens
// tunnels it calls a pod through its node, and with CONNECT terminated on port 15008 it is called by one;
// HTTP and raw TCP each, and refused both ways under another identity. Envoy is what tools/envoy finds.
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "tests/integration/two_nodes.h"

namespace weft::harness {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFolder[] = "tests/integration/envoy/";
constexpr char kCaller[] = "spiffe://cluster.local/ns/elsewhere/sa/caller";
constexpr char kNobody[] = "spiffe://cluster.local/ns/default/sa/nobody";
constexpr uint16_t kHttp = 8080;
constexpr uint16_t kTcp = 7002;
constexpr milliseconds kLimit{30'000};

std::string& envoy() {
  static std::string path;
  return path;
}

class EnvoyTest : public HboneTest {
 protected:
  // Whom it is to be, and whom it is to talk to.
  struct Terms {
    std::string id;
    std::string peer;
  };

  // `form` of tests/integration/envoy, for the pod at `target`, running in `pod`.
  absl::StatusOr<std::unique_ptr<Process>> start_envoy(const std::string& form, const Pod& pod,
                                                       const Pod& target, const Terms& terms) {
    const std::vector<std::string> files = credentials(form, terms.id);
    std::stringstream text;
    text << std::ifstream(kFolder + form + ".yaml").rdbuf();
    std::string config = text.str();
    const std::pair<const char*, std::string> values[] = {{"@CERTIFICATE@", files[0]},
                                                          {"@KEY@", files[1]},
                                                          {"@ROOTS@", files[2]},
                                                          {"@PEER@", terms.peer},
                                                          {"@POD@", target.ip4.to_string()},
                                                          {"@HTTP_TARGET@", target.v4(kHttp).to_string()},
                                                          {"@TCP_TARGET@", target.v4(kTcp).to_string()}};
    for (const auto& [name, value] : values) {
      for (size_t at = 0; (at = config.find(name)) != std::string::npos;)
        config.replace(at, std::string_view(name).size(), value);
    }
    const std::string file = str_cat(sandbox_->directory(), "/", form, ".yaml");
    std::ofstream(file) << config;
    return Process::start(in_pod(pod, {envoy(), "--config-path", file, "--disable-hot-restart",
                                       "--concurrency", "1", "--log-level", "warning"}));
  }

  // In a pod of node 1 that no mesh knows; returns when it listens.
  void start_calling(const Terms& terms) {
    auto started = start_envoy("calling", stranger_, server_, terms);
    ASSERT_TRUE(started.ok()) << started.status();
    envoy_ = *std::move(started);
    for (const uint16_t port : {uint16_t{9080}, uint16_t{9070}})
      ASSERT_TRUE(
          wait_for_port(stranger_.netns, *SocketAddress::parse(str_cat("127.0.0.1:", port)), envoy_.get())
              .ok())
          << envoy_->output();
  }
  CommandResult call_http() {
    return curl(stranger_, {"--max-time", "5", "-w", " %{http_code}", "http://127.0.0.1:9080/"});
  }
  CommandResult call_tcp() { return peer(stranger_, {"dial", "127.0.0.1:9070"}); }

  // Beside two servers in a pod of node 2 that is told to be one which speaks HBONE itself.
  void start_serving(const Terms& terms) {
    auto pod = topology_->add_pod(2, "foreign");
    ASSERT_TRUE(pod.ok()) << pod.status();
    foreign_ = *pod;
    auto nginx = start_nginx(*sandbox_, foreign_, kHttp, kAnswer);
    ASSERT_TRUE(nginx.ok()) << nginx.status();
    servers_.push_back(*std::move(nginx));
    auto whoami = start_peer(foreign_, "whoami", kTcp);
    ASSERT_TRUE(whoami.ok()) << whoami.status();
    servers_.push_back(*std::move(whoami));
    auto started = start_envoy("serving", foreign_, foreign_, terms);
    ASSERT_TRUE(started.ok()) << started.status();
    envoy_ = *std::move(started);
    ASSERT_TRUE(wait_for_port(foreign_.netns, foreign_.v4(15008), envoy_.get()).ok()) << envoy_->output();
    node1_->manifests().write(
        "foreign.yaml",
        pod_yaml(foreign_, {{"app", "foreign"}, {"networking.istio.io/tunnel", "http"}}, false) +
            service_yaml({.name = "foreign",
                          .ip4 = "10.96.0.30",
                          .ip6 = "",
                          .ports = {{.name = "http", .port = 80, .target_port = kHttp},
                                    {.name = "tcp-whoami", .port = 7000, .target_port = kTcp}}}));
  }

  Pod foreign_;
  std::unique_ptr<Process> envoy_;
};

TEST_F(EnvoyTest, EnvoyCallsAPodThroughItsNode) {
  start_calling({.id = kCaller, .peer = kDefaultId});
  const CommandResult http = call_http();
  EXPECT_THAT(http.output, HasSubstr(kAnswer)) << envoy_->output() << logs();
  EXPECT_THAT(http.output, HasSubstr(" 200"));
  const CommandResult tcp = call_tcp();
  EXPECT_THAT(tcp.output, HasSubstr(str_cat(" local=", server_.v4(kTcp).to_string())))
      << tcp.errors << envoy_->output() << logs();
  // Many on the tunnels that are there, and new ones.
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(call_http().output, HasSubstr(kAnswer)) << envoy_->output() << logs();
    EXPECT_EQ(call_tcp().exit_code, 0) << envoy_->output() << logs();
  }
  // The node says of each tunnel who came by it.
  EXPECT_TRUE(wait_until(kLimit, [&] {
    return ::testing::Matches(
        ContainsRegex(str_cat("identity=", kCaller, " dialled=", server_.v4(kTcp).to_string(),
                              " .*workload=product protocol=hbone status=200 outcome=ok .*sent=[1-9][0-9]* "
                              "direction=inbound")))(node2_->log());
  })) << logs();
}

TEST_F(EnvoyTest, EnvoyRefusesANodeWhosePodIsAnother) {
  start_calling({.id = kCaller, .peer = kNobody});
  EXPECT_THAT(call_http().output, HasSubstr(" 503")) << envoy_->output();
  EXPECT_THAT(call_http().output, Not(HasSubstr(kAnswer)));
  EXPECT_THAT(call_tcp().output, Not(HasSubstr("\npeer="))) << envoy_->output();
}

TEST_F(EnvoyTest, ANodeRefusesAnEnvoyOfAnotherTrustDomain) {
  start_calling({.id = "spiffe://elsewhere/ns/default/sa/caller", .peer = kDefaultId});
  EXPECT_THAT(call_http().output, Not(HasSubstr(kAnswer))) << logs();
  EXPECT_THAT(call_tcp().output, Not(HasSubstr("\npeer="))) << logs();
  EXPECT_TRUE(wait_until(kLimit, [&] {
    call_http();
    return ::testing::Matches(ContainsRegex("peer_refused .*fault=wrong_trust_domain"))(node2_->log());
  })) << logs();
}

TEST_F(EnvoyTest, APodCallsAWorkloadBehindEnvoy) {
  start_serving({.id = kDefaultId, .peer = kDefaultId});
  ASSERT_TRUE(answers(client_, "10.96.0.30:80")) << envoy_->output() << logs();
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(curl(client_, {"--fail", "http://10.96.0.30/"}).output, HasSubstr(kAnswer))
        << envoy_->output() << logs();
    EXPECT_THAT(peer(client_, {"dial", "10.96.0.30:7000"}).output, HasSubstr("\npeer=127.0.0.1:"))
        << envoy_->output() << logs();
  }
  // It writes its log every few seconds.
  for (const uint16_t port : {kHttp, kTcp}) {
    const std::string line =
        str_cat("tunnel ", foreign_.v4(port).to_string(), " from ", kDefaultId, " status 200");
    EXPECT_TRUE(wait_until(kLimit, [&] { return envoy_->output().find(line) != std::string::npos; }))
        << line << "\n"
        << envoy_->output();
  }
}

TEST_F(EnvoyTest, ANodeRefusesAnEnvoyOfAnotherIdentity) {
  start_serving({.id = kNobody, .peer = kDefaultId});
  EXPECT_TRUE(wait_until(
      kLimit,
      [&] {
        EXPECT_THAT(curl(client_, {"--max-time", "5", "http://10.96.0.30/"}).output, Not(HasSubstr(kAnswer)));
        return ::testing::Matches(ContainsRegex("peer_refused .*fault=wrong_identity"))(node1_->log());
      }))
      << envoy_->output() << logs();
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.30:7000"}).output, Not(HasSubstr("\npeer="))) << logs();
  EXPECT_THAT(envoy_->output(), Not(HasSubstr("status 200")));
}

TEST_F(EnvoyTest, EnvoyRefusesANodeThatCallsForAnotherIdentity) {
  start_serving({.id = kDefaultId, .peer = kNobody});
  EXPECT_TRUE(wait_until(kLimit,
                         [&] {
                           EXPECT_THAT(curl(client_, {"--max-time", "5", "http://10.96.0.30/"}).output,
                                       Not(HasSubstr(kAnswer)));
                           return ::testing::Matches(ContainsRegex(
                               "peer_refused .*fault=(refused_by_peer|truncated)"))(node1_->log());
                         }))
      << envoy_->output() << logs();
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.30:7000"}).output, Not(HasSubstr("\npeer="))) << logs();
  EXPECT_THAT(envoy_->output(), Not(HasSubstr("status 200")));
}

}  // namespace
}  // namespace weft::harness

// As tests/harness/main.cc, and where there is no Envoy.
int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::string reason = weft::harness::skip_reason();
  if (reason.empty()) {
    const weft::harness::CommandResult found = weft::harness::run({.argv = {"tools/envoy"},
                                                                   .netns = "",
                                                                   .cgroup = "",
                                                                   .environment = {},
                                                                   .separate_errors = true,
                                                                   .input = ""});
    if (found.exit_code != 0) reason = found.errors;
    weft::harness::envoy() = found.output.substr(0, found.output.find('\n'));
  }
  if (!reason.empty()) {
    std::fprintf(stderr, "\n*** SKIPPED, NOTHING WAS TESTED: %s ***\n\n", reason.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
