// The order in which pods get their turns, and when overload begins and ends; with the loop turned by hand.
#include "userspace-proxy/exchange/fair_share.h"

#include <gtest/gtest.h>

#include "userspace-proxy/exchange/admission.h"

namespace weft::proxy {
namespace {

// Moves `steps` steps of `bytes` as fast as its pod may, and notes each.
class FakePump {
 public:
  FakePump(FairShare& share, ShareAccount& account, char name, size_t bytes, int steps, std::string& log)
      : share_(share), account_(account), name_(name), bytes_(bytes), steps_(steps), log_(log) {}
  void run(int) {
    for (; steps_ > 0; --steps_) {
      if (!share_.may_go_on(account_, more_)) return;
      log_ += name_;
      FairShare::charge(account_, bytes_);
    }
  }
  Operation& operation() { return more_; }

 private:
  FairShare& share_;
  ShareAccount& account_;
  char name_;
  size_t bytes_;
  int steps_;
  std::string& log_;
  Operation more_{this, method<&FakePump::run>};
};

// Begins `requests` as fast as its pod may, and notes each.
class FakeRequests {
 public:
  FakeRequests(FairShare& share, ShareAccount& account, char name, int requests, std::string& log)
      : share_(share), account_(account), name_(name), requests_(requests), log_(log) {}
  void run(int) {
    for (; requests_ > 0; --requests_) {
      if (!share_.may_begin(account_, more_)) return;
      log_ += name_;
    }
  }
  Operation& operation() { return more_; }

