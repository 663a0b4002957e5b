// DnsResolver with a look-up of the test's own: what is asked when, and what a failure leaves.
#include "control-plane/source/dns_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// A name server whose answers the test gives, and a count of them that can be waited for. A look-up may
// outlive the resolver and the test, not what is shared.
class Names {
 public:
  ~Names() { release(); }

  DnsResolver::LookUp look_up() {
    return [state = state_](const std::string& host) -> absl::StatusOr<std::vector<std::string>> {
      std::unique_lock<std::mutex> lock(state->mutex);
      ++state->asked;
      state->changed.notify_all();
      if (host.starts_with("silent")) state->changed.wait(lock, [&] { return state->released; });
      const auto found = state->answers.find(host);
      if (found == state->answers.end()) return absl::NotFoundError(str_cat("no ", host));
      return found->second;
    };
  }
  void answer(const std::string& host, std::optional<std::vector<std::string>> addresses) {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->answers.erase(host);
    if (addresses) state_->answers[host] = *addresses;
  }
  // Names that begin with "silent" get no answer before.
  void release() {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->released = true;
    state_->changed.notify_all();
  }
  void told() {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    ++state_->told;
    state_->changed.notify_all();
  }
  bool wait_told(int count) {
    return wait_until([=](const State& state) { return state.told >= count; });
  }
  bool wait_asked(int count) {
    return wait_until([=](const State& state) { return state.asked >= count; });
  }
  bool wait_asked_again(int times) { return wait_asked(asked() + times); }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::vector<std::string>> answers;
    int asked = 0, told = 0;
    bool released = false;
  };
  int asked() {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->asked;
  }
  template <typename Condition>
  bool wait_until(Condition condition) {
    std::unique_lock<std::mutex> lock(state_->mutex);
    return state_->changed.wait_for(lock, std::chrono::seconds(5), [&] { return condition(*state_); });
  }

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

TEST(DnsResolverTest, LooksUpWhatIsWantedAndTellsWhenItChanges) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver =
      DnsResolver::start({.refresh = milliseconds(5), .retry = milliseconds(5), .look_up = names.look_up()},
                         [&] { names.told(); });
  EXPECT_THAT(resolver->addresses(), IsEmpty());
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
  names.answer("a", {{"192.0.2.2"}});
  ASSERT_TRUE(names.wait_told(2));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.2"))));
}

TEST(DnsResolverTest, AFailureLeavesWhatWasKnownAndIsTriedAgain) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver =
      DnsResolver::start({.refresh = milliseconds(5), .retry = milliseconds(5), .look_up = names.look_up()},
                         [&] { names.told(); });
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  names.answer("a", std::nullopt);
  ASSERT_TRUE(names.wait_asked_again(2));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
  names.answer("a", {{"192.0.2.3"}});
  ASSERT_TRUE(names.wait_told(2));
}

TEST(DnsResolverTest, ProblemsAreToldToWhoWantsThemUntilTheyAreOver) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver = DnsResolver::start({.refresh = milliseconds(5),
                                            .retry = milliseconds(5),
                                            .look_up = names.look_up(),
                                            .tells_problems = true},
                                           [&] { names.told(); });
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  EXPECT_THAT(resolver->problems(), IsEmpty());
  names.answer("a", std::nullopt);
  ASSERT_TRUE(names.wait_told(2));
  EXPECT_THAT(resolver->problems(), ElementsAre(Pair("a", "no a")));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
  names.answer("a", {{"192.0.2.1"}});
  ASSERT_TRUE(names.wait_told(3));
  EXPECT_THAT(resolver->problems(), IsEmpty());
}

TEST(DnsResolverTest, ForgetsWhatIsWantedNoMore) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver = DnsResolver::start({.look_up = names.look_up()}, [&] { names.told(); });
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  resolver->want({});
  EXPECT_THAT(resolver->addresses(), IsEmpty());
}

TEST(DnsResolverTest, NamesWhoseServersAreSilentHoldUpNeitherOthersNorTheEnd) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  auto resolver = DnsResolver::start({.look_up = names.look_up()}, [&] { names.told(); });
  resolver->want({"silent-1", "silent-2", "silent-3"});
  ASSERT_TRUE(names.wait_asked(3));
  resolver->want({"a", "silent-1", "silent-2", "silent-3"});
  ASSERT_TRUE(names.wait_told(1));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
  resolver.reset();
  names.release();
}

TEST(DnsResolverTest, TheFirstLookUpOfEachNameIsWaitedForWhateverItSays) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver = DnsResolver::start({.look_up = names.look_up()}, [&] { names.told(); });
  EXPECT_TRUE(resolver->wait_for_first(milliseconds(0))) << "nothing is wanted";
  resolver->want({"a", "silent"});
  EXPECT_FALSE(resolver->wait_for_first(milliseconds(20)));
  names.release();
  EXPECT_TRUE(resolver->wait_for_first(std::chrono::seconds(5)));
  EXPECT_THAT(resolver->addresses(), ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
}

TEST(DnsResolverTest, NobodyWaitsForAResolverThatIsStopped) {
  Names names;
  const auto resolver = DnsResolver::start({.look_up = names.look_up()}, [&] { names.told(); });
  resolver->want({"silent"});
  ASSERT_TRUE(names.wait_asked(1));
  auto waiting =
      std::async(std::launch::async, [&] { return resolver->wait_for_first(std::chrono::hours(1)); });
  resolver->stop();
  EXPECT_FALSE(waiting.get());
}

TEST(DnsResolverTest, WhoIsToldOfAChangeMayAskWhileItIsStopped) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  std::promise<void> stopping;
  DnsResolver::Addresses seen;
  std::unique_ptr<DnsResolver> resolver;
  resolver = DnsResolver::start({.look_up = names.look_up()}, [&] {
    names.told();
    stopping.get_future().wait();
    seen = resolver->addresses();
  });
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  stopping.set_value();
  resolver->stop();
  EXPECT_THAT(seen, ElementsAre(Pair("a", ElementsAre("192.0.2.1"))));
}

TEST(DnsResolverTest, TheSystemKnowsItself) {
  Names names;
  const auto resolver = DnsResolver::start(DnsResolver::Options(), [&] { names.told(); });
  resolver->want({"localhost"});
  ASSERT_TRUE(names.wait_told(1));
  EXPECT_THAT(resolver->addresses().at("localhost"),
              ::testing::AnyOf(::testing::Contains("127.0.0.1"), ::testing::Contains("::1")));
}

}  // namespace
}  // namespace weft::control_plane
