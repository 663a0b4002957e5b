// Two nodes with an agent and a proxy each, whose authorities share a root: what their pods say to each other
// is read by nobody in between, STRICT refuses plaintext before the application sees it, and peers of another
// language (tests/harness/hbone_peer.py) call through a node and are called by it.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/status_macros.h"
#include "base/strings.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"
#include "tests/integration/two_nodes.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/identity/tokens.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kQuestion[] = "the-question-nobody-may-read";
// Of a proxy that was built as this test is: the leak checker of a sanitizer has to trace it.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kConfined = false;
#else
constexpr bool kConfined = true;
#endif

// All bytes that pass a link, until it is destroyed.
class Capture {
 public:
  Capture(const std::string& netns, const char* link) {
    EXPECT_TRUE(in_namespace(netns, [&] {
                  socket_.reset(
                      ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
                  sockaddr_ll address{};
                  address.sll_family = AF_PACKET;
                  address.sll_protocol = htons(ETH_P_ALL);
                  address.sll_ifindex = static_cast<int>(::if_nametoindex(link));
                  bound_ = ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
                }).ok());
    EXPECT_TRUE(bound_);
    thread_ = std::thread([this] { read(); });
  }
  ~Capture() { stop(); }

  // What passed.
  std::string stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return bytes_;
  }

 private:
  void read() {
    std::string packet(70'000, '\0');
    for (bool last = false; !last;) {
      last = stopping_;
      pollfd ready{socket_.get(), POLLIN, 0};
      ::poll(&ready, 1, 20);
      for (ssize_t n = 0; (n = ::recv(socket_.get(), packet.data(), packet.size(), 0)) > 0;)
        bytes_.append(packet, 0, static_cast<size_t>(n));
    }
  }

  UniqueFd socket_;
  bool bound_ = false;
  std::atomic<bool> stopping_ = false;
  std::string bytes_;
  std::thread thread_;
};

TEST_F(HboneTest, NobodyBetweenTheNodesReadsWhatPodsSay) {
  Capture link(topology_->host_netns(1), "up0");
  const CommandResult http =
      curl(client_, {"--fail", "-H", str_cat("x-question: ", kQuestion), "http://10.96.0.10/"});
  EXPECT_THAT(http.output, HasSubstr(kAnswer)) << logs();
  const CommandResult tcp = peer(client_, {"dial", "10.96.0.10:7000"});
  EXPECT_THAT(tcp.output, HasSubstr("\npeer=" + server_.ip4.to_string())) << tcp.errors << logs();
  const CommandResult by_address = curl(client_, {"--fail", "http://" + server_.v4(8080).to_string() + "/"});
  EXPECT_THAT(by_address.output, HasSubstr(kAnswer)) << logs();
  const std::string seen = link.stop();
  EXPECT_GT(seen.size(), 1000u);
  for (const char* secret : {kQuestion, kAnswer, "peer=10.77.", "HTTP/1.1"})
    EXPECT_THAT(seen, Not(HasSubstr(secret)));

  EXPECT_THAT(node1_->cli({"cert", "list"}).output, HasSubstr(kDefaultId));
  EXPECT_THAT(node2_->cli({"cert", "show", "default/sa/default"}).output, HasSubstr("state: valid"));

  // The same capture does see what is not encrypted.
  Capture plain(topology_->host_netns(1), "up0");
  EXPECT_EQ(curl(stranger_, {"--fail", "http://" + server_.v4(8080).to_string() + "/"}).exit_code, 0);
  EXPECT_THAT(plain.stop(), HasSubstr(kAnswer));
}

TEST_F(HboneTest, StrictRefusesPlaintextBeforeTheApplicationAndLetsTheMeshPass) {
  EXPECT_EQ(curl(stranger_, {"--fail", "--max-time", "3", "http://" + server_.v4(8080).to_string() + "/"})
                .exit_code,
            0);
  // A tunnel that is open when the policy comes, and stays.
  EXPECT_THAT(curl(client_, {"--fail", "http://10.96.0.10/"}).output, HasSubstr(kAnswer)) << logs();
  node1_->manifests().write(
      "strict.yaml",
      "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n"
      "  namespace: default\nspec:\n  mtls:\n    mode: STRICT\n");
  // Not by trying: a plain connection that is open just then would be closed, and counted.
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ::testing::Matches(ContainsRegex("policy_enforced.*pod=default/product "))(node2_->log());
  })) << logs();
  EXPECT_NE(curl(stranger_, {"--max-time", "2", "http://" + server_.v4(8080).to_string() + "/"}).exit_code, 0)
      << logs();
  EXPECT_THAT(curl(client_, {"--fail", "http://10.96.0.10/"}).output, HasSubstr(kAnswer)) << logs();
  EXPECT_THAT(logs(), ContainsRegex("policy_enforced.*closed=0"));
  EXPECT_THAT(logs(), Not(ContainsRegex("policy_enforced.*closed=[1-9]")));
  node1_->manifests().remove("strict.yaml");
  EXPECT_TRUE(answers(stranger_, server_.v4(8080).to_string())) << logs();
}

