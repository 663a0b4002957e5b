// The harness without a mesh: two nodes, real servers in pods, clients that reach them directly, and nothing
// left afterwards. When these fail, no other integration test says anything about Weft.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/strings.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"

namespace weft::harness {
namespace {

class HarnessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto sandbox = Sandbox::create();
    ASSERT_TRUE(sandbox.ok()) << sandbox.status();
    sandbox_ = std::move(*sandbox);
    auto topology = Topology::create(*sandbox_, 2);
    ASSERT_TRUE(topology.ok()) << topology.status();
    topology_ = std::move(*topology);
    auto client = topology_->add_pod(1, "client");
    auto server = topology_->add_pod(2, "server");
    ASSERT_TRUE(client.ok() && server.ok()) << client.status() << server.status();
    client_ = *client;
    server_ = *server;
  }

  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<Topology> topology_;
  Pod client_, server_;
};

TEST_F(HarnessTest, PodsOfTwoNodesTalkHttpOverBothFamilies) {
  auto nginx = start_nginx(*sandbox_, server_, 8080, "v7", 1 << 20);
  ASSERT_TRUE(nginx.ok()) << nginx.status();
  for (const SocketAddress& address : {server_.v4(8080), server_.v6(8080)}) {
    const CommandResult answer = curl(client_, {"-i", "http://" + address.to_string() + "/"});
    EXPECT_EQ(answer.exit_code, 0) << answer.errors;
    EXPECT_NE(answer.output.find("x-version: v7"), std::string::npos) << answer.output;
  }
  const CommandResult file = curl(client_, {"-o", "/dev/null", "-w", "%{size_download}",
                                            "http://" + server_.v4(8080).to_string() + "/file"});
  EXPECT_EQ(file.output, "1048576");
}

TEST_F(HarnessTest, LoadGeneratorCountsVersionsAndFailures) {
  auto nginx = start_nginx(*sandbox_, server_, 8080, "v7");
  ASSERT_TRUE(nginx.ok()) << nginx.status();
  const std::string target = server_.v4(8080).to_string();
  const LoadResult good = load(client_, {target, "-n", "500", "-c", "4"});
  EXPECT_EQ(good.requests, 500u) << good.text;
  EXPECT_EQ(good.versions.at("v7"), 500u);
  EXPECT_EQ(good.failed, 0u);
  const LoadResult refused = load(client_, {server_.v4(9).to_string(), "-n", "10"});
  EXPECT_EQ(refused.failures.at("connect"), 10u) << refused.text;
}

TEST_F(HarnessTest, PeersEchoGreetAndNameTheirClient) {
  auto echo = start_peer(server_, "echo", 7000);
  auto greeter = start_peer(server_, "greeter", 7001);
  auto whoami = start_peer(server_, "whoami", 7002);
  ASSERT_TRUE(echo.ok() && greeter.ok() && whoami.ok());
  EXPECT_NE(peer(client_, {"dial", server_.v6(7000).to_string(), "ping-pong"}).output.find("ping-pong"),
            std::string::npos);
  EXPECT_NE(peer(client_, {"dial-mapped", server_.v4(7001).to_string(), "QUIT\r\n"}).output.find("221 bye"),
            std::string::npos);
  const std::string seen = peer(client_, {"dial", server_.v4(7002).to_string()}).output;
  EXPECT_NE(seen.find("\npeer=" + client_.ip4.to_string() + ":"), std::string::npos) << seen;
}

TEST_F(HarnessTest, PeerReadsAndWritesLongBodies) {
  auto http = start_peer(server_, "http", 7003);
  ASSERT_TRUE(http.ok()) << http.status();
  const std::string url = "http://" + server_.v4(7003).to_string();
  EXPECT_EQ(curl(client_, {"-o", "/dev/null", "-w", "%{size_download}", url + "/chunked/1000000"}).output,
            "1000000");
  EXPECT_EQ(curl(client_, {"-o", "/dev/null", "-w", "%{size_download}", url + "/bytes/1000000"}).output,
            "1000000");
  EXPECT_NE(curl(client_, {"-d", "hello", url + "/"}).output.find("received=5 "), std::string::npos);
  EXPECT_NE(curl(client_, {"-H", "Transfer-Encoding: chunked", "-d", "hello", url + "/"})
                .output.find("received=5 "),
            std::string::npos);
}

TEST_F(HarnessTest, RedisAnswersInAPod) {
  auto redis = start_redis(server_, 6379);
  ASSERT_TRUE(redis.ok()) << redis.status();
  const CommandResult pong = run(in_pod(client_, {"redis-cli", "-h", server_.ip4.to_string(), "PING"}));
  EXPECT_EQ(pong.output, "PONG\n") << pong.errors;
}

TEST(SandboxTest, NothingIsLeftWhenATestProcessIsKilled) {
  // The child builds a sandbox and dies without destructors; the next sandbox sweeps what it left.
  const pid_t child = ::fork();
  if (child == 0) {
    auto sandbox = Sandbox::create();
    ::_exit(sandbox.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const std::string directory = str_cat("/run/weft-it-", child);
  const std::string cgroup = str_cat(cgroup2_mount(), "/weft-it-", child);
  EXPECT_TRUE(std::filesystem::exists(directory));
  const auto sandbox = Sandbox::create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  EXPECT_FALSE(std::filesystem::exists(directory));
  EXPECT_FALSE(std::filesystem::exists(cgroup));
}

}  // namespace
}  // namespace weft::harness
