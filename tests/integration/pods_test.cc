// Pods of a cluster as a kubelet and its runtime make them: cgroups named after uids, network namespaces, a
// CNI plugin that is called before the first container, and an API server that tells of them. There is no
// proxy, and every pod fails closed: a captured connect is refused at once, one that is not reaches the
// server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "tests/harness/process.h"
#include "tests/harness/sandbox.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::harness {
namespace {

namespace fs = std::filesystem;
using control_plane::test::FakeApiServer;
using control_plane::test::Json;
using ::testing::HasSubstr;

constexpr uint16_t kPort = 8080;
constexpr milliseconds kDeadline{60'000};
constexpr char kConflist[] =
    R"({"cniVersion": "1.0.0", "name": "podnet", "plugins": [{"type": "bridge"}, {"type": "portmap"}]})";

class PodsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto sandbox = Sandbox::create("weft-it-pods");
    ASSERT_TRUE(sandbox.ok()) << sandbox.status();
    sandbox_ = std::move(*sandbox);
    auto topology = Topology::create(*sandbox_, 1);
    ASSERT_TRUE(topology.ok()) << topology.status();
    topology_ = std::move(*topology);
    for (const char* folder : {"run", "net.d", "bin"}) fs::create_directory(path(folder));
    std::ofstream(path("net.d/10-podnet.conflist")) << kConflist;
    put_namespace("shop", true);
    put_namespace("plain", false);
    auto server = topology_->add_pod(1, "server");
    ASSERT_TRUE(server.ok()) << server.status();
    address_ = server->v4(kPort);
    auto started =
        Process::start({.argv = {"python3", "-m", "http.server", str_cat(kPort)}, .netns = server->netns});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = std::move(*started);
    ASSERT_TRUE(wait_for_port(server->netns, address_, server_.get()).ok()) << server_->output();
  }
  void TearDown() override {
    if (agent_) agent_->stop(kDeadline);
    const CommandResult removed = run({.argv = with_paths({binary("weft-agent"), "cleanup"}, true)});
    EXPECT_EQ(removed.exit_code, 0) << removed.output;
    std::ifstream list(path("net.d/10-podnet.conflist"));
    const std::string text((std::istreambuf_iterator<char>(list)), std::istreambuf_iterator<char>());
    EXPECT_THAT(text, ::testing::Not(HasSubstr("weft")));
    EXPECT_THAT(text, HasSubstr("portmap"));
    EXPECT_FALSE(fs::exists(path("bin/weft-cni")));
    // Whatever still runs in our cgroups ends before they go.
    processes_.clear();
    server_.reset();
  }

