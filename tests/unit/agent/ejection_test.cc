// Failing backends rest, come back step by step, and never leave a service with less than half.
#include "agent/mesh/ejection.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

constexpr MonotonicNs kNever = UINT64_MAX;
const SocketAddress kA = *SocketAddress::parse("10.0.0.1:80");
const SocketAddress kB = *SocketAddress::parse("10.0.0.2:80");

std::vector<uint32_t> percents(const std::vector<Ejection::Share>& shares) {
  std::vector<uint32_t> out;
  for (const auto& share : shares) out.push_back(share.percent);
  return out;
}

TEST(EjectionTest, BackendRestsAndComesBackByGrowingShares) {
  Ejection ejection;
  EXPECT_EQ(ejection.next(kNever), kNever);
  EXPECT_EQ(ejection.fail(1, kA, 2, 0), 0u);
  EXPECT_EQ(ejection.resting(), 1u);
  EXPECT_TRUE(ejection.advance(Ejection::kRest - 1).empty());
  MonotonicNs now = ejection.next(kNever);
  EXPECT_EQ(now, Ejection::kRest);
  for (const uint32_t share : {10u, 25u, 50u, 100u}) {
    EXPECT_EQ(percents(ejection.advance(now)), std::vector<uint32_t>{share});
    EXPECT_EQ(ejection.resting(), 0u);
    now = ejection.next(kNever);
  }
  EXPECT_TRUE(ejection.advance(now).empty());
  EXPECT_EQ(ejection.next(kNever), kNever) << "forgotten after being well for long";
}

TEST(EjectionTest, RelapseRestsLonger) {
  Ejection ejection;
  ejection.fail(1, kA, 2, 0);
  ejection.advance(Ejection::kRest);
  ejection.fail(1, kA, 2, Ejection::kRest);
  EXPECT_EQ(ejection.next(kNever), 3 * Ejection::kRest);
}

TEST(EjectionTest, HalfOfTheBackendsStay) {
  Ejection ejection;
  EXPECT_EQ(ejection.fail(1, kA, 1, 0), 100u) << "the only one";
  EXPECT_EQ(ejection.fail(1, kA, 3, 0), 0u);
  EXPECT_EQ(ejection.fail(1, kB, 3, 0), 100u) << "two of three";
  EXPECT_EQ(ejection.fail(2, kB, 2, 0), 0u) << "another service";
  EXPECT_EQ(ejection.fail(1, kA, 3, 0), 0u) << "itself again";
}

TEST(EjectionTest, FarWorseIsAgainstTheMedianOfTheSiblings) {
  EXPECT_FALSE(Ejection::is_far_worse(1'000'000, {})) << "nobody to compare with";
  EXPECT_TRUE(Ejection::is_far_worse(60'000, {1'000}));
  EXPECT_FALSE(Ejection::is_far_worse(60'000, {50'000, 1'000, 70'000})) << "most are as slow";
  EXPECT_FALSE(Ejection::is_far_worse(60'000, {1'000, 70'000})) << "of two the slower counts";
  EXPECT_TRUE(Ejection::is_far_worse(60'000, {1'000, 2'000, 70'000}));
  EXPECT_FALSE(Ejection::is_far_worse(0xffffffff, {0xffffffff}));
}

TEST(EjectionTest, ServiceThatWentIsForgotten) {
  Ejection ejection;
  ejection.fail(1, kA, 2, 0);
  ejection.forget(1);
  EXPECT_EQ(ejection.next(kNever), kNever);
}

}  // namespace
}  // namespace weft::agent
