// Sends that are tried again without anybody telling when, on invented time.
#include "userspace-proxy/net/send_retries.h"

#include <gtest/gtest.h>

namespace weft::proxy {
namespace {

class PutOff final : public RetriedSend {
 public:
  explicit PutOff(SendRetries& retries) : retries_(retries) {}
  void retry() override {
    ++tries;
    tries < wanted ? retries_.later(*this) : succeeded();
  }

  int tries = 0;
  int wanted = 1;

 private:
  SendRetries& retries_;
};

class SendRetriesTest : public testing::Test {
 protected:
  // As the loop does it: a wait as long as it may be, then what is due. Milliseconds waited.
  int turn() {
    const int wait = retries_.limit(60'000);
    clock_.advance(static_cast<MonotonicNs>(wait) * kNsPerMs);
    retries_.run();
    return wait;
  }

  FakeClock clock_;
  SendRetries retries_{clock_};
};

TEST_F(SendRetriesTest, WaitsAreLimitedOnlyWhileSomethingIsPutOff) {
  EXPECT_EQ(retries_.limit(-1), -1);
  EXPECT_EQ(retries_.limit(1000), 1000);
  PutOff send(retries_);
  retries_.later(send);
  EXPECT_EQ(retries_.limit(-1), 1);
  EXPECT_EQ(retries_.limit(0), 0);
  retries_.run();
  EXPECT_EQ(send.tries, 0) << "before its time";
  turn();
  EXPECT_EQ(send.tries, 1);
  EXPECT_EQ(retries_.limit(-1), -1);
}

TEST_F(SendRetriesTest, TriesBecomeRarerUpToASecondUntilOneSucceeds) {
  PutOff send(retries_);
  send.wanted = 13;
  retries_.later(send);
  for (const int waits : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024})
    EXPECT_EQ(turn(), waits) << send.tries;
  EXPECT_EQ(send.tries, 13);
  EXPECT_EQ(retries_.limit(-1), -1);
  retries_.later(send);
  EXPECT_EQ(retries_.limit(-1), 1) << "the next one is a new matter";
}

TEST_F(SendRetriesTest, NobodyWaitsForAnothersPodThatNeverReads) {
  PutOff never(retries_), other(retries_);
  never.wanted = 1'000'000;
  retries_.later(never);
  for (int i = 0; i < 20; ++i) turn();
  const int tries = never.tries;
  retries_.later(other);
  EXPECT_EQ(turn(), 1);
  EXPECT_EQ(other.tries, 1);
  EXPECT_EQ(never.tries, tries) << "is not tried with it";
}

TEST_F(SendRetriesTest, WhoGivesUpIsNotCalled) {
  PutOff gone(retries_), stays(retries_);
  retries_.later(gone);
  retries_.later(stays);
  gone.give_up();
  turn();
  EXPECT_EQ(stays.tries, 1);
  EXPECT_EQ(gone.tries, 0);
}

}  // namespace
}  // namespace weft::proxy
