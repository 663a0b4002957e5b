// The ConfigMaps of the mesh on an API server: read by their name, told with the first change, followed, and
// done without where the right is missing.
#include "control-plane/kubernetes/mesh_config_watches.h"

#include <atomic>
#include <memory>

#include "base/strings.h"
#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

constexpr char kConfigMaps[] = "/api/v1/namespaces/istio-system/configmaps";
constexpr char kConfig[] = "ConfigMap istio-system/istio";

Json config_map(const std::string& mesh) {
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", {{"namespace", "istio-system"}, {"name", "istio"}}},
          {"data", {{"mesh", mesh}}}};
}

class MeshConfigWatchTest : public SourceTest {
 protected:
  uint32_t connect_timeout() {
    const auto found = state_.find(kConfig);
    if (found == state_.end() || found->second.objects.empty()) return 0;
    return std::get<MeshConfig>(found->second.objects.front()).message.connect_timeout_ms();
  }
};

TEST_F(MeshConfigWatchTest, ItIsToldWithTheFirstChangeAndFollowed) {
  server_.put(kConfigMaps, config_map("connectTimeout: 2s"));
  start_and_wait();
  EXPECT_TRUE(wait_until([&] { return connect_timeout() == 2000; }));
  EXPECT_EQ(told(), 1u) << "with the first change";
  server_.put(kConfigMaps, config_map("connectTimeout: 3s"));
  EXPECT_TRUE(wait_until([&] { return connect_timeout() == 3000; }));
  EXPECT_GT(server_.count(kConfigMaps,
                          [](const Request& r) { return r.value("fieldSelector") == "metadata.name=istio"; }),
            0u)
      << "it is asked for by its name";
}

// A server in trouble has not said that there is none: the mesh must not begin with other settings.
TEST_F(MeshConfigWatchTest, TheFirstChangeWaitsWhileTheServerFailsToAnswer) {
  server_.set_script(
      [failures = std::make_shared<std::atomic<int>>(10)](const Request& r) -> std::optional<Reply> {
        if (r.path != kConfigMaps || (*failures)-- <= 0) return std::nullopt;
        return Reply{.status = 500, .body = R"({"kind":"Status","message":"later"})"};
      });
  server_.put(kConfigMaps, config_map("connectTimeout: 2s"));
  start_and_wait();
  EXPECT_EQ(told(), 1u);
  EXPECT_TRUE(wait_until([&] { return connect_timeout() == 2000; }));
  EXPECT_EQ(told(), 1u) << "with the first change";
}

TEST_F(MeshConfigWatchTest, PatienceCountsFromTheFirstQuestion) {
  auto client = ApiClient::create(access_, options_.client);
  ASSERT_TRUE(client.ok()) << client.status();
  std::minstd_rand random(1);
  MeshConfigWatches watches(mesh_config_kinds(), **client, options_.timing, random);
  const auto first = MeshConfigWatches::Clock::now() + std::chrono::hours(1);
  const auto until = watches.awaited(first);
  EXPECT_EQ(until, first + std::chrono::seconds(30));
  EXPECT_EQ(watches.awaited(first + std::chrono::seconds(29)), until);
  MeshConfigWatches none({}, **client, options_.timing, random);
  EXPECT_LE(none.awaited(first), first);
}

TEST_F(MeshConfigWatchTest, WhoMayNotReadItGoesOnWithoutAndSaysSo) {
  server_.set_script([](const Request& r) -> std::optional<Reply> {
    if (r.path != kConfigMaps) return std::nullopt;
    return Reply{.status = 403, .body = R"({"kind":"Status","message":"no"})"};
  });
  server_.put(kServices, service("web"));
  start_and_wait();
  EXPECT_EQ(connect_timeout(), 0u);
  EXPECT_EQ(state_.count("Service shop/web"), 1u);
  EXPECT_TRUE(report_says([](const SourceReport& report) {
    for (const std::string& problem : report.problems) {
      if (problem.find("allow list and watch of configmaps") != std::string::npos) return true;
    }
    return false;
  }));
}

}  // namespace
}  // namespace weft::control_plane::test
