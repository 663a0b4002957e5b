// An API server that is away for long, comes back, forgets, is slow or refuses: what all kinds together ask
// of it then is counted, nothing known is lost meanwhile, and in the end everything is as the server has it.
// Times are those of a cluster divided by kFaster, so that ten minutes are some seconds.
#include <atomic>
#include <cmath>

#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kFaster = 200;
constexpr milliseconds kTenMinutes = milliseconds(600'000) / kFaster;

class OutageTest : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    const ReflectorTiming real;
    options_.timing = real;
    options_.timing.first_retry = real.first_retry / kFaster;
    options_.timing.longest_retry = real.longest_retry / kFaster;
    options_.timing.first_look = milliseconds(1);
    // Kinds that are not installed are not what is counted.
    options_.timing.longest_look = std::chrono::hours(1);
    options_.timing.short_watch = milliseconds(1);
    server_.put(kServices, service("web"));
    server_.put(kPods, pod("web-1"));
  }

  // Requests for the kinds that this server has.
  size_t requests() const {
    size_t out = 0;
    for (const char* collection : kCollections) out += server_.requests(collection).size();
    return out;
  }
  size_t lists() const {
    size_t out = 0;
    for (const char* collection : kCollections)
      out += server_.count(collection, [](const Request& r) { return is_list(r) || is_streamed(r); });
    return out;
  }
  bool all_watch(size_t times) {
    return std::all_of(std::begin(kCollections), std::end(kCollections), [&](const char* collection) {
      return server_.wait_for(collection, times, [](const Request& r) { return r.is_watch(); });
    });
  }
  // What ten minutes away may cost each kind: pauses double from half a second to half a minute, each at
  // least half as long as that.
  static size_t most_attempts() {
    size_t attempts = 1;
    double pause = 0.5, passed = 0;
    for (; passed < 600; ++attempts) {
      passed += pause / 2;
      pause = std::min(2 * pause, 30.0);
    }
    return attempts;
  }

  static constexpr const char* kCollections[] = {"/api/v1/namespaces", "/api/v1/nodes", "/api/v1/pods",
                                                 "/api/v1/services",
                                                 "/apis/discovery.k8s.io/v1/endpointslices"};
  static constexpr size_t kKinds = std::size(kCollections);
};

TEST_F(OutageTest, TenMinutesAwayCostAFewAttemptsEachAndNothingIsForgotten) {
  start_and_wait();
  ASSERT_TRUE(all_watch(1));
  const size_t told_before = told(), asked_before = requests(), lists_before = lists();
  server_.hang_up(true);
  const size_t connected = server_.connections();
  ASSERT_TRUE(report_says([](const SourceReport& r) { return !r.problems.empty(); }));
  // Time is what is tested here: so long nothing but attempts may happen.
  const Clock::time_point end = Clock::now() + kTenMinutes;
  {
    std::unique_lock lock(mutex_);
    EXPECT_FALSE(changed_.wait_until(lock, end, [&] { return told_ != told_before; }));
  }
  const size_t attempts = server_.connections() - connected;
  // Kinds that are not installed look for themselves once in a while.
  const size_t kinds = kubernetes_kinds().size();
  EXPECT_GE(attempts, 10U) << "it is tried again and again";
  EXPECT_LE(attempts, kinds * most_attempts()) << "no storm";
  EXPECT_EQ(told(), told_before) << "what was known stays as it was";
  server_.put(kServices, service("web", 81));
  server_.remove(kPods, "shop", "web-1");
  server_.hang_up(false);
  EXPECT_TRUE(has_port("Service shop/web", 81));
  EXPECT_TRUE(lost("Pod shop/web-1"));
  EXPECT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
  EXPECT_EQ(lists(), lists_before) << "watches go on where they were: nothing is listed anew";
  EXPECT_LE(requests() - asked_before, 2 * kKinds) << "and each kind is asked for once, or twice";
}

TEST_F(OutageTest, ARestartCostsEachKindOneWatch) {
  start_and_wait();
  ASSERT_TRUE(all_watch(1));
  const size_t asked_before = requests();
  server_.stop();
  server_.put(kServices, service("web", 82));
  server_.start();
  EXPECT_TRUE(has_port("Service shop/web", 82));
  ASSERT_TRUE(all_watch(2));
  EXPECT_EQ(requests() - asked_before, kKinds);
}

TEST_F(OutageTest, AServerThatForgotMeanwhileIsListedOnce) {
  start_and_wait();
  ASSERT_TRUE(all_watch(1));
  const size_t lists_before = lists();
  server_.stop();
  server_.put(kServices, service("web", 83));
  server_.remove(kPods, "shop", "web-1");
  server_.compact();
  server_.start();
  EXPECT_TRUE(has_port("Service shop/web", 83));
  EXPECT_TRUE(lost("Pod shop/web-1")) << "its deletion was told in no event";
  EXPECT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
  EXPECT_EQ(lists() - lists_before, kKinds);
  EXPECT_EQ(counts("Service").relists, 1U);
}

TEST_F(OutageTest, FiveSecondsOfLatencyDelayAndCostNothingElse) {
  server_.set_latency(std::chrono::seconds(5));
  start_and_wait();
  EXPECT_EQ(requests(), kKinds) << "a slow answer is waited for, not asked for again";
  EXPECT_EQ(counts("Service").errors, 0U);
  // Events of an open watch are not late.
  ASSERT_TRUE(all_watch(1));
  server_.put(kServices, service("web", 84));
  EXPECT_TRUE(has_port("Service shop/web", 84));
  EXPECT_EQ(requests(), kKinds);
}

TEST_F(OutageTest, AServerThatRefusesAllIsAskedAsOftenAsItSays) {
  start_and_wait();
  ASSERT_TRUE(all_watch(1));
  const size_t told_before = told();
  const auto refusing = std::make_shared<std::atomic<bool>>(true);
  server_.set_script([refusing](const Request&) -> std::optional<Reply> {
    if (!refusing->load()) return std::nullopt;
    return Reply{.status = 429, .headers = "Retry-After: 1\r\n"};
  });
  const size_t asked_before = requests();
  const Clock::time_point begin = Clock::now();
  server_.end_watches();
  // Three answers each: of the end, and of two more attempts.
  ASSERT_TRUE(server_.wait_for(kServices, 4, any));
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  EXPECT_GE(seconds, 2.0) << "not before the server said";
  EXPECT_LE(requests() - asked_before, kKinds * static_cast<size_t>(1 + std::ceil(seconds)));
  EXPECT_EQ(told(), told_before);
  refusing->store(false);
  server_.put(kServices, service("web", 85));
  EXPECT_TRUE(has_port("Service shop/web", 85));
  EXPECT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
}

}  // namespace
}  // namespace weft::control_plane::test
