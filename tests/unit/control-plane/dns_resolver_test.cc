// DnsResolver with a look-up of the test's own: what is asked when, and what a failure leaves.
#include "control-plane/source/dns_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>

namespace weft::control_plane {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// A name server whose answers the test gives, and a count of them that can be waited for.
class Names {
 public:
  DnsResolver::LookUp look_up() {
    return [this](const std::string& host) {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++asked_;
      changed_.notify_all();
      const auto found = answers_.find(host);
      return found == answers_.end() ? std::nullopt : std::optional(found->second);
    };
  }
  void answer(const std::string& host, std::optional<std::vector<std::string>> addresses) {
    const std::lock_guard<std::mutex> lock(mutex_);
    answers_.erase(host);
    if (addresses) answers_[host] = *addresses;
  }
  void told() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++told_;
    changed_.notify_all();
  }
  bool wait_told(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return told_ >= count; });
  }
  bool wait_asked_again(int times) {
    std::unique_lock<std::mutex> lock(mutex_);
    const int from = asked_;
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return asked_ >= from + times; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::string>> answers_;
  int asked_ = 0, told_ = 0;
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

TEST(DnsResolverTest, ForgetsWhatIsWantedNoMore) {
  Names names;
  names.answer("a", {{"192.0.2.1"}});
  const auto resolver = DnsResolver::start({.look_up = names.look_up()}, [&] { names.told(); });
  resolver->want({"a"});
  ASSERT_TRUE(names.wait_told(1));
  resolver->want({});
  EXPECT_THAT(resolver->addresses(), IsEmpty());
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
