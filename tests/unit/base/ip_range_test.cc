// Which texts and wire bytes are ranges, and which addresses they hold.
#include <gtest/gtest.h>

#include "base/ip_range.h"

namespace weft {
namespace {

struct Row {
  const char* range;
  const char* address;
  bool inside;
};

TEST(IpRangeTest, HoldsTheAddressesOfItsFamilyThatShareItsPrefix) {
  constexpr Row kRows[] = {
      {"10.0.0.0/8", "10.255.255.255", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"10.1.2.3/8", "10.9.9.9", true},
      {"10.0.0.128/25", "10.0.0.127", false},
      {"10.0.0.128/25", "10.0.0.200", true},
      {"10.0.0.1", "10.0.0.1", true},
      {"10.0.0.1", "10.0.0.2", false},
      {"10.0.0.1/32", "10.0.0.1", true},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "fd00::1", false},
      {"::/0", "fd00::1", true},
      {"::/0", "10.0.0.1", false},
      {"fd00::/8", "fdff::1", true},
      {"fd00::/9", "fdff::1", false},
      {"fd00::1", "fd00::1", true},
      {"fd00::1", "fd00::2", false},
  };
  for (const Row& row : kRows) {
    const auto range = IpRange::parse(row.range);
    ASSERT_TRUE(range.has_value()) << row.range;
    EXPECT_EQ(range->contains(*IpAddress::parse(row.address)), row.inside) << row.range << " " << row.address;
  }
}

TEST(IpRangeTest, RejectsWhatIsNoRange) {
  for (const char* text : {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
                           "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0/8", "10.0.0.256", "fd00::/129", "fd00::/x",
                           "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "cart", "10.0.0.1 "}) {
    EXPECT_FALSE(IpRange::parse(text).has_value()) << text;
  }
}

TEST(IpRangeTest, WireBytesAndLengthComeBackAsTheRange) {
  for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "10.0.0.1", "fd00::/8", "::/0", "fd00::1"}) {
    const IpRange range = *IpRange::parse(text);
    EXPECT_EQ(IpRange::from_packed(range.ip.packed(), range.length), range) << text;
  }
  const std::string bytes("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\0", 16);
  EXPECT_EQ(IpRange::from_packed(bytes, 104), IpRange::parse("10.0.0.0/8"));
}

TEST(IpRangeTest, WireBytesThatAreNoRangeAreRejected) {
  const std::string v4("\x0a\0\0\0", 4);
  const std::string mapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\0", 16);
  EXPECT_FALSE(IpRange::from_packed(v4, 33).has_value());
  EXPECT_FALSE(IpRange::from_packed("", 0).has_value());
  EXPECT_FALSE(IpRange::from_packed("abcde", 8).has_value());
  EXPECT_FALSE(IpRange::from_packed(std::string(16, '\1'), 129).has_value());
  EXPECT_FALSE(IpRange::from_packed(mapped, 95).has_value());
}

}  // namespace
}  // namespace weft
