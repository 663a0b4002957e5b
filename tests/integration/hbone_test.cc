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
#include "tests/harness/mesh.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/identity/tokens.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// The distribution's, which has its package python3-h2.
constexpr char kPython[] = "/usr/bin/python3";
constexpr char kScript[] = "tests/harness/hbone_peer.py";
constexpr char kQuestion[] = "the-question-nobody-may-read";
constexpr char kAnswer[] = "the-answer-nobody-may-read";
// Of a proxy that was built as this test is: the leak checker of a sanitizer has to trace it.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kConfined = false;
#else
constexpr bool kConfined = true;
#endif
constexpr char kDefaultId[] = "spiffe://cluster.local/ns/default/sa/default";

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

// Tells other nodes that the pod takes tunnels, as whoever captures it does in Istio.
std::string with_tunnels(std::string yaml) {
  const std::string key = "  annotations:\n";
  const size_t at = yaml.find(key);
  EXPECT_NE(at, std::string::npos) << yaml;
  return yaml.insert(at + key.size(), "    ambient.istio.io/redirection: enabled\n");
}

class HboneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status status = build();
    ASSERT_TRUE(status.ok()) << status << logs();
    ASSERT_TRUE(answers(client_, "10.96.0.10:80")) << logs();
  }

  void TearDown() override {
    for (const auto& node : {&node1_, &node2_}) {
      if (*node == nullptr) continue;
      EXPECT_EQ((*node)->stop_proxy(), 0) << (*node)->log();
      EXPECT_EQ((*node)->stop_agent(), 0) << (*node)->log();
      EXPECT_EQ((*node)->sanitizer_reports(), "");
    }
    EXPECT_THAT(logs(), Not(HasSubstr("PRIVATE KEY")));
  }

  absl::Status build() {
    ASSIGN_OR_RETURN(sandbox_, Sandbox::create());
    ASSIGN_OR_RETURN(topology_, Topology::create(*sandbox_, 2));
    ASSIGN_OR_RETURN(client_, add_pod(1, "client"));
    ASSIGN_OR_RETURN(server_, add_pod(2, "product"));
    ASSIGN_OR_RETURN(neighbour_, add_pod(2, "neighbour"));
    ASSIGN_OR_RETURN(stranger_, topology_->add_pod(1, "stranger"));
    ASSIGN_OR_RETURN(auto nginx, start_nginx(*sandbox_, server_, 8080, kAnswer));
    servers_.push_back(std::move(nginx));
    ASSIGN_OR_RETURN(auto whoami, start_peer(server_, "whoami", 7002));
    servers_.push_back(std::move(whoami));
    node1_ = std::make_unique<Mesh>(*sandbox_, 1, "n1");
    node2_ = std::make_unique<Mesh>(*sandbox_, 2, "n2");
    for (Mesh* node : {node1_.get(), node2_.get()}) give_authority(node->run_dir());
    describe();
    for (Mesh* node : {node1_.get(), node2_.get()}) {
      RETURN_IF_ERROR(node->start_agent());
      RETURN_IF_ERROR(node->start_proxy());
    }
    return absl::OkStatus();
  }

  // In the cgroup that its node's agent watches.
  absl::StatusOr<Pod> add_pod(uint32_t node, const std::string& name) {
    ASSIGN_OR_RETURN(Pod pod, topology_->add_pod(node, name));
    RETURN_IF_ERROR(sandbox_->sub_cgroup(str_cat("n", node)).status());
    ASSIGN_OR_RETURN(pod.cgroup, sandbox_->sub_cgroup(str_cat("n", node, "/pod-", name)));
    return pod;
  }

  // An intermediate of the common root.
  void give_authority(const std::string& run_dir) {
    const test::Authority own = test::make_authority("node", &root_);
    const std::string folder = run_dir + "/ca";
    ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
    write(folder + "/ca.crt", to_pem(own.certificate.get()));
    write(folder + "/ca.key", test::key_pem(own.key.get()));
    write(folder + "/roots.crt", to_pem(root_.certificate.get()));
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  }

  void describe() {
    node1_->manifests().write(
        "mesh.yaml",
        with_tunnels(pod_yaml(client_, {{"app", "client"}}, true)) +
            with_tunnels(pod_yaml(server_, {{"app", "product"}}, true)) +
            with_tunnels(pod_yaml(neighbour_, {{"app", "neighbour"}}, true)) +
            service_yaml({.name = "product",
                          .ip4 = "10.96.0.10",
                          .ip6 = "",
                          .ports = {{.name = "http", .port = 80, .target_port = 8080},
                                    {.name = "tcp-whoami", .port = 7000, .target_port = 7002}}}));
  }

  static bool answers(const Pod& from, const std::string& address) {
    return wait_until(milliseconds(30'000), [&] {
      return curl(from, {"--max-time", "3", "--fail", "http://" + address + "/"}).exit_code == 0;
    });
  }
  // A certificate of the common root, in files for the script.
  std::vector<std::string> credentials(const std::string& name, const std::string& id,
                                       bool of_the_mesh = true) {
    const test::Authority other = test::make_authority("other");
    const test::Leaf leaf = test::make_leaf(of_the_mesh ? root_ : other, {.names = {{GEN_URI, id}}});
    const std::string base = sandbox_->directory() + "/" + name;
    write(base + ".crt", to_pem(leaf.certificate.get()));
    write(base + ".key", test::key_pem(leaf.key.get()));
    write(base + ".roots", to_pem(root_.certificate.get()));
    return {base + ".crt", base + ".key", base + ".roots"};
  }
  CommandResult tunnel(const std::vector<std::string>& credentials, const std::string& authority,
                       const std::string& request) {
    std::vector<std::string> argv = {kPython, kScript, "call"};
    argv.insert(argv.end(), credentials.begin(), credentials.end());
    argv.insert(argv.end(), {server_.v4(15008).to_string(), authority, kDefaultId, request});
    return run(in_pod(stranger_, std::move(argv)));
  }

  std::string logs() const {
    std::string out;
    for (const auto& node : {&node1_, &node2_}) {
      if (*node != nullptr) out += (*node)->log();
    }
    return out;
  }

  const test::Authority root_ = test::make_authority("root");
  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<Topology> topology_;
  std::unique_ptr<Mesh> node1_, node2_;
  Pod client_, server_, neighbour_, stranger_;
  std::vector<std::unique_ptr<Process>> servers_;
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
  // Nobody reads what comes in plain, so it does not come in.
  EXPECT_NE(curl(stranger_, {"--max-time", "2", "http://" + server_.v4(8080).to_string() + "/"}).exit_code,
            0);
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
    // nginx has no such page.
    EXPECT_THAT(get("/admin", admin), HasSubstr(" 404")) << logs();
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