 private:
  FairShare& share_;
  ShareAccount& account_;
  char name_;
  int requests_;
  std::string& log_;
  Operation more_{this, method<&FakeRequests::run>};
};

class FairShareTest : public ::testing::Test {
 protected:
  std::unique_ptr<EventLoop> loop_ = *EventLoop::open();
  FairShare share_{*loop_};
  ShareAccount one_, two_;
  std::string log_;
  static constexpr size_t kHalf = FairShare::kQuantum / 2;
};

TEST_F(FairShareTest, ServesAPodThatHasLittleToDoBeforeOneThatUsedItsShare) {
  FakePump bulk(share_, one_, 'b', kHalf, 6, log_), small(share_, two_, 's', 100, 1, log_);
  bulk.run(0);
  EXPECT_EQ(log_, "bb");
  loop_->post([&] { loop_->soon(small.operation()); });
  loop_->turn(0);
  EXPECT_EQ(log_, "bbsbb");
}

TEST_F(FairShareTest, LetsALonePodGoOnInEveryTurnWithoutSleep) {
  FakePump bulk(share_, one_, 'b', kHalf, 7, log_);
  bulk.run(0);
  // A turn that slept would wait here for ever.
  for (int i = 0; i < 3; ++i) loop_->turn(-1);
  EXPECT_EQ(log_, "bbbbbbb");
}

TEST_F(FairShareTest, SharesByPodAndNotByTheNumberOfItsFlows) {
  FakePump a(share_, one_, 'a', kHalf, 8, log_), b(share_, one_, 'b', kHalf, 8, log_),
      c(share_, one_, 'c', kHalf, 8, log_), other(share_, two_, 'o', kHalf, 8, log_);
  for (FakePump* pump : {&a, &b, &c, &other}) pump->run(0);
  EXPECT_EQ(log_, "aaoo");
  // The flows of a pod take turns within its share.
  for (int i = 0; i < 3; ++i) loop_->turn(0);
  EXPECT_EQ(log_, "aaooaaoobbooccoo");
}

TEST_F(FairShareTest, MakesAPodPayForAStepThatWasLargerThanItsShare) {
  FakePump large(share_, one_, 'l', 3 * FairShare::kQuantum, 2, log_),
      other(share_, two_, 'o', FairShare::kQuantum, 4, log_);
  large.run(0);
  other.run(0);
  for (int i = 0; i < 3; ++i) loop_->turn(0);
  EXPECT_EQ(log_, "looolo");
}

TEST_F(FairShareTest, LetsRequestsOfALonePodWaitForNothing) {
  FakeRequests many(share_, one_, 'm', 100, log_);
  many.run(0);
  EXPECT_EQ(log_, std::string(100, 'm'));
}

TEST_F(FairShareTest, ChargesRequestsWhereAnotherPodHasSomethingToDo) {
  constexpr int kInATurn = FairShare::kQuantum / FairShare::kRequest;
  FakeRequests few(share_, two_, 'f', 1, log_), many(share_, one_, 'm', 3 * kInATurn, log_),
      later(share_, two_, 'l', 1, log_);
  few.run(0);
  many.run(0);
  EXPECT_EQ(log_, "f" + std::string(kInATurn, 'm'));
  log_.clear();
  loop_->post([&] { loop_->soon(later.operation()); });
  loop_->turn(0);
  EXPECT_EQ(log_, "l" + std::string(kInATurn, 'm'));
}

TEST_F(FairShareTest, ForgetsThatAnotherPodHadSomethingToDo) {
  FakeRequests few(share_, two_, 'f', 1, log_), many(share_, one_, 'm', 100, log_);
  FakeRequests before(share_, one_, 'b', 1, log_);
  before.run(0);
  few.run(0);
  for (int i = 0; i < 256; ++i) loop_->turn(0);
  log_.clear();
  many.run(0);
  EXPECT_EQ(log_, std::string(100, 'm'));
}

// Else flows whose sockets have something in each turn would go before those that wait for ever.
TEST_F(FairShareTest, ServesWhoWaitsBeforeWhoComesLater) {
  FakePump first(share_, one_, 'f', kHalf, 2, log_), waits(share_, one_, 'w', kHalf, 1, log_),
      later(share_, one_, 'l', kHalf, 1, log_);
  first.run(0);
  waits.run(0);
  loop_->post([&] { later.run(0); });
  loop_->turn(0);
  EXPECT_EQ(log_, "ffwl");
}

TEST_F(FairShareTest, ForgetsAPumpThatEndsWhileItWaits) {
  auto bulk = std::make_unique<FakePump>(share_, one_, 'b', kHalf, 6, log_);
  bulk->run(0);
  bulk.reset();
  loop_->turn(0);
  EXPECT_EQ(log_, "bb");
}

TEST(AdmissionTest, IsOverloadedFromNinetyPerCentUntilBelowEighty) {
  Admission admission(AdmissionLimits{.connections = 100});
  PodUse pod;
  EXPECT_FALSE(admission.observe({.connections = 89}));
  EXPECT_TRUE(admission.observe({.connections = 90}));
  EXPECT_EQ(admission.surplus(90), 11u);
  EXPECT_FALSE(admission.admit(pod));
  EXPECT_FALSE(admission.observe({.connections = 80}));
  EXPECT_TRUE(admission.overloaded());
  EXPECT_TRUE(admission.observe({.connections = 79}));
  EXPECT_TRUE(admission.admit(pod));
  EXPECT_EQ(admission.shed(), 1u);
  EXPECT_EQ(pod.refusals(Refusal::kOverload), 1u);
}

TEST(AdmissionTest, GivesUpIdleConnectionsBeforeItRefusesRequests) {
  Admission admission(AdmissionLimits{.descriptors = 1000});
  EXPECT_EQ(admission.idle_surplus(799), 0u);
  EXPECT_EQ(admission.idle_surplus(850), 51u);
  EXPECT_FALSE(admission.observe({.descriptors = 850}));
  EXPECT_TRUE(admission.observe({.descriptors = 900}));
}

TEST(AdmissionTest, IsOverloadedForAsLongAsDescriptorsHaveRunOut) {
  Admission admission(AdmissionLimits{});
  EXPECT_TRUE(admission.observe({.starved = true}));
  EXPECT_FALSE(admission.observe({.starved = true}));
  EXPECT_TRUE(admission.observe({}));
  EXPECT_FALSE(admission.overloaded());
}

TEST(AdmissionTest, TellsWhichBudgetOfThePodIsUsedUp) {
  Admission admission(AdmissionLimits{.pod_exchanges = 2, .pod_buffered_bytes = 100});
  PodUse pod;
  pod.exchanges.add(2);
  pod.buffered_bytes.add(100);
  EXPECT_TRUE(admission.admit(pod));
  pod.buffered_bytes.add(1);
  EXPECT_FALSE(admission.admit(pod));
  EXPECT_EQ(pod.refusals(Refusal::kPodBytes), 1u);
  pod.exchanges.add(1);
  EXPECT_FALSE(admission.admit(pod));
  EXPECT_EQ(pod.refusals(Refusal::kPodRequests), 1u);
}

TEST(AdmissionTest, IsOverloadedByBufferedBytesWithoutGivingUpConnections) {
  Admission admission(AdmissionLimits{.connections = 100, .buffered_bytes = 1000});
  EXPECT_TRUE(admission.observe({.connections = 10, .buffered_bytes = 900}));
  EXPECT_EQ(admission.surplus(10), 0u);
  EXPECT_TRUE(admission.observe({.connections = 10, .buffered_bytes = 799}));
}

TEST(AdmissionTest, KnowsAMemoryLimitOfThisMachine) {
  EXPECT_GT(memory_limit(), 0u);
  EXPECT_LT(memory_limit(), ~uint64_t{0});
}

}  // namespace
}  // namespace weft::proxy