// Of one node: in plain, as a pod is known by its namespace, unless a policy wants more.
TEST_F(HboneTest, PodsOfOneNodeEncryptWhereAPolicySaysSo) {
  const auto said = [this] {
    Capture link(server_.netns, "eth0");
    const CommandResult http = curl(neighbour_, {"--fail", "--max-time", "3", "-H",
                                                 str_cat("x-question: ", kQuestion), "http://10.96.0.10/"});
    EXPECT_THAT(http.output, HasSubstr(kAnswer)) << logs();
    const CommandResult tcp = peer(neighbour_, {"dial", "10.96.0.10:7000"});
    EXPECT_THAT(tcp.output, HasSubstr("\npeer=")) << tcp.errors << logs();
    return link.stop();
  };
  ASSERT_TRUE(answers(neighbour_, "10.96.0.10:80")) << logs();
  EXPECT_THAT(said(), HasSubstr(kQuestion));
  const auto strict = [](const char* annotations) {
    return str_cat(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n"
        "  namespace: default\n  annotations: {",
        annotations, "}\nspec:\n  mtls:\n    mode: STRICT\n");
  };
  node1_->manifests().write("strict.yaml", strict("weft.dev/same-node: encrypt"));
  std::string seen;
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    seen = said();
    return seen.find(kQuestion) == std::string::npos;
  })) << logs();
  EXPECT_THAT(seen, HasSubstr("\x17\x03\x03")) << "records of TLS";
  for (const char* secret : {kQuestion, kAnswer, "peer=10.77.", "HTTP/1.1"})
    EXPECT_THAT(seen, Not(HasSubstr(secret)));
  node1_->manifests().write("strict.yaml", strict(""));
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] { return said().find(kQuestion) != std::string::npos; }))
      << logs();
}

