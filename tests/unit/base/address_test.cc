// Addresses as text, wire bytes and sockaddr: base/address.h. The 16-byte form must match what the kernel
// programs use.
#include "base/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "absl/hash/hash.h"

namespace weft {
namespace {

TEST(IpAddressTest, Ipv4IsHeldAsMappedIpv6) {
  const auto ip = IpAddress::parse("10.1.2.3");
  ASSERT_TRUE(ip.has_value());
  EXPECT_EQ(ip->bytes, (std::array<uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}));
  EXPECT_TRUE(ip->is_v4());
}

TEST(IpAddressTest, MappedSpellingEqualsIpv4AndPrintsAsIpv4) {
  const auto mapped = IpAddress::parse("::ffff:10.1.2.3");
  ASSERT_TRUE(mapped.has_value());
  EXPECT_EQ(*mapped, *IpAddress::parse("10.1.2.3"));
  EXPECT_EQ(mapped->to_string(), "10.1.2.3");
}

TEST(IpAddressTest, Ipv6PrintsInShortForm) {
  const auto ip = IpAddress::parse("fd77:0:0:0:0:0:0:1");
  ASSERT_TRUE(ip.has_value());
  EXPECT_FALSE(ip->is_v4());
  EXPECT_EQ(ip->to_string(), "fd77::1");
}

TEST(IpAddressTest, RejectsTextThatIsNotOneAddress) {
  for (const char* text : {"", "10.1.2", "10.1.2.256", "fd77:::1", "10.1.2.3 ", "localhost", "10.1.2.3:80"}) {
    EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
  }
}

TEST(IpAddressTest, PackedHasFourBytesForIpv4AndSixteenForIpv6AndComesBack) {
  for (const char* text : {"192.0.2.7", "2001:db8::7"}) {
    const IpAddress ip = *IpAddress::parse(text);
    EXPECT_EQ(ip.packed().size(), ip.is_v4() ? 4u : 16u) << text;
    EXPECT_EQ(IpAddress::from_packed(ip.packed()), ip) << text;
  }
  EXPECT_FALSE(IpAddress::from_packed("12345").has_value());
  EXPECT_FALSE(IpAddress::from_packed("").has_value());
}

TEST(IpAddressTest, LoopbackIsRecognisedInBothFamilies) {
  EXPECT_TRUE(IpAddress::parse("127.0.0.1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("127.9.9.9")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("10.0.0.1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("::")->is_loopback());
}

TEST(SocketAddressTest, ParsesBothSpellingsAndPrintsThemBack) {
  for (const char* text : {"10.0.0.1:80", "[fd00::1]:65535"}) {
    const auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->to_string(), text);
  }
}

TEST(SocketAddressTest, RejectsMissingOrImpossiblePorts) {
  for (const char* text :
       {"10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "[fd00::1]", "[fd00::1:80", ":80"}) {
    EXPECT_FALSE(SocketAddress::parse(text).has_value()) << text;
  }
}

TEST(SocketAddressTest, SockaddrOfIpv4IsAfInetAndComesBack) {
  const SocketAddress address = *SocketAddress::parse("10.0.0.1:8080");
  sockaddr_storage storage{};
  ASSERT_EQ(address.to_sockaddr(&storage), sizeof(sockaddr_in));
  EXPECT_EQ(storage.ss_family, AF_INET);
  EXPECT_EQ(reinterpret_cast<sockaddr_in*>(&storage)->sin_port, htons(8080));
  EXPECT_EQ(SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), address);
}

TEST(SocketAddressTest, SockaddrOfIpv6ComesBack) {
  const SocketAddress address = *SocketAddress::parse("[2001:db8::9]:53");
  sockaddr_storage storage{};
  ASSERT_EQ(address.to_sockaddr(&storage), sizeof(sockaddr_in6));
  EXPECT_EQ(SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), address);
}

TEST(SocketAddressTest, OtherAddressFamiliesHaveNoSocketAddress) {
  sockaddr unix_address{};
  unix_address.sa_family = AF_UNIX;
  EXPECT_FALSE(SocketAddress::from_sockaddr(&unix_address).has_value());
}

TEST(SocketAddressTest, EqualAddressesHashEqual) {
  const absl::Hash<SocketAddress> hash;
  EXPECT_EQ(hash(*SocketAddress::parse("10.0.0.1:80")), hash(*SocketAddress::parse("[::ffff:10.0.0.1]:80")));
}

}  // namespace
}  // namespace weft
