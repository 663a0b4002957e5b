// The parts under the engine, each alone: timer wheel on invented time, buffers, lists, the event loop's
// order of things.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "userspace-proxy/net/buffer.h"
#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/timer_wheel.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::proxy {
namespace {

struct Alarm {
  int fired = 0;
  void fire() { ++fired; }
  Timer timer{this, method<&Alarm::fire>};
};

TEST(TimerWheelTest, FiresEachTimerOnceAtItsTimeAndNeverEarly) {
  FakeClock clock;
  TimerWheel wheel(clock.now());
  Random random(7);
  for (const uint64_t delay :
       {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{65}, uint64_t{4095}, uint64_t{4096},
        uint64_t{60'000}, uint64_t{262'144}, uint64_t{20'000'000}}) {
    for (int round = 0; round < 50; ++round) {
      clock.advance((1 + random.below(100'000)) * 1000);
      wheel.advance(clock.now());
      Alarm alarm;
      wheel.arm(alarm.timer, clock.now(), delay);
      const MonotonicNs due = clock.now() + delay * kNsPerMs;
      while (alarm.fired == 0) {
        const auto wait = wheel.wait_ms(clock.now());
        ASSERT_TRUE(wait);
        clock.advance(*wait * kNsPerMs + (*wait == 0 ? kNsPerMs : 0));
        wheel.advance(clock.now());
      }
      EXPECT_EQ(alarm.fired, 1);
      EXPECT_GE(clock.now(), due);
      EXPECT_LE(clock.now(), due + 3 * kNsPerMs) << delay;
    }
  }
}

TEST(TimerWheelTest, ForgetsACancelledOrDestroyedTimer) {
  FakeClock clock;
  TimerWheel wheel(clock.now());
  Alarm cancelled;
  wheel.arm(cancelled.timer, clock.now(), 5);
  cancelled.timer.cancel();
  {
    Alarm gone;
    wheel.arm(gone.timer, clock.now(), 5);
  }
  EXPECT_FALSE(wheel.wait_ms(clock.now()));
  clock.advance(10 * kNsPerMs);
  wheel.advance(clock.now());
  EXPECT_EQ(cancelled.fired, 0);
}

TEST(TimerWheelTest, CatchesUpAfterALongPause) {
  FakeClock clock;
  TimerWheel wheel(clock.now());
  std::vector<Alarm> alarms(500);
  for (size_t i = 0; i < alarms.size(); ++i) wheel.arm(alarms[i].timer, clock.now(), i * 137);
  clock.advance(3600 * kNsPerSecond);
  wheel.advance(clock.now());
  for (const Alarm& alarm : alarms) EXPECT_EQ(alarm.fired, 1);
}

TEST(InputBufferTest, HoldsAChunkOnlyWhileBytesAreUnread) {
  BufferPool pool;
  InputBuffer buffer(pool);
  EXPECT_EQ(pool.in_use(), 0u);
  buffer.space()[0] = 'a';
  buffer.commit(1);
  EXPECT_EQ(buffer.unread(), "a");
  buffer.consume(1);
  EXPECT_EQ(pool.in_use(), 0u);
  buffer.space();
  buffer.trim();
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(InputBufferTest, MovesUnreadBytesToMakeRoom) {
  BufferPool pool;
  InputBuffer buffer(pool);
  std::fill_n(buffer.space().begin(), kChunkBytes, 'x');
  buffer.commit(kChunkBytes);
  EXPECT_TRUE(buffer.space().empty());
  buffer.consume(kChunkBytes - 3);
  EXPECT_EQ(buffer.space().size(), kChunkBytes - 3);
  EXPECT_EQ(buffer.unread(), "xxx");
}

TEST(InputBufferTest, IsChargedToItsAccountForAsLongAsItHoldsAChunk) {
  BufferPool pool;
  Gauge account;
  InputBuffer buffer(pool, &account);
  std::fill_n(buffer.space().begin(), kChunkBytes, 'x');
  buffer.commit(kChunkBytes);
  EXPECT_EQ(account.get(), kChunkBytes);
  buffer.clear();
  EXPECT_EQ(account.get(), 0u);
  // A chunk that somebody received into before it was known whose it is.
  Chunk* chunk = pool.take(ChunkSize::kSmall);
  chunk->end = 1;
  buffer.adopt(chunk);
  EXPECT_EQ(account.get(), pool.bytes());
  buffer.consume(1);
  EXPECT_EQ(account.get(), 0u);
}

TEST(InputBufferTest, TakesLargerChunksWhileReadsFillThemAndSmallerOnesAgainAfterwards) {
  BufferPool pool;
  InputBuffer buffer(pool);
  const auto receive = [&](bool all) {
    const size_t count = all ? buffer.space().size() : 100;
    buffer.space();
    buffer.commit(count);
    buffer.clear();
    return count;
  };
  size_t largest = 0;
  for (int i = 0; i < 4; ++i) largest = receive(true);
  EXPECT_EQ(largest, 256u * 1024);
  for (int i = 0; i < 4; ++i) receive(false);
  EXPECT_FALSE(buffer.in_bulk());
  EXPECT_EQ(buffer.space().size(), kChunkBytes);
  buffer.trim();
}

TEST(BufferPoolTest, GivesBackWhatABurstTookAndKeepsWhatIsNeededAgainAndAgain) {
  BufferPool pool;
  std::vector<Chunk*> burst;
  for (int i = 0; i < 64; ++i) burst.push_back(pool.take());
  for (Chunk* chunk : burst) pool.give(chunk);
  EXPECT_EQ(pool.spare_bytes(), 64 * kChunkBytes);
  // Needed since the last call: kept.
  pool.trim();
  EXPECT_EQ(pool.spare_bytes(), 64 * kChunkBytes);
  for (int i = 0; i < 8; ++i) {
    Chunk* one = pool.take();
    Chunk* other = pool.take();
    pool.give(one);
    pool.give(other);
    pool.trim();
  }
  EXPECT_EQ(pool.spare_bytes(), 2 * kChunkBytes);
  for (int i = 0; i < 2; ++i) pool.trim();
  EXPECT_EQ(pool.spare_bytes(), 0u);
}

TEST(BufferPoolTest, ATurnOfManyConnectionsInBulkFindsItsChunksAgainInTheNext) {
  BufferPool pool;
  constexpr size_t kConnections = 64;
  std::vector<Chunk*> turn;
  for (size_t i = 0; i < kConnections; ++i) turn.push_back(pool.take(ChunkSize::kBulk));
  const size_t bytes = pool.bytes();
  for (Chunk* chunk : turn) pool.give(chunk);
  EXPECT_EQ(pool.spare_bytes(), bytes);
  // Not for ever.
  for (int i = 0; i < 8; ++i) pool.trim();
  EXPECT_EQ(pool.spare_bytes(), 0u);
}

struct Step {
  explicit Step(std::vector<int>* order, int number) : order_(order), number_(number) {}
  void run(int) { order_->push_back(number_); }
  std::vector<int>* order_;
  int number_;
  Operation operation{this, method<&Step::run>};
};

TEST(EventLoopTest, RunsDeferredStepsInOrderAndLeavesCancelledOnesOut) {
  auto loop = std::move(EventLoop::open()).value();
  std::vector<int> order;
  Step first(&order, 1), second(&order, 2), third(&order, 3);
  loop->soon(first.operation);
  loop->soon(second.operation);
  loop->soon(third.operation);
  second.operation.cancel();
  loop->turn(0);
  EXPECT_EQ(order, (std::vector<int>{1, 3}));
}

TEST(EventLoopTest, RunsWhatOtherThreadsPost) {
  auto loop = std::move(EventLoop::open()).value();
  int posted = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) loop->post([&] { ++posted; });
    loop->stop();
  });
  loop->run();
  other.join();
  loop->turn(0);
  EXPECT_EQ(posted, 1000);
}

struct Retired final : Retirable {
  explicit Retired(int* gone) : gone_(gone) {}
  ~Retired() override { ++*gone_; }
  int* gone_;
};

TEST(EventLoopTest, FreesRetiredObjectsAtTheEndOfTheTurn) {
  auto loop = std::move(EventLoop::open()).value();
  int gone = 0;
  loop->retire(std::make_unique<Retired>(&gone));
  EXPECT_EQ(gone, 0);
  loop->turn(0);
  EXPECT_EQ(gone, 1);
}

}  // namespace
}  // namespace weft::proxy