  std::string path(const std::string& name) const { return sandbox_->directory() + "/" + name; }
  static std::string uid_of(const std::string& name) {
    char digits[13];
    std::snprintf(digits, sizeof(digits), "%012zx", std::hash<std::string>()(name) & 0xffffffffffff);
    return str_cat("aaaaaaaa-0000-0000-0000-", digits);
  }
  std::vector<std::string> with_paths(std::vector<std::string> argv, bool cni) const {
    for (const std::string& one :
         {std::string("--run-dir"), path("run"), std::string("--pin-root"), sandbox_->pin_root()})
      argv.push_back(one);
    if (!cni) return argv;
    for (const std::string& one :
         {std::string("--cni-conf-dir"), path("net.d"), std::string("--cni-bin-dir"), path("bin")})
      argv.push_back(one);
    return argv;
  }
  void put_namespace(const std::string& name, bool in_mesh) {
    Json object{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}};
    if (in_mesh) object["metadata"]["labels"] = {{"istio.io/dataplane-mode", "ambient"}};
    api_.put("/api/v1/namespaces", object);
  }
  void put_pod(const std::string& ns, const std::string& name) {
    api_.put(
        "/api/v1/pods",
        {{"apiVersion", "v1"},
         {"kind", "Pod"},
         {"metadata",
          {{"namespace", ns},
           {"name", name},
           {"uid", uid_of(name)},
           {"annotations", {{"weft.dev/fail-mode", "closed"}}}}},
         {"spec",
          {{"nodeName", "node1"}, {"serviceAccountName", "default"}, {"containers", {{{"name", "app"}}}}}},
         {"status", {{"phase", "Pending"}}}});
  }
  void launch_agent() {
    std::ofstream(path("kubeconfig"))
        << "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
           "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
           "users: [{name: u, user: {}}]\nclusters: [{name: c, cluster: {server: \""
        << api_.url() << "\"}}]\n";
    auto started = Process::start(
        {.argv = with_paths({binary("weft-agent"), "--kubeconfig", path("kubeconfig"), "--cgroup",
                             sandbox_->cgroup(), "--node-name", "node1", "--proxy-user", "nobody",
                             "--metrics-address", str_cat("127.0.0.1:", metrics_.number()),
                             "--health-address", str_cat("127.0.0.1:", health_.number())},
                            true)});
    ASSERT_TRUE(started.ok()) << started.status();
    agent_ = std::move(*started);
    ASSERT_TRUE(wait_until(kDeadline, [this] {
      return agent_->output().find("agent_started") != std::string::npos || !agent_->running();
    }));
    ASSERT_TRUE(agent_->running()) << agent_->output();
  }
  void start_agent() {
    ASSERT_NO_FATAL_FAILURE(launch_agent());
    // The proxy that never comes counts as dead from some moment on; then captured connects are refused.
    put_pod("shop", "first");
    const Pod first = add_pod("first");
    ASSERT_EQ(cni("ADD", "shop", "first", first.netns).exit_code, 0) << agent_->output();
    ASSERT_TRUE(wait_until(kDeadline, [&] { return !connects(first); })) << agent_->output();
  }
  // As the runtime: the namespace with its addresses.
  Pod add_pod(const std::string& name) {
    auto pod = topology_->add_pod(1, name);
    EXPECT_TRUE(pod.ok()) << pod.status();
    if (!pod.ok()) return {};
    pod->cgroup = str_cat(sandbox_->cgroup(), "/kubepods/besteffort/pod", uid_of(name), "/app");
    fs::create_directories(pod->cgroup);
    return *pod;
  }
  CommandResult cni(const std::string& command, const std::string& ns, const std::string& name,
                    const std::string& netns) {
    const Json config{{"cniVersion", "1.0.0"},
                      {"name", "podnet"},
                      {"type", "weft-cni"},
                      {"socket", path("run/cni.sock")},
                      {"namespacesFile", path("run/cni-namespaces")},
                      {"exemptNamespaces", {"kube-system"}},
                      {"prevResult", {{"cniVersion", "1.0.0"}, {"interfaces", Json::array()}}}};
    std::ofstream(path("stdin")) << config.dump();
    return run({.argv = {binary("weft-cni")},
                .environment = {"CNI_COMMAND=" + command, "CNI_NETNS=" + netns,
                                str_cat("CNI_ARGS=K8S_POD_UID=", uid_of(name), ";K8S_POD_NAME=", name,
                                        ";K8S_POD_NAMESPACE=", ns)},
                .input = path("stdin")});
  }
  // What a container does first: connect.
  bool connects(const Pod& pod) {
    return run({.argv = {"bash", "-c", str_cat("exec 3<>/dev/tcp/", address_.ip.to_string(), "/", kPort)},
                .netns = pod.netns,
                .cgroup = pod.cgroup})
               .exit_code == 0;
  }
  // A container that goes on.
  Process& start_container(const Pod& pod) {
    auto started = Process::start({.argv = {"sleep", "600"}, .netns = pod.netns, .cgroup = pod.cgroup});
    EXPECT_TRUE(started.ok()) << started.status();
    processes_.push_back(std::move(*started));
    return *processes_.back();
  }
  std::string metrics() {
    return run({.argv = {"curl", "--silent", "--max-time", "5",
                         str_cat("http://127.0.0.1:", metrics_.number(), "/metrics")}})
        .output;
  }

  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<Topology> topology_;
  FakeApiServer api_;
  const ReservedPort metrics_, health_;
  std::unique_ptr<Process> server_, agent_;
  std::vector<std::unique_ptr<Process>> processes_;
  SocketAddress address_;
};

