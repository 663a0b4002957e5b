// An agent whose installation ends: capture stops at once, what is captured goes on to its end, and no change
// brings it back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/agent_world.h"

namespace weft::agent {
namespace {

using ::testing::Contains;

class UninstallTest : public AgentWorld {
 protected:
  void SetUp() override {
    AgentWorld::SetUp();
    control_plane::Change change;
    change.generation = 2;
    change.local_pods = {
        {.uid = "u", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true}};
    subscriber_(change);
    ASSERT_TRUE(enroll("shop/db", "/ns/db").ok());
    ASSERT_EQ(status().pods_captured(), 2u);
  }
};

TEST_F(UninstallTest, PodsOfManifestsAndOfOperatorsAreReleased) {
  agent_->stop_capturing();
  EXPECT_EQ(agent_->captured(), 0u);
  EXPECT_THAT(journal_.all(), Contains("unenroll /ns/web"));
  EXPECT_THAT(journal_.all(), Contains("unenroll /ns/db"));
}

TEST_F(UninstallTest, OpenConnectionsKeepTheirNamespaceUntilTheyEnd) {
  auto* fake = static_cast<FakeDataplane*>(dataplane_);
  fake->captured_counts[fake->cookies.at("/ns/web")] = 3;
  agent_->stop_capturing();
  EXPECT_EQ(agent_->captured(), 1u);
  EXPECT_THAT(journal_.all(), ::testing::Not(Contains("unenroll /ns/web")));
}

TEST_F(UninstallTest, AnAgentThatStartsAgainFindsNoEnrolment) {
  agent_->stop_capturing();
  agent_.reset();
  start();
  EXPECT_EQ(status().pods_eligible(), 0u);
}

}  // namespace
}  // namespace weft::agent
