// The canary: weights of a VirtualService decide the share of each version, exactly enough, also while they
// change under load.
#include <signal.h>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using CanaryTest = MeshTest;

TEST_F(CanaryTest, TwentyThousandRequestsSplitNinetyFiveToFive) {
  const LoadResult result = load(client_, {kProductV4, "-n", "20000", "-c", "16"});
  EXPECT_EQ(result.requests, 20'000u) << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_NEAR(result.share("v2"), 0.05, 0.006) << result.text;
  EXPECT_EQ(result.versions.size(), 2u) << result.text;
}

TEST_F(CanaryTest, SplitHoldsOverIpv6AndMappedIpv4AndForNewConnections) {
  const LoadResult six = load(client_, {kProductV6, "-n", "4000", "-c", "8"});
  EXPECT_EQ(six.failed, 0u) << six.text;
  EXPECT_NEAR(six.share("v2"), 0.05, 0.015) << six.text;
  const LoadResult mapped = load(client_, {kProductV4, "--mapped", "-n", "4000", "-c", "8"});
  EXPECT_EQ(mapped.failed, 0u) << mapped.text;
  EXPECT_NEAR(mapped.share("v2"), 0.05, 0.015) << mapped.text;
  const LoadResult fresh = load(client_, {kProductV4, "--new-connections", "-n", "4000", "-c", "8"});
  EXPECT_EQ(fresh.failed, 0u) << fresh.text;
  EXPECT_NEAR(fresh.share("v2"), 0.05, 0.015) << fresh.text;
}

TEST_F(CanaryTest, NoRequestFailsWhileWeightsChangeTwentyTimesUnderLoad) {
  auto running = Process::start(load_spawn(client_, {kProductV4, "-d", "60", "-c", "16", "--rate", "3000"}));
  ASSERT_TRUE(running.ok()) << running.status();
  for (uint32_t change = 1; change <= 20; ++change) {
    const uint32_t v2 = change * 5;
    mesh_->manifests().write("canary.yaml", canary_yaml(100 - v2, v2));
    ASSERT_TRUE(cli_shows({"get", "routes"}, str_cat("v2 ", v2, "%"))) << mesh_->log();
    ASSERT_TRUE(cli_shows({"status"}, "current")) << "the proxy must route by it too: " << mesh_->log();
  }
  (*running)->signal(SIGINT);
  ASSERT_TRUE((*running)->wait(milliseconds(10'000)).has_value());
  const LoadResult result = parse_load((*running)->output());
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_EQ(result.retries, 0u) << "a new configuration must not end a connection: " << result.text;
  EXPECT_GT(result.requests, 1000u) << result.text;
  const LoadResult after = load(client_, {kProductV4, "-n", "500", "-c", "4"});
  EXPECT_EQ(after.share("v2"), 1.0) << after.text;
}

TEST_F(CanaryTest, RefusedManifestLeavesTheLastGoodSplitInForce) {
  mesh_->manifests().write("canary.yaml", canary_yaml(0, 100));
  ASSERT_TRUE(cli_shows({"get", "routes"}, "100%"));
  std::string broken = canary_yaml(100, 0);
  broken.replace(broken.find("weight"), 6, "wieght");
  mesh_->manifests().write("canary.yaml", broken);
  ASSERT_TRUE(cli_shows({"status"}, "canary.yaml")) << "the finding must be visible in weft status";
  const LoadResult result = load(client_, {kProductV4, "-n", "500", "-c", "4"});
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_EQ(result.share("v2"), 1.0) << result.text;
}

}  // namespace
}  // namespace weft::harness
