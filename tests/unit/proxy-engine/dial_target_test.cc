// DialTarget: which endpoint a further try gets when others failed, rest or are far away.
#include "userspace-proxy/exchange/dial_target.h"

#include <gtest/gtest.h>

namespace weft::proxy {
namespace {

// Two endpoints, of which the second rests.
class DialTargetTest : public ::testing::Test {
 protected:
  DialTargetTest() {
    auto snapshot = std::make_shared<Snapshot>();
    auto policy = std::make_shared<ClusterPolicy>();
    policy->outlier = OutlierSettings{.consecutive_5xx = 1, .max_ejection_percent = 50};
    Cluster cluster{.name = "c", .load_balancer = LoadBalancer::kRoundRobin};
    cluster.policy = policy;
    for (uint16_t port : {1, 2})
      cluster.endpoints.push_back(Endpoint{.address = {*IpAddress::parse("10.0.0.1"), port}});
    snapshot->clusters.push_back(std::move(cluster));
    generation_ = GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
    balancer_.pick_endpoint(*generation_, 0, {}, {.now = 1});
    balancer_.report(*generation_, 0, 1, TryResult{.status = 500}, 1);
    target_.aim(generation_, 0, {});
    EXPECT_EQ(target_.pick(2), Outcome::kOk);
    EXPECT_EQ(target_.endpoint_index(), 0u);
  }

  Balancer balancer_{1};
  GenerationRef generation_;
  DialTarget target_{balancer_};
};

TEST_F(DialTargetTest, AFurtherTryTakesWhatWasAvoidedRatherThanNothing) {
  for (int i = 0; i < 4; ++i) {
    target_.leave(true);
    EXPECT_EQ(target_.pick(2), Outcome::kOk);
    EXPECT_EQ(target_.endpoint_index(), 0u);
  }
}

TEST_F(DialTargetTest, WhenAllOthersRestTheFailureIsThatOfTheLast) {
  EXPECT_TRUE(target_.fail(Outcome::kConnectRefused));
  EXPECT_EQ(target_.pick(2), Outcome::kConnectRefused);
}

TEST_F(DialTargetTest, NobodyAtAllIsNoEndpoint) {
  auto empty = std::make_shared<Snapshot>();
  empty->clusters.push_back(Cluster{.name = "empty"});
  const GenerationRef none(std::make_unique<Generation>(std::move(empty)));
  DialTarget target(balancer_);
  target.aim(none, 0, {});
  EXPECT_EQ(target.pick(3), Outcome::kNoEndpoint);
}

}  // namespace
}  // namespace weft::proxy
