// The index of long route lists finds what trying one after the other finds, and tries few.
#include <gtest/gtest.h>

#include <random>

#include "base/strings.h"
#include "tests/unit/proxy-config/world.h"
#include "userspace-proxy/route/path_index.h"

namespace weft::proxy {
namespace {

using Kind = StringMatcher::Kind;

StringMatcher matcher(Kind kind, std::string text, bool ignore_case = false) {
  return StringMatcher{.kind = kind, .ignore_case = ignore_case, .text = std::move(text)};
}

TEST(PathIndexTest, FindsWhatTryingAllFindsForRandomLists) {
  std::mt19937 random(7);
  const auto word = [&] {
    std::string out = "/";
    for (size_t i = random() % 4; i > 0; --i) out.push_back("ab/"[random() % 3]);
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<StringMatcher> matchers;
    for (int i = 0; i < 30; ++i) {
      const Kind kind = std::array{Kind::kExact, Kind::kPrefix, Kind::kPrefix, Kind::kSegments}[random() % 4];
      matchers.push_back(matcher(kind, word(), random() % 8 == 0));
    }
    PathIndex index;
    for (uint32_t i = 0; i < matchers.size(); ++i) index.add(&matchers[i]);
    index.finish();
    for (int i = 0; i < 50; ++i) {
      const std::string path = word() + word();
      // What else a match asks for.
      const uint32_t refused = random() % 4;
      const auto holds = [&](uint32_t entry) {
        EXPECT_TRUE(!PathIndex::decides(matchers[entry]) || matchers[entry].matches(path))
            << matchers[entry].text << " was given for " << path;
        return entry % 4 != refused && matchers[entry].matches(path);
      };
      uint32_t expected = kNone;
      for (uint32_t entry = 0; entry < matchers.size() && expected == kNone; ++entry) {
        if (entry % 4 != refused && matchers[entry].matches(path)) expected = entry;
      }
      EXPECT_EQ(index.first(path, kNone, holds), expected) << path;
    }
  }
}

// Every path that passes the filter is looked for until an empty slot.
TEST(PathIndexTest, AListWithFewTextsAnswersForEveryPath) {
  for (uint32_t texts = 0; texts < 10; ++texts) {
    std::vector<StringMatcher> matchers;
    for (uint32_t i = 0; i < texts; ++i)
      matchers.push_back(matcher(i % 2 == 0 ? Kind::kExact : Kind::kPrefix, str_cat("/text-", i)));
    PathIndex index;
    for (const StringMatcher& text : matchers) index.add(&text);
    for (int i = 0; i < 16; ++i) index.add(nullptr);
    index.finish();
    for (int i = 0; i < 20'000; ++i)
      ASSERT_EQ(index.first(str_cat("/", i), kNone, [](uint32_t) { return false; }), kNone) << texts;
  }
}

TEST(PathIndexTest, OfTenThousandRoutesFewAreTried) {
  std::vector<StringMatcher> matchers;
  for (int i = 0; i < 10'000; ++i)
    matchers.push_back(matcher(i % 2 == 0 ? Kind::kExact : Kind::kPrefix, str_cat("/service-", i, "/")));
  PathIndex index;
  for (uint32_t i = 0; i < matchers.size(); ++i) index.add(&matchers[i]);
  index.finish();
  int tried = 0;
  const auto count = [&](std::string_view path) {
    return index.first(path, kNone, [&](uint32_t entry) {
      ++tried;
      return matchers[entry].matches(path);
    });
  };
  EXPECT_EQ(count("/service-9999/item"), 9999u);
  EXPECT_EQ(count("/service-9998/"), 9998u);
  EXPECT_EQ(count("/none"), kNone);
  EXPECT_LE(tried, 4);
}

TEST(PathIndexTest, EveryLengthOfTextIsFoundAndManyOfOneText) {
  std::vector<StringMatcher> matchers;
  for (size_t i = 0; i < 400; ++i)
    matchers.push_back(matcher(Kind::kPrefix, "/" + std::string(i, 'a') + "b"));
  for (size_t i = 0; i < 10'000; ++i) matchers.push_back(matcher(Kind::kExact, "/same"));
  PathIndex index;
  for (uint32_t i = 0; i < matchers.size(); ++i) index.add(&matchers[i]);
  index.finish();
  const auto find = [&](const std::string& path, uint32_t from) {
    return index.first(path, kNone, [&](uint32_t entry) { return entry >= from; });
  };
  for (size_t i = 0; i < 400; ++i) EXPECT_EQ(find("/" + std::string(i, 'a') + "bc", 0), i);
  EXPECT_EQ(find("/same", 0), 400u);
  EXPECT_EQ(find("/same", 10'399), 10'399u);
  EXPECT_EQ(find("/same/", 0), kNone);
}

TEST(PathIndexTest, ALongRouteSetIsMatchedInItsOrder) {
  World world;
  world.service("shop", "cart", {"10.0.0.1"}, {{80, 8080}});
  world.workload("shop", "client", {"10.0.0.9"});
  std::string routes = "name:'r' namespace:'shop' hosts:'cart.shop.svc.cluster.local' ";
  for (int i = 0; i < 200; ++i)
    routes += str_cat(
        "http{name:'r", i, "' matches{name:'m' uri{prefix:'/", i,
        "'}} matches{uri{exact:'/x'} method{exact:'PUT'}} destinations{host:'cart.shop.svc.cluster.local' "
        "weight:1}} ");
  routes += "http{name:'last' destinations{host:'cart.shop.svc.cluster.local' weight:1}}";
  world.routes(routes);
  const SnapshotPtr snapshot = world.build();
  const auto name = [&](std::string_view path) {
    const Asked asked = ask(*snapshot, "shop", "cart", "10.0.0.1:80", path);
    return asked.route == nullptr ? "none" : asked.route->name;
  };
  EXPECT_EQ(name("/7"), "r7");
  EXPECT_EQ(name("/77"), "r7") << "the first in order, not the longest";
  EXPECT_EQ(name("/199/a"), "r1");
  EXPECT_EQ(name("/x"), "last");
  EXPECT_EQ(name("/other"), "last");
}

}  // namespace
}  // namespace weft::proxy
