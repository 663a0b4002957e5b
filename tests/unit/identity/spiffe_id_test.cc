// SpiffeId: exactly one spelling of an identity is one.
#include "base/spiffe_id.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(SpiffeIdTest, AnIdentityIsReadAndWrittenAsItWas) {
  const auto id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web-1.x_Y");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->trust_domain, "cluster.local");
  EXPECT_EQ(id->ns, "shop");
  EXPECT_EQ(id->account, "web-1.x_Y");
  EXPECT_EQ(id->to_string(), "spiffe://cluster.local/ns/shop/sa/web-1.x_Y");
}

class NoIdentity : public testing::TestWithParam<std::string> {};

TEST_P(NoIdentity, IsRefused) { EXPECT_FALSE(SpiffeId::parse(GetParam()).has_value()); }

INSTANTIATE_TEST_SUITE_P(
    SpiffeIdTest, NoIdentity,
    testing::Values("", "spiffe://", "spiffe://td", "spiffe://td/ns/a", "spiffe://td/ns/a/sa",
                    "spiffe://td/ns/a/sa/", "spiffe://td/ns//sa/b", "spiffe:///ns/a/sa/b",
                    "spiffe://td/ns/a/sa/b/", "spiffe://td/ns/a/sa/b/c", "spiffe://td/sa/b/ns/a",
                    "spiffe://td/ns/a/SA/b", "SPIFFE://td/ns/a/sa/b", "https://td/ns/a/sa/b",
                    "spiffe://TD/ns/a/sa/b", "spiffe://td:1/ns/a/sa/b", "spiffe://u@td/ns/a/sa/b",
                    "spiffe://td/ns/a/sa/b?x", "spiffe://td/ns/a/sa/b#x", "spiffe://td/ns/%61/sa/b",
                    "spiffe://td/ns/./sa/b", "spiffe://td/ns/a/sa/..", " spiffe://td/ns/a/sa/b",
                    "spiffe://td/ns/a/sa/b ", "spiffe://td/ns/a,b/sa/c",
                    std::string("spiffe://td/ns/a/sa/b\0c", 23),
                    "spiffe://td/ns/a/sa/" + std::string(256, 'b')));

}  // namespace
}  // namespace weft
