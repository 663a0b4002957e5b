// Pods that ask for the shortcut, with everything real: client, proxy and server of one node, under load,
// with bodies larger than what may wait unread, and while agent and proxy are replaced.
#include <signal.h>

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

constexpr char kNear[] = "10.96.0.70";
constexpr uint64_t kFileBytes = 5'000'000;

std::string asking(std::string pod) {
  const std::string at = "  annotations:\n";
  return pod.insert(pod.find(at) + at.size(), "    weft.dev/shortcut: enabled\n");
}

class ShortcutMeshTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto near = topology_->add_pod(1, "near");
    ASSERT_TRUE(near.ok()) << near.status();
    auto server = start_nginx(*sandbox_, *near, 8080, "near", kFileBytes);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_.push_back(*std::move(server));
    const ServiceSpec service{.name = "near",
                              .ip4 = kNear,
                              .ip6 = "",
                              .ports = {{.name = "http", .port = 80, .target_port = 8080}}};
    mesh_->manifests().write("near.yaml",
                             asking(pod_yaml(*near, {{"app", "near"}}, true)) + service_yaml(service));
    const ServiceSpec product{.name = "product-service",
                              .ip4 = kProductIp4,
                              .ip6 = kProductIp6,
                              .ports = {{.name = "http", .port = 80, .target_port = 8080}}};
    mesh_->manifests().write("pods.yaml",
                             asking(pod_yaml(client_, {{"app", "client"}}, true)) +
                                 pod_yaml(v1_, {{"app", "product-service"}, {"version", "v1"}}, false) +
                                 pod_yaml(v2_, {{"app", "product-service"}, {"version", "v2"}}, false) +
                                 service_yaml(product));
    ASSERT_TRUE(cli_shows({"status"}, "2 pods")) << mesh_->log();
    ASSERT_TRUE(reachable(kNear));
    // Older kernels cannot have it, and say so by this; anything else that keeps it off is a fault.
    const std::string problem = shortcut()["problem"];
    if (problem.find("FIONREAD does not count") != std::string::npos) GTEST_SKIP() << problem;
    ASSERT_EQ(problem, "");
  }
  nlohmann::json shortcut() const {
    return nlohmann::json::parse(mesh_->cli({"status", "-o", "json"}).output)["shortcut"];
  }
  std::unique_ptr<Process> background(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {str_cat(kNear, ":80"), "-d", "60", "--rate", "500", "--timeout", "20"});
    auto process = Process::start(load_spawn(client_, std::move(arguments), "0.1"));
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? std::move(*process) : nullptr;
  }
  LoadResult finish(Process& process, uint64_t enough) {
    EXPECT_TRUE(wait_until(milliseconds(30'000), [&] { return requests_so_far(process.output()) >= enough; }))
        << process.output() << mesh_->log();
    process.signal(SIGINT);
    EXPECT_TRUE(process.wait(milliseconds(30'000)).has_value());
    return parse_load(process.output());
  }
  void expect_traffic() {
    const LoadResult result = load(client_, {str_cat(kNear, ":80"), "-n", "300", "-c", "4"});
    EXPECT_EQ(result.requests, 300u) << result.text << mesh_->log();
    EXPECT_EQ(result.failed, 0u) << result.text;
  }
};

TEST_F(ShortcutMeshTest, NearlyAllSendsOfAnExchangeGoPastTcp) {
  const uint64_t before = shortcut()["messages"];
  const LoadResult result = load(client_, {str_cat(kNear, ":80"), "-n", "2000", "-c", "8"});
  EXPECT_EQ(result.requests, 2000u) << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_GT(shortcut()["messages"].get<uint64_t>() - before, 4 * 2000 * 9 / 10) << shortcut().dump();
  // To another node only the client's half goes past TCP.
  EXPECT_EQ(load(client_, {kProductV4, "-n", "200", "-c", "2"}).failed, 0u);
}

TEST_F(ShortcutMeshTest, BodiesLargerThanWhatMayWaitUnreadArriveWhole) {
  const std::string url = str_cat("http://", kNear, "/file");
  const std::string whole = str_cat("200 ", kFileBytes, "\n");
  for (const char* rate : {"0", "4M"}) {
    // A second one on the same connection.
    const std::vector<std::string> twice = {"--http1.1",
                                            "--limit-rate",
                                            rate,
                                            "-o",
                                            "/dev/null",
                                            "-o",
                                            "/dev/null",
                                            "-w",
                                            "%{http_code} %{size_download}\n",
                                            url,
                                            url};
    EXPECT_EQ(curl(client_, twice).output, whole + whole) << rate;
    const std::vector<std::string> multiplexed = {"--http2-prior-knowledge",
                                                  "--limit-rate",
                                                  rate,
                                                  "-o",
                                                  "/dev/null",
                                                  "-w",
                                                  "%{http_code} %{size_download}\n",
                                                  url};
    EXPECT_EQ(curl(client_, multiplexed).output, whole) << rate;
  }
  EXPECT_EQ(shortcut()["byTcp"].value("shortcut_mixed", 0), 0) << shortcut().dump();
}

// Then one write is several messages, of 17 small pages each, of which the first may go past TCP while the
// next is put off: no byte is under way by TCP, and nothing tells when to go on.
class SmallPages {
 public:
  SmallPages() : before_(exchange("1")) {}
  ~SmallPages() { exchange(before_); }

 private:
  static std::string exchange(const std::string& value) {
    constexpr char kSwitch[] = "/proc/sys/net/core/high_order_alloc_disable";
    std::string before;
    std::ifstream(kSwitch) >> before;
    std::ofstream(kSwitch) << value;
    return before;
  }
  const std::string before_;
};

TEST_F(ShortcutMeshTest, WriteThatIsPutOffInTheMiddleGoesOn) {
  const SmallPages pages;
  const std::string url = str_cat("http://", kNear, "/file");
  const std::string whole = str_cat("200 ", kFileBytes, "\n");
  for (int i = 0; i < 10; ++i) {
    const auto got = curl(client_, {"--http1.1", "--max-time", "20", "-o", "/dev/null", "-w",
                                    "%{http_code} %{size_download}\n", url});
    ASSERT_EQ(got.output, whole) << i << ": " << shortcut().dump();
  }
  EXPECT_GT(shortcut()["byTcp"].value("shortcut_left", 0), 0) << shortcut().dump();
}

TEST_F(ShortcutMeshTest, AgentThatIsKilledAndComesBackDisturbsNobody) {
  auto clients = background({"-c", "8"});
  ASSERT_NE(clients, nullptr);
  mesh_->kill_agent();
  expect_traffic();
  const absl::Status started = mesh_->start_agent();
  ASSERT_TRUE(started.ok()) << started;
  ASSERT_TRUE(cli_shows({"status"}, "shortcut: 2 pods")) << mesh_->log();
  expect_traffic();
  const LoadResult result = finish(*clients, 500);
  EXPECT_EQ(result.retries, 0u) << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text;
}

TEST_F(ShortcutMeshTest, ProxyThatIsReplacedFailsNoRequest) {
  auto clients = background({"-c", "8"});
  ASSERT_NE(clients, nullptr);
  expect_traffic();
  EXPECT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  expect_traffic();
  const LoadResult result = finish(*clients, 500);
  EXPECT_EQ(result.retries, 0u) << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text;
}

}  // namespace
}  // namespace weft::harness
