// PackedMap against std::map under random insertions, replacements and removals: base/packed_map.h.
#include "base/packed_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace weft {
namespace {

std::map<int, std::string> as_map(const PackedMap<int, std::string>& packed) {
  std::map<int, std::string> out;
  for (const auto& [key, value] : packed)
    EXPECT_TRUE(out.emplace(key, value).second) << key << " stands twice";
  return out;
}

TEST(PackedMapTest, HoldsWhatAMapHolds) {
  PackedMap<int, std::string> packed;
  std::map<int, std::string> plain;
  std::mt19937 random(7);
  for (int step = 0; step < 20000; ++step) {
    const int key = static_cast<int>(random() % 300);
    if (random() % 2 == 0) {
      const std::string value = std::to_string(step);
      packed.put(key, value);
      plain[key] = value;
    } else {
      EXPECT_EQ(packed.erase(key), plain.erase(key) == 1);
    }
    ASSERT_EQ(packed.size(), plain.size());
    const std::string* found = packed.find(key);
    ASSERT_EQ(found != nullptr, plain.contains(key));
    EXPECT_EQ(packed.contains(key), plain.contains(key));
    if (found != nullptr) EXPECT_EQ(*found, plain[key]);
    if (step % 500 == 0) ASSERT_EQ(as_map(packed), plain);
  }
  ASSERT_EQ(as_map(packed), plain);
  while (!plain.empty()) {
    EXPECT_TRUE(packed.erase(plain.begin()->first));
    plain.erase(plain.begin());
  }
  EXPECT_TRUE(packed.empty());
  EXPECT_EQ(packed.find(1), nullptr);
  EXPECT_FALSE(packed.erase(1));
}

}  // namespace
}  // namespace weft
