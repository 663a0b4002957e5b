// Protocols through the mesh with programs nobody here wrote: nginx, curl, redis, and peers that speak plain
// TCP. Bodies of a gibibyte must pass in bounded memory; a server that speaks first must not wait for the
// client.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kGibibyte = uint64_t{1} << 30;
constexpr uint64_t kMaxGrowth = uint64_t{64} << 20;

class ProtocolsTest : public MeshTest {
 protected:
  // Starts `mode` of the peer behind a service of one port and waits until `ready` holds in the client pod.
  void serve(const std::string& mode, const std::string& port_name, const std::string& ip, uint16_t port) {
    const std::string ip6 = "fd96::" + ip.substr(ip.rfind('.') + 1);
    auto pod = add_service({.name = mode,
                            .ip4 = ip,
                            .ip6 = ip6,
                            .ports = {{.name = port_name, .port = port, .target_port = port}}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    auto process = mode == "redis" ? start_redis(*pod, port) : start_peer(*pod, mode, port);
    ASSERT_TRUE(process.ok()) << process.status();
    servers_.push_back(std::move(*process));
    ASSERT_TRUE(cli_shows({"get", "endpoints"}, pod->ip4.to_string()));
  }

  // Runs a transfer while watching the proxy's resident memory; the largest growth in bytes.
  uint64_t growth_during(Spawn transfer, CommandResult* result) {
    const uint64_t before = mesh_->proxy().resident_bytes();
    uint64_t highest = before;
    auto process = Process::start(transfer);
    EXPECT_TRUE(process.ok()) << process.status();
    if (!process.ok()) return 0;
    std::optional<int> code;
    wait_until(milliseconds(120'000), [&] {
      highest = std::max(highest, mesh_->proxy().resident_bytes());
      code = (*process)->wait(milliseconds(0));
      return code.has_value();
    });
    *result = {
        .exit_code = code.value_or(-1), .output = (*process)->output(), .errors = (*process)->errors()};
    return highest - before;
  }

  Spawn curl_spawn(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"curl", "--silent", "--show-error", "--max-time", "110", "--globoff"});
    return in_pod(client_, std::move(arguments));
  }
};

TEST_F(ProtocolsTest, CurlReusesOneConnectionForManyRequests) {
  const std::string url = std::string("http://") + kProductV4 + "/";
  const CommandResult result = curl(client_, {"-w", "%{num_connects}\n", "-o", "/dev/null", url, "-o",
                                              "/dev/null", url, "-o", "/dev/null", url});
  EXPECT_EQ(result.output, "1\n0\n0\n") << result.errors;
}

TEST_F(ProtocolsTest, GibibyteComesDownWithBoundedProxyMemory) {
  mesh_->manifests().write("canary.yaml", canary_yaml(100, 0));
  ASSERT_TRUE(cli_shows({"get", "routes"}, "100%"));
  CommandResult result;
  const uint64_t growth = growth_during(curl_spawn({"-o", "/dev/null", "-w", "%{size_download}",
                                                    std::string("http://") + kProductV4 + "/file"}),
                                        &result);
  EXPECT_EQ(result.output, std::to_string(kGibibyte)) << result.errors;
  EXPECT_LT(growth, kMaxGrowth);
}

TEST_F(ProtocolsTest, GibibyteGoesUpFixedAndChunkedWithBoundedProxyMemory) {
  ASSERT_NO_FATAL_FAILURE(serve("http", "http", "10.96.0.30", 8081));
  const std::string file = sandbox_->directory() + "/nginx-product-v1-8080/file";
  for (const std::string& framing :
       {std::string("X-Framing: fixed"), std::string("Transfer-Encoding: chunked")}) {
    CommandResult result;
    const uint64_t growth = growth_during(
        curl_spawn({"-H", framing, "-H", "Expect:", "-T", file, "http://10.96.0.30:8081/upload"}), &result);
    EXPECT_THAT(result.output, HasSubstr("received=" + std::to_string(kGibibyte) + " "))
        << framing << result.errors;
    EXPECT_LT(growth, kMaxGrowth) << framing;
  }
}

TEST_F(ProtocolsTest, ChunkedResponsesAndPostsPassWhole) {
  ASSERT_NO_FATAL_FAILURE(serve("http", "http", "10.96.0.30", 8081));
  EXPECT_EQ(
      curl(client_, {"-o", "/dev/null", "-w", "%{size_download}", "http://10.96.0.30:8081/chunked/5000000"})
          .output,
      "5000000");
  EXPECT_THAT(curl(client_, {"-d", "hello", "http://10.96.0.30:8081/"}).output, HasSubstr("received=5 "));
  EXPECT_THAT(curl(client_, {"-H", "Expect: 100-continue", "-d", "hello", "http://[fd96::30]:8081/"}).output,
              HasSubstr("received=5 "));
}

TEST_F(ProtocolsTest, RawTcpIsEchoedInEveryFamily) {
  ASSERT_NO_FATAL_FAILURE(serve("echo", "tcp-echo", "10.96.0.31", 7000));
  const std::string text = "not HTTP at all\n";
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.31:7000", text}).output, HasSubstr(text));
  EXPECT_THAT(peer(client_, {"dial", "[fd96::31]:7000", text}).output, HasSubstr(text));
  EXPECT_THAT(peer(client_, {"dial-mapped", "10.96.0.31:7000", text}).output, HasSubstr(text));
}

TEST_F(ProtocolsTest, ServerThatSpeaksFirstIsHeardAtOnceOnADeclaredTcpPort) {
  ASSERT_NO_FATAL_FAILURE(serve("greeter", "tcp-smtp", "10.96.0.32", 2525));
  const auto start = std::chrono::steady_clock::now();
  const CommandResult result = peer(client_, {"dial", "10.96.0.32:2525", "QUIT\r\n"});
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_THAT(result.output, HasSubstr("220 weft-test ready\r\n221 bye\r\n"));
  EXPECT_LT(took, milliseconds(1000));
}

TEST_F(ProtocolsTest, ServerThatSpeaksFirstIsHeardOnAPortOfUnknownProtocol) {
  ASSERT_NO_FATAL_FAILURE(serve("greeter", "mail", "10.96.0.32", 2525));
  // The client says nothing until it is greeted: sniffing must give up by itself.
  const auto start = std::chrono::steady_clock::now();
  auto dial = Process::start(in_pod(client_, {binary("weft-test-peer"), "dial", "10.96.0.32:2525"}));
  ASSERT_TRUE(dial.ok()) << dial.status();
  EXPECT_TRUE(
      wait_until(milliseconds(4'000), [&] { return (*dial)->output().find("220 ") != std::string::npos; }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(1000));
}

TEST_F(ProtocolsTest, RedisAnswersPingAndKeepsValues) {
  ASSERT_NO_FATAL_FAILURE(serve("redis", "tcp-redis", "10.96.0.33", 6379));
  const std::vector<std::string> redis = {"redis-cli", "-h", "10.96.0.33"};
  const auto command = [&](std::vector<std::string> words) {
    words.insert(words.begin(), redis.begin(), redis.end());
    return run(in_pod(client_, std::move(words))).output;
  };
  EXPECT_EQ(command({"PING"}), "PONG\n");
  EXPECT_EQ(command({"SET", "k", "v"}), "OK\n");
  EXPECT_EQ(command({"GET", "k"}), "v\n");
}

}  // namespace
}  // namespace weft::harness
