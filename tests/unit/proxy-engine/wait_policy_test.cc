// When a worker looks before it sleeps, and when it sleeps until more has come.
#include "userspace-proxy/net/wait_policy.h"

#include <gtest/gtest.h>

#include "userspace-proxy/exchange/sole_client.h"

namespace weft::proxy {
namespace {

using Kind = WaitPolicy::Kind;

// One exchange at a time, each wait ended by one completion.
Kind alone(WaitPolicy& policy, uint64_t in_flight) {
  const Kind kind = policy.next(in_flight).kind;
  policy.came(1);
  return kind;
}

void settle_alone(WaitPolicy& policy) {
  for (int i = 0; i < 40; ++i) {
    if (alone(policy, 1) == Kind::kLook) return policy.looked(true);
  }
  FAIL() << "never looked";
}

TEST(WaitPolicyTest, LooksOnceOneExchangeAtATimeIsTheRule) {
  WaitPolicy policy;
  EXPECT_EQ(alone(policy, 1), Kind::kSleep);
  settle_alone(policy);
  EXPECT_EQ(alone(policy, 0), Kind::kLook);
  policy.looked(true);
  EXPECT_EQ(alone(policy, 1), Kind::kLook);
  policy.looked(true);
  EXPECT_EQ(alone(policy, 2), Kind::kSleep) << "not alone any more";
  EXPECT_EQ(alone(policy, 1), Kind::kSleep) << "nor for a while";
}

TEST(SoleClientTest, IsTheOnlyOneThatAsksForAWhile) {
  SoleClient client;
  EXPECT_FALSE(client.is());
  const auto ask = [&](uint16_t port, int times) {
    for (int i = 0; i < times; ++i) client.asks(port);
    return client.is();
  };
  EXPECT_FALSE(ask(1, 8));
  EXPECT_TRUE(ask(1, 32));
  EXPECT_EQ(client.in_flight(0), 0u);
  EXPECT_EQ(client.in_flight(1), 1u);
  EXPECT_FALSE(ask(2, 1));
  EXPECT_EQ(client.in_flight(0), 2u);
  EXPECT_EQ(client.in_flight(9), 9u);
  EXPECT_FALSE(ask(1, 1));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(ask(static_cast<uint16_t>(3 + i % 2), 1));
  EXPECT_TRUE(ask(1, 32));
}

TEST(WaitPolicyTest, LooksLessAndLessWhereNothingIsFoundAndAgainWhereSomethingIs) {
  WaitPolicy policy;
  settle_alone(policy);
  // The next request never comes in time, the answer always does.
  int looks = 0;
  for (int i = 0; i < 1000; ++i) {
    if (alone(policy, 0) == Kind::kLook) {
      ++looks;
      policy.looked(false);
    }
    ASSERT_EQ(alone(policy, 1), Kind::kLook);
    policy.looked(true);
  }
  EXPECT_GT(looks, 3);
  EXPECT_LT(looks, 15);
  int waits = 0;
  while (alone(policy, 0) != Kind::kLook && waits < 2000) ++waits;
  EXPECT_LT(waits, 1100) << "rests end";
  policy.looked(true);
  EXPECT_EQ(alone(policy, 0), Kind::kLook);
}

TEST(WaitPolicyTest, GathersWhileTurnsAreLarge) {
  WaitPolicy policy;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(policy.next(64).kind, Kind::kSleep);
    policy.came(1);
  }
  int turns = 0;
  while (policy.next(64).kind != Kind::kGather && ++turns < 100) policy.came(3);
  const WaitPolicy::Wait wait = policy.next(64);
  EXPECT_EQ(wait.kind, Kind::kGather);
  EXPECT_EQ(wait.completions, 32u);
  EXPECT_EQ(policy.next(12).completions, 12u) << "no more than can come";
  for (int i = 0; i < 100; ++i) {
    policy.came(8);
    EXPECT_EQ(policy.next(64).kind, Kind::kGather);
  }
  for (int i = 0; i < 100; ++i) policy.came(3);
  EXPECT_EQ(policy.next(64).kind, Kind::kSleep) << "waiting brings too little";
}

TEST(WaitPolicyTest, NeitherLooksNorGathersForALoopThatSaysNothing) {
  WaitPolicy policy;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(policy.next(kUnknownInFlight).kind, Kind::kSleep);
    policy.came(20);
  }
}

TEST(WaitPolicyTest, DoesNotGatherForFewExchanges) {
  WaitPolicy policy;
  for (int i = 0; i < 100; ++i) policy.came(8);
  EXPECT_EQ(policy.next(7).kind, Kind::kSleep);
  EXPECT_EQ(policy.next(8).kind, Kind::kGather);
}

}  // namespace
}  // namespace weft::proxy
