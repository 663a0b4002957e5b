// Weft's processes die and come back while clients go on. New connections wait in the listeners that the
// agent keeps; the agent itself is not on the path of any byte.
#include <signal.h>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

class RestartTest : public MeshTest {
 protected:
  // Load for a few seconds in the background; `arguments` are added.
  std::unique_ptr<Process> background(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {kProductV4, "-d", "60", "--rate", "1000", "--timeout", "20"});
    auto process = Process::start(load_spawn(client_, std::move(arguments), "0.1"));
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? std::move(*process) : nullptr;
  }

  // Ends it once it has made `enough` requests.
  LoadResult finish(Process& process, uint64_t enough = 500) {
    EXPECT_TRUE(wait_until(milliseconds(30'000), [&] { return requests_so_far(process.output()) >= enough; }))
        << process.output() << mesh_->log();
    process.signal(SIGINT);
    EXPECT_TRUE(process.wait(milliseconds(30'000)).has_value());
    return parse_load(process.output());
  }

  // Requests go through again, some of them on new connections.
  void expect_traffic() {
    const LoadResult result = load(client_, {kProductV4, "-n", "500", "-c", "4", "--new-connections"});
    EXPECT_EQ(result.requests, 500u) << result.text << mesh_->log();
    EXPECT_EQ(result.failed, 0u) << result.text;
  }
};

TEST_F(RestartTest, KillingTheProxyLosesNoNewConnection) {
  auto clients = background({"--new-connections", "-c", "8"});
  ASSERT_NE(clients, nullptr);
  expect_traffic();
  mesh_->kill_proxy();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  expect_traffic();
  const LoadResult result = finish(*clients);
  // The eight exchanges under way die with the process; no dial is refused or lost.
  EXPECT_EQ(result.failures.at("connect"), 0u) << result.text;
  EXPECT_EQ(result.failures.at("timeout"), 0u) << result.text;
  EXPECT_EQ(result.failures.at("status"), 0u) << result.text;
  EXPECT_LE(result.failures.at("reset"), 8u) << result.text;
  EXPECT_GE(result.requests, 500u);
}

TEST_F(RestartTest, ConnectionMadeWhileNoProxyRunsIsServedByTheNextOne) {
  mesh_->kill_proxy();
  auto waiting = Process::start(load_spawn(client_, {kProductV4, "-n", "1", "--timeout", "30"}));
  ASSERT_TRUE(waiting.ok()) << waiting.status();
  EXPECT_FALSE((*waiting)->wait(milliseconds(300)).has_value()) << "somebody answered without a proxy";
  ASSERT_TRUE(mesh_->start_proxy().ok());
  ASSERT_TRUE((*waiting)->wait(milliseconds(30'000)).has_value());
  const LoadResult result = parse_load((*waiting)->output());
  EXPECT_EQ(result.requests, 1u) << result.text << mesh_->log();
  EXPECT_EQ(result.failed, 0u) << result.text;
}

TEST_F(RestartTest, StoppingTheProxyGracefullyFailsNoRequest) {
  auto clients = background({"-c", "8"});
  ASSERT_NE(clients, nullptr);
  expect_traffic();
  EXPECT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  expect_traffic();
  const LoadResult result = finish(*clients);
  EXPECT_EQ(result.retries, 0u) << "a draining proxy must announce the end of a connection: " << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text;
}

TEST_F(RestartTest, KillingTheAgentDisturbsNoTrafficAndItsSuccessorAdoptsEverything) {
  auto keep_alive = background({"-c", "8"});
  auto fresh = background({"-c", "4", "--new-connections"});
  ASSERT_TRUE(keep_alive != nullptr && fresh != nullptr);
  mesh_->kill_agent();
  expect_traffic();
  const absl::Status started = mesh_->start_agent();
  ASSERT_TRUE(started.ok()) << started;
  expect_traffic();
  for (Process* clients : {keep_alive.get(), fresh.get()}) {
    const LoadResult result = finish(*clients);
    EXPECT_EQ(result.retries, 0u) << result.text;
    EXPECT_EQ(result.failed, 0u) << result.text;
    EXPECT_GE(result.requests, 500u) << result.text;
  }
  mesh_->manifests().write("canary.yaml", canary_yaml(0, 100));
  ASSERT_TRUE(cli_shows({"get", "routes"}, "100%"));
  EXPECT_TRUE(wait_until(milliseconds(20'000),
                         [&] { return load(client_, {kProductV4, "-n", "200"}).share("v2") == 1.0; }))
      << "the new agent's configuration never reached the old proxy: " << mesh_->log();
}

TEST_F(RestartTest, ProxyThatStartsAfterAnAgentRestartGetsItsListeners) {
  mesh_->kill_agent();
  ASSERT_TRUE(mesh_->start_agent().ok());
  expect_traffic();
  // Before that the proxy is the only one that holds them.
  ASSERT_TRUE(listeners_shared());
  mesh_->kill_proxy();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  expect_traffic();
}

TEST_F(RestartTest, ProxyThatDiesBeforeItCameBackToTheNextAgentTakesNoListenersAlong) {
  // It stands still, so it is the only one that holds them until it dies.
  mesh_->proxy().signal(SIGSTOP);
  mesh_->kill_agent();
  ASSERT_TRUE(mesh_->start_agent().ok());
  mesh_->kill_proxy();
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return mesh_->agent().output().find("opened its capture listeners again") != std::string::npos;
  })) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  expect_traffic();
}

}  // namespace
}  // namespace weft::harness
