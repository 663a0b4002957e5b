// Services without L7 need no proxy, policy is decided before accept, and a proxy that hangs leaves each
// workload what it declared.
#include <gmock/gmock.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;

class L4Test : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto pod = add_service({.name = "whoami",
                            .ip4 = "10.96.0.20",
                            .ip6 = "fd96::20",
                            .ports = {{.name = "tcp-whoami", .port = 7000, .target_port = 7002}}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    serve(*pod, 7002);
    ASSERT_TRUE(eventually_dials(client_, "10.96.0.20:7000")) << mesh_->log();
  }

  void serve(const Pod& pod, uint16_t port) {
    auto process = start_peer(pod, "whoami", port);
    ASSERT_TRUE(process.ok()) << process.status();
    servers_.push_back(std::move(*process));
  }
  static bool dials(const Pod& from, const std::string& address) {
    return peer(from, {"dial", address}).output.find("\npeer=") != std::string::npos;
  }
  static bool eventually_dials(const Pod& from, const std::string& address, bool wanted = true) {
    return wait_until(milliseconds(20'000), [&] { return dials(from, address) == wanted; });
  }
  // The client pod's manifest, with this fail mode.
  void declare(const std::string& mode) {
    std::string text = pod_yaml(client_, {{"app", "client"}}, true);
    const std::string key = "weft.dev/netns:";
    const size_t at = text.find(key);
    ASSERT_NE(at, std::string::npos) << text;
    const size_t line = text.rfind('\n', at) + 1;
    text.insert(line, text.substr(line, at - line) + "weft.dev/fail-mode: " + mode + "\n");
    mesh_->manifests().write(client_.name + ".yaml", text);
  }
  // The proxy may still be taking up what was written last.
  CommandResult no_drift() {
    CommandResult diff;
    wait_until(milliseconds(20'000), [&] { return (diff = mesh_->cli({"diff"})).exit_code == 0; });
    return diff;
  }
  static void shell(const std::string& command) {
    Spawn spawn;
    spawn.argv = {"sh", "-c", command};
    const CommandResult result = run(spawn);
    EXPECT_EQ(result.exit_code, 0) << command << ": " << result.output << result.errors;
  }
  std::string status() { return mesh_->cli({"status"}).output; }
};

std::string policy(const std::string& spec) {
  return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: "
         "default}\n"
         "spec:\n" +
         spec;
}

TEST_F(L4Test, ServiceDeclaredTcpWorksWithoutAnyProxy) {
  mesh_->kill_proxy();
  EXPECT_TRUE(dials(client_, "10.96.0.20:7000"));
  EXPECT_TRUE(dials(client_, "[fd96::20]:7000"));
  EXPECT_THAT(mesh_->metrics(), HasSubstr("weft_bpf_events_total{event=\"direct\"}"));
  EXPECT_THAT(mesh_->metrics(), HasSubstr("destination_service=\"whoami\""));
}

TEST_F(L4Test, OperatorSeesProgramsMapsCountersAndNoDrift) {
  const CommandResult programs = mesh_->cli({"bpf", "progs"});
  EXPECT_EQ(programs.exit_code, 0);
  for (const char* name : {"mesh_connect4", "mesh_sendmsg6", "mesh_recvmsg4", "mesh_getpeername4",
                           "mesh_sockops", "mesh_lookup"})
    EXPECT_THAT(programs.output, HasSubstr(name));
  EXPECT_THAT(mesh_->cli({"bpf", "maps"}).output, HasSubstr("m_svc"));
  EXPECT_THAT(mesh_->cli({"bpf", "maps", "-o", "json"}).output,
              HasSubstr("\"schema\": \"weft.bpf.maps.v1\""));
  EXPECT_THAT(mesh_->cli({"bpf", "stats"}).output, HasSubstr("connects sent straight to a backend"));
  const CommandResult diff = no_drift();
  EXPECT_EQ(diff.exit_code, 0) << diff.output;
  for (const char* scope :
       {"configuration", "namespaces", "policies", "services", "destinations", "programs"})
    EXPECT_THAT(diff.output, HasSubstr(scope));
}

TEST_F(L4Test, DriftOfEveryLayerIsNamedAndExitsWith79) {
  ASSERT_EQ(no_drift().exit_code, 0);
  const auto drifted = [this](const std::string& object, const std::string& difference) {
    const CommandResult diff = mesh_->cli({"diff"});
    EXPECT_EQ(diff.exit_code, 79) << diff.output << diff.errors;
    EXPECT_THAT(diff.output, testing::ContainsRegex(object + " +" + difference));
    const auto json = nlohmann::json::parse(mesh_->cli({"diff", "-o", "json"}).output, nullptr, false);
    ASSERT_TRUE(json.is_object());
    bool found = false;
    for (const auto& one : json["objects"])
      found = found || one["object"].get<std::string>().find(object) != std::string::npos;
    EXPECT_TRUE(found) << json.dump();
  };
  // A row of the kernel: 10.96.0.20:7000/tcp as struct weft_svc_key.
  const std::string key = "0 0 0 0 0 0 0 0 0 0 0xff 0xff 10 96 0 20 0x58 0x1b 6 0";
  shell("bpftool map delete pinned " + sandbox_->pin_root() + "/maps/m_svc key " + key);
  drifted("default/whoami 10.96.0.20:7000/tcp", "missing in the kernel");
  // A link.
  shell("bpftool link detach pinned " + sandbox_->pin_root() + "/links/mesh_getpeername4");
  drifted("mesh_getpeername4 at " + sandbox_->cgroup(), "detached");
  // A stale configuration: the proxy stands still while the routes change.
  mesh_->proxy().signal(SIGSTOP);
  mesh_->manifests().write("canary.yaml", canary_yaml(10, 90));
  ASSERT_TRUE(cli_shows({"get", "routes"}, "90%"));
  drifted("proxy", "stale: it uses generation");
  mesh_->proxy().signal(SIGCONT);
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return mesh_->cli({"diff"}).output.find("stale") == std::string::npos;
  })) << mesh_->log();
}

TEST_F(L4Test, PolicyRefusesBeforeAcceptAndLetsGoWhenItIsRemoved) {
  serve(client_, 7009);
  const std::string at = client_.v4(7009).to_string();
  ASSERT_TRUE(dials(v1_, at));
  mesh_->manifests().write("policy.yaml", policy("  action: DENY\n  rules:\n  - from:\n    - source:\n"
                                                 "        ipBlocks: [" +
                                                 v1_.ip4.to_string() + "/32]\n"));
  EXPECT_TRUE(eventually_dials(v1_, at, false)) << mesh_->log();
  EXPECT_TRUE(dials(v2_, at)) << "another address";
  EXPECT_TRUE(dials(v1_, client_.v6(7009).to_string())) << "another family";
  mesh_->manifests().remove("policy.yaml");
  EXPECT_TRUE(eventually_dials(v1_, at)) << mesh_->log();
}

TEST_F(L4Test, WorkloadOfThisNodeIsAllowedByWhoItIs) {
  serve(client_, 7009);
  auto other = topology_->add_pod(1, "other");
  ASSERT_TRUE(other.ok()) << other.status();
  mesh_->manifests().write("other.yaml", pod_yaml(*other, {{"app", "other"}}, true));
  mesh_->manifests().write("policy.yaml", policy("  action: ALLOW\n  rules:\n  - from:\n    - source:\n"
                                                 "        namespaces: [default]\n"));
  const std::string at = client_.v4(7009).to_string();
  EXPECT_TRUE(eventually_dials(v1_, at, false)) << "of another node, and nothing proves who it is";
  EXPECT_TRUE(eventually_dials(*other, at)) << mesh_->log();
}

TEST_F(L4Test, HungProxyIsBypassedByAnOpenWorkloadAndCounted) {
  ASSERT_TRUE(reachable(kProductV4));
  mesh_->proxy().signal(SIGSTOP);
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return curl(client_, {"--max-time", "1", "-s", std::string("http://") + kProductV4 + "/"}).exit_code == 0;
  })) << mesh_->log();
  EXPECT_THAT(status(), HasSubstr("without proxy: default/" + client_.name + " outbound: "));
  mesh_->proxy().signal(SIGCONT);
  EXPECT_TRUE(reachable(kProductV4)) << "the proxy again";
}

TEST_F(L4Test, HungProxyRefusesWhatAClosedWorkloadDials) {
  declare("closed");
  ASSERT_TRUE(cli_shows({"get", "workloads", "-A"}, "captured"));
  ASSERT_TRUE(reachable(kProductV4));
  mesh_->proxy().signal(SIGSTOP);
  // curl says 7 when a connect is refused.
  EXPECT_TRUE(wait_until(milliseconds(20'000),
                         [&] {
                           return curl(client_,
                                       {"--max-time", "1", "-s", std::string("http://") + kProductV4 + "/"})
                                      .exit_code == 7;
                         }))
      << status() << mesh_->log();
  EXPECT_TRUE(dials(client_, "10.96.0.20:7000")) << "what needs no proxy goes on";
  EXPECT_THAT(status(), HasSubstr(" refused"));
  mesh_->proxy().signal(SIGCONT);
  EXPECT_TRUE(reachable(kProductV4));
}

}  // namespace
}  // namespace weft::harness
