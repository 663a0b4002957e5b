// Sends that are tried again without anybody telling when.
#include "userspace-proxy/net/send_retries.h"

#include <gtest/gtest.h>

namespace weft::proxy {
namespace {

class PutOff final : public RetriedSend {
 public:
  explicit PutOff(SendRetries& retries) : retries_(retries) {}
  void retry() override {
    ++tries;
    if (tries < wanted) retries_.later(*this);
  }

  int tries = 0;
  int wanted = 1;

 private:
  SendRetries& retries_;
};

// As the loop does it: a wait as long as it may be, then what is due.
void run_until(SendRetries& retries, const PutOff& send, int tries) {
  const SystemClock clock;
  const MonotonicNs end = clock.now() + 5 * kNsPerSecond;
  while (send.tries < tries && clock.now() < end) retries.run();
}

TEST(SendRetriesTest, WaitsAreLimitedOnlyWhileSomethingIsPutOff) {
  SendRetries retries;
  EXPECT_EQ(retries.limit(-1), -1);
  EXPECT_EQ(retries.limit(1000), 1000);
  PutOff send(retries);
  retries.later(send);
  EXPECT_EQ(retries.limit(-1), 1);
  EXPECT_EQ(retries.limit(0), 0);
  run_until(retries, send, 1);
  EXPECT_EQ(send.tries, 1);
  EXPECT_EQ(retries.limit(-1), -1);
}

TEST(SendRetriesTest, TriesBecomeRarerUntilNothingIsPutOffAnyMore) {
  SendRetries retries;
  PutOff send(retries);
  send.wanted = 4;
  retries.later(send);
  for (const int waits : {1, 2, 4}) {
    EXPECT_EQ(retries.limit(-1), waits);
    run_until(retries, send, send.tries + 1);
  }
  EXPECT_EQ(send.tries, 3);
  run_until(retries, send, 4);
  EXPECT_EQ(retries.limit(-1), -1);
  const SystemClock clock;
  for (const MonotonicNs end = clock.now() + 50 * kNsPerMs; clock.now() < end;) continue;
  retries.later(send);
  EXPECT_EQ(retries.limit(-1), 1) << "the next one is a new matter";
}

TEST(SendRetriesTest, WhoGivesUpIsNotCalled) {
  SendRetries retries;
  PutOff gone(retries), stays(retries);
  retries.later(gone);
  retries.later(stays);
  gone.give_up();
  run_until(retries, stays, 1);
  EXPECT_EQ(stays.tries, 1);
  EXPECT_EQ(gone.tries, 0);
}

}  // namespace
}  // namespace weft::proxy
