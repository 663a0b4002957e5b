// Building and reading netlink messages, without a socket.
#include "agent/dataplane/rtnetlink.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace weft::agent {
namespace {

const nlmsghdr* header(const std::vector<uint8_t>& bytes) {
  return reinterpret_cast<const nlmsghdr*>(bytes.data());
}

std::vector<uint8_t> example() {
  rtmsg fixed{};
  fixed.rtm_family = 2;
  NetlinkRequest request(RTM_NEWROUTE, NLM_F_ACK, fixed);
  request.add_u8(RTA_PREF, 7);
  request.add_u32(RTA_TABLE, 5700);
  const auto bytes = request.finish(42);
  return {bytes.begin(), bytes.end()};
}

TEST(RtnetlinkTest, RequestCarriesLengthSequenceAndFlags) {
  const std::vector<uint8_t> bytes = example();
  EXPECT_EQ(header(bytes)->nlmsg_len, bytes.size());
  EXPECT_EQ(header(bytes)->nlmsg_len, 16u + 12u + 8u + 8u);
  EXPECT_EQ(header(bytes)->nlmsg_seq, 42u);
  EXPECT_EQ(header(bytes)->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
}

TEST(RtnetlinkTest, AttributesAreFoundBehindPaddedOnes) {
  const std::vector<uint8_t> bytes = example();
  const NetlinkAttributes attributes(header(bytes), sizeof(rtmsg));
  EXPECT_EQ(attributes.get_u8(RTA_PREF, 0), 7);
  EXPECT_EQ(attributes.get_u32(RTA_TABLE, 0), 5700u);
  EXPECT_EQ(attributes.get_u32(RTA_OIF, 99), 99u);
  EXPECT_EQ(attributes.get_u32(RTA_PREF, 99), 99u) << "one byte is not a number of four";
}

TEST(RtnetlinkTest, AttributeLongerThanItsMessageIsNotRead) {
  std::vector<uint8_t> bytes = example();
  bytes[16 + 12] = 200;  // rta_len of the first attribute
  const NetlinkAttributes attributes(header(bytes), sizeof(rtmsg));
  EXPECT_TRUE(attributes.get(RTA_PREF).empty());
  EXPECT_EQ(attributes.get_u32(RTA_TABLE, 0), 0u);
}

}  // namespace
}  // namespace weft::agent