// Roots follow one another and certificates are replaced, at both nodes at a time, while pods talk.
class RotationTest : public HboneTest {
 protected:
  static constexpr uint32_t kDefaultRotations = 5;

  void SetUp() override {
    HboneTest::SetUp();
    if (HasFatalFailure()) return;
    for (Mesh* node : nodes()) {
      ASSERT_EQ(node->stop_proxy(), 0);
      node->log_requests(false);
      ASSERT_TRUE(node->start_proxy().ok());
    }
    node1_->manifests().write("direct.yaml",
                              service_yaml({.name = "direct",
                                            .ip4 = "10.96.0.11",
                                            .ip6 = "",
                                            .ports = {{.name = "tcp-web", .port = 80, .target_port = 8080}},
                                            .selector = {{"app", "product"}}}));
    for (const char* address : {"10.96.0.10:80", "10.96.0.11:80"})
      ASSERT_TRUE(answers(client_, address)) << logs();
  }

  std::vector<Mesh*> nodes() const { return {node1_.get(), node2_.get()}; }

  static uint64_t issued(const Mesh& node) {
    const CommandResult list = node.cli({"-o", "json", "cert", "list"});
    const auto parsed = nlohmann::json::parse(list.output, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << list.output << list.errors;
    uint64_t least = UINT64_MAX;
    for (const auto& row : parsed.value("issued", nlohmann::json::array()))
      least = std::min(least, row.value("issued", uint64_t{0}));
    return least;
  }

  // At both nodes, until each identity has a new certificate.
  void rotate(const char* what) {
    std::vector<uint64_t> before;
    for (Mesh* node : nodes()) {
      before.push_back(issued(*node));
      const CommandResult done = node->cli({"cert", "rotate", what});
      ASSERT_EQ(done.exit_code, 0) << done.errors;
      EXPECT_THAT(done.output, HasSubstr(kDefaultId));
    }
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_TRUE(wait_until(milliseconds(30'000), [&] { return issued(*nodes()[i]) > before[i]; }))
          << logs();
    }
  }
  // A proxy that asks for the second has put the first to use.
  void rotate_twice(const char* what) {
    ASSERT_NO_FATAL_FAILURE(rotate(what));
    ASSERT_NO_FATAL_FAILURE(rotate("--all"));
  }
  void trust(const std::string& roots) const {
    for (Mesh* node : nodes()) write(node->run_dir() + "/ca/roots.crt", roots);
  }

  // Trusted everywhere, then it signs, then the one before is gone.
  void change_root() {
    const test::Authority& next =
        held_.emplace_back(test::make_authority(str_cat("root ", held_.size() + 2).c_str()));
    const std::string now = to_pem(signs_->certificate.get()), then = to_pem(next.certificate.get());
    trust(now + then);
    ASSERT_NO_FATAL_FAILURE(rotate_twice("--root"));
    for (Mesh* node : nodes()) {
      const test::Authority own = test::make_authority("node", &next);
      write(node->run_dir() + "/ca/ca.crt", to_pem(own.certificate.get()));
      write(node->run_dir() + "/ca/ca.key", test::key_pem(own.key.get()));
    }
    ASSERT_NO_FATAL_FAILURE(rotate_twice("--root"));
    trust(then);
    ASSERT_NO_FATAL_FAILURE(rotate("--root"));
    signs_ = &next;
  }

  void generate(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-c", "4", "-d", "7200", "--timeout", "20"});
    auto process = Process::start(load_spawn(client_, std::move(arguments)));
    ASSERT_TRUE(process.ok()) << process.status();
    generators_.push_back(*std::move(process));
  }

  const test::Authority* signs_ = &root_;
  std::list<test::Authority> held_;
  std::vector<std::unique_ptr<Process>> generators_;
};

// One after the other: a rotation takes about two seconds, a change of root five times that.
// WEFT_ROTATIONS=70 is the acceptance run of five minutes.
TEST_F(RotationTest, CertificatesAndRootsAreReplacedAndNoClientNotices) {
  const char* wanted = std::getenv("WEFT_ROTATIONS");
  const uint32_t rotations =
      wanted == nullptr ? kDefaultRotations : parse_integer<uint32_t>(wanted).value_or(kDefaultRotations);
  // Pooled connections, new ones of clients, and new tunnels.
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.10:80", "--rate", "200"}));
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.10:80", "--rate", "50", "--new-connections"}));
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.11:80", "--rate", "50", "--new-connections"}));
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < rotations; ++i) {
    // A change of root is three rotations.
    if (i % 3 == 0) {
      ASSERT_NO_FATAL_FAILURE(change_root());
    } else {
      ASSERT_NO_FATAL_FAILURE(rotate("--all"));
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  for (const auto& generator : generators_) {
    generator->signal(SIGINT);
    EXPECT_TRUE(generator->wait(milliseconds(30'000)).has_value());
    const LoadResult result = parse_load(generator->output());
    std::printf("%u rotations in %.0f s: %lu requests, %lu failed, %lu retries\n", rotations, took.count(),
                static_cast<unsigned long>(result.requests), static_cast<unsigned long>(result.failed),
                static_cast<unsigned long>(result.retries));
    EXPECT_GT(result.requests, 100u) << result.text;
    EXPECT_EQ(result.failed, 0u) << result.text << logs();
    EXPECT_EQ(result.retries, 0u) << result.text;
  }
  // The root of the beginning is one of nobody now.
  EXPECT_THAT(node1_->cli({"cert", "list"}).output, Not(HasSubstr(serial_number(root_.certificate.get()))));
}

}  // namespace
}  // namespace weft::harness