TEST_F(HboneTest, EachRequestIsJudgedWhereItsServerIsWhateverNodeItComesFrom) {
  ASSERT_TRUE(answers(neighbour_, "10.96.0.10:80")) << logs();
  node1_->manifests().write(
      "policy.yaml",
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: no-admin\n"
      "  namespace: default\nspec:\n  selector: {matchLabels: {app: product}}\n  action: DENY\n  rules:\n"
      "  - to: [{operation: {paths: [/admin, \"/admin/*\"]}}]\n");
  for (const Pod* from : {&client_, &neighbour_}) {
    const auto get = [&](const char* path) {
      return curl(*from, {"--path-as-is", "--max-time", "3", "-w", " %{http_code}",
                          str_cat("http://10.96.0.10", path)})
          .output;
    };
    EXPECT_TRUE(wait_until(milliseconds(20'000), [&] { return get("/admin") == "RBAC: access denied 403"; }))
        << get("/admin") << logs();
    for (const char* path : {"/admin/x", "/a/../admin", "/%61dmin", "//admin", "/a/..%2fadmin", "/admin?x"})
      EXPECT_EQ(get(path), "RBAC: access denied 403") << path;
    EXPECT_THAT(get("/"), AllOf(HasSubstr(kAnswer), HasSubstr(" 200"))) << logs();
  }
  // At most one line a second says which policy it was.
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    curl(client_, {"--max-time", "3", "http://10.96.0.10/admin"});
    return ::testing::Matches(ContainsRegex("request_denied.*policy=default/no-admin"))(logs());
  })) << logs();
  // What comes in plain is read by the server's node too.
  const auto plainly = [&](const char* path) {
    return curl(stranger_, {"--max-time", "3", "-w", " %{http_code}",
                            str_cat("http://", server_.v4(8080).to_string(), path)})
        .output;
  };
  EXPECT_TRUE(
      wait_until(milliseconds(20'000), [&] { return plainly("/admin") == "RBAC: access denied 403"; }))
      << plainly("/admin") << logs();
  EXPECT_THAT(plainly("/"), AllOf(HasSubstr(kAnswer), HasSubstr(" 200"))) << logs();
  node1_->manifests().remove("policy.yaml");
  EXPECT_TRUE(answers(stranger_, server_.v4(8080).to_string())) << logs();
}

TEST_F(HboneTest, TokensAreLookedAtWhereTheServerIs) {
  const KeyPtr key = test::ec_key("P-256");
  node1_->manifests().write(
      "tokens.yaml",
      str_cat("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata:\n  name: tokens\n"
              "  namespace: default\nspec:\n  selector: {matchLabels: {app: product}}\n  jwtRules:\n"
              "  - issuer: test\n    jwks: '",
              test::jwk_set(test::jwk(key.get())),
              "'\n---\n"
              "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: admins\n"
              "  namespace: default\nspec:\n  selector: {matchLabels: {app: product}}\n  rules:\n"
              "  - to: [{operation: {notPaths: [/admin]}}]\n"
              "  - when: [{key: \"request.auth.claims[realm][role]\", values: [admin]}]\n"));
  const std::string admin = test::make_token(
      "ES256", key.get(), R"({"iss":"test","sub":"me","realm":{"role":["dev","admin"]}})", "");
  const std::string guest = test::make_token("ES256", key.get(), R"({"iss":"test","sub":"me"})", "");
  for (const Pod* from : {&client_, &neighbour_}) {
    const auto get = [&](const char* path, const std::string& token) {
      std::vector<std::string> args = {"-s", "--max-time",    "3",
                                       "-w", " %{http_code}", str_cat("http://10.96.0.10", path)};
      if (!token.empty()) args.insert(args.end(), {"-H", str_cat("Authorization: Bearer ", token)});
      return curl(*from, args).output;
    };
    EXPECT_TRUE(
        wait_until(milliseconds(20'000), [&] { return get("/", "a.b.c") == "Jwt verification fails 401"; }))
        << get("/", "a.b.c") << logs();
    EXPECT_THAT(get("/", ""), HasSubstr(" 200")) << logs();
    EXPECT_EQ(get("/admin", ""), "RBAC: access denied 403");
    EXPECT_EQ(get("/admin", guest), "RBAC: access denied 403");
    EXPECT_THAT(get("/admin", admin), AllOf(HasSubstr(kAnswer), HasSubstr(" 200"))) << logs();
  }
  node1_->manifests().remove("tokens.yaml");
  EXPECT_TRUE(answers(stranger_, server_.v4(8080).to_string())) << logs();
}

TEST_F(HboneTest, TheProxyKeepsNoMoreThanItNeeds) {
  // It serves, so it is confined.
  ASSERT_TRUE(answers(client_, "10.96.0.10:80")) << logs();
  for (const auto& node : {&node1_, &node2_}) {
    std::ifstream file(str_cat("/proc/", (*node)->proxy().pid(), "/status"));
    const std::string status((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    for (const char* set : {"CapEff", "CapPrm", "CapBnd"})
      EXPECT_THAT(status, HasSubstr(str_cat(set, ":\t0000000000200000\n")));
    for (const char* set : {"CapInh", "CapAmb"})
      EXPECT_THAT(status, HasSubstr(str_cat(set, ":\t0000000000000000\n")));
    EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
    EXPECT_THAT(status, HasSubstr(str_cat("Seccomp:\t", kConfined ? 2 : 0, "\n")));
  }
}

TEST_F(HboneTest, APeerOfAnotherLanguageCallsThroughANode) {
  const std::string request = str_cat("GET / HTTP/1.0\\r\\nx-question: ", kQuestion, "\\r\\n\\r\\n");
  const auto good = credentials("caller", "spiffe://cluster.local/ns/elsewhere/sa/caller");
  const CommandResult served = tunnel(good, server_.v4(8080).to_string(), request);
  EXPECT_THAT(served.output, HasSubstr("status 200")) << served.errors << logs();
  EXPECT_THAT(served.output, HasSubstr(kAnswer));
  EXPECT_THAT(tunnel(good, server_.v4(81).to_string(), request).output, HasSubstr("status 503"))
      << "nobody listens";
  EXPECT_THAT(tunnel(good, server_.v4(15001).to_string(), request).output, HasSubstr("status 503"));
  EXPECT_THAT(tunnel(good, "no-address", request).output, HasSubstr("status 400"));
  for (const auto& bad : {credentials("foreign", "spiffe://elsewhere/ns/default/sa/default"),
                          credentials("unknown", kDefaultId, false)})
    EXPECT_THAT(tunnel(bad, server_.v4(8080).to_string(), request).output, Not(HasSubstr("status")))
        << logs();

  node1_->manifests().write(
      "deny.yaml",
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: no-callers\n"
      "  namespace: default\nspec:\n  action: DENY\n  rules:\n  - from:\n    - source:\n        principals:\n"
      "        - cluster.local/ns/elsewhere/sa/caller\n");
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return tunnel(good, server_.v4(8080).to_string(), request).output.find("status 401") != std::string::npos;
  })) << logs();
  EXPECT_THAT(curl(client_, {"--fail", "http://10.96.0.10/"}).output, HasSubstr(kAnswer))
      << "only that caller";
}

TEST_F(HboneTest, ANodeCallsAPeerOfAnotherLanguage) {
  auto pod = topology_->add_pod(2, "foreign");
  ASSERT_TRUE(pod.ok()) << pod.status();
  std::vector<std::string> argv = {kPython, kScript, "serve"};
  for (const std::string& file : credentials("foreign-server", kDefaultId)) argv.push_back(file);
  argv.insert(argv.end(), {kDefaultId, str_cat("HTTP/1.1 200 OK\\r\\ncontent-length: ",
                                               std::string(kAnswer).size(), "\\r\\n\\r\\n", kAnswer)});
  auto server = Process::start(in_pod(*pod, std::move(argv)));
  ASSERT_TRUE(server.ok()) << server.status();
  ASSERT_TRUE(wait_for_port(pod->netns, pod->v4(15008), server->get()).ok()) << (*server)->output();
  std::string yaml = pod_yaml(*pod, {{"app", "foreign"}, {"networking.istio.io/tunnel", "http"}}, false);
  node1_->manifests().write(
      "foreign.yaml", yaml + service_yaml({.name = "foreign",
                                           .ip4 = "10.96.0.30",
                                           .ip6 = "",
                                           .ports = {{.name = "http", .port = 80, .target_port = 9080}}}));
  ASSERT_TRUE(answers(client_, "10.96.0.30:80")) << (*server)->output() << logs();
  EXPECT_THAT(curl(client_, {"--fail", "http://10.96.0.30/"}).output, HasSubstr(kAnswer));
  EXPECT_THAT((*server)->output(), HasSubstr(str_cat("caller ", kDefaultId)));
  EXPECT_THAT((*server)->output(), HasSubstr(str_cat("CONNECT ", pod->v4(9080).to_string())));
}

}  // namespace
}  // namespace weft::harness