TEST_F(PodsTest, AClientThatConnectsInItsFirstInstructionIsCapturedWithTheCniPlugin) {
  start_agent();
  for (int i = 1; i <= 5; ++i) {
    const std::string name = std::string(static_cast<size_t>(i), 'x') + "client";
    put_pod("shop", name);
    const Pod pod = add_pod(name);
    const CommandResult added = cni("ADD", "shop", name, pod.netns);
    ASSERT_EQ(added.exit_code, 0) << added.output;
    EXPECT_THAT(added.output, HasSubstr("interfaces")) << "the result of the plugin before";
    EXPECT_FALSE(connects(pod)) << name;
  }
  EXPECT_THAT(metrics(), HasSubstr("\nweft_pods_captured_before_start_total 6\n"));
  // A pod that is none of the mesh's is left alone.
  put_pod("plain", "other");
  const Pod other = add_pod("other");
  EXPECT_EQ(cni("ADD", "plain", "other", other.netns).exit_code, 0);
  EXPECT_TRUE(connects(other));
}

TEST_F(PodsTest, APodThatTheApiServerTellsOfLaterWaitsForItsCapture) {
  start_agent();
  const Pod pod = add_pod("late");
  // The runtime and the API server are not in step.
  std::thread later([this] { put_pod("shop", "late"); });
  const CommandResult added = cni("ADD", "shop", "late", pod.netns);
  later.join();
  EXPECT_EQ(added.exit_code, 0) << added.output;
  EXPECT_FALSE(connects(pod));
}

TEST_F(PodsTest, ADelReleasesItsNamespaceAndALateOneNoOther) {
  start_agent();
  put_pod("shop", "web");
  const Pod pod = add_pod("web");
  ASSERT_EQ(cni("ADD", "shop", "web", pod.netns).exit_code, 0);
  EXPECT_EQ(cni("DEL", "shop", "web", "").exit_code, 0);
  EXPECT_FALSE(connects(pod)) << "which namespace was not said";
  EXPECT_EQ(cni("DEL", "shop", "web", pod.netns).exit_code, 0);
  EXPECT_EQ(cni("DEL", "shop", "web", "").exit_code, 0);
  EXPECT_TRUE(wait_until(kDeadline, [&] { return connects(pod); }));
}

TEST_F(PodsTest, WithoutAnAgentNoPodOfTheMeshStartsAndOthersDo) {
  start_agent();
  put_pod("shop", "web");
  put_pod("plain", "other");
  const Pod web = add_pod("web"), other = add_pod("other");
  agent_->signal(SIGKILL);
  agent_->wait(kDeadline);
  const CommandResult refused = cni("ADD", "shop", "web", web.netns);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.output, HasSubstr("shop/web must not start unmeshed: namespace shop is in the mesh"));
  EXPECT_EQ(cni("ADD", "plain", "other", other.netns).exit_code, 0);
  EXPECT_EQ(cni("DEL", "shop", "web", web.netns).exit_code, 0);
}

TEST_F(PodsTest, WithoutThePluginAPodIsFoundByItsCgroupAndTheWindowIsMeasured) {
  start_agent();
  put_pod("shop", "web");
  const Pod pod = add_pod("web");
  start_container(pod);
  EXPECT_TRUE(wait_until(kDeadline, [&] { return !connects(pod); })) << agent_->output();
  EXPECT_THAT(metrics(), HasSubstr("\nweft_pod_start_to_capture_seconds_count 1\n"));
}

TEST_F(PodsTest, APodThatStartsWhileNoAgentRunsIsFoundByTheNext) {
  start_agent();
  agent_->stop(kDeadline);
  put_pod("shop", "web");
  const Pod pod = add_pod("web");
  start_container(pod);
  EXPECT_TRUE(connects(pod));
  launch_agent();
  EXPECT_TRUE(wait_until(kDeadline, [&] { return !connects(pod); })) << agent_->output();
}

}  // namespace
}  // namespace weft::harness
