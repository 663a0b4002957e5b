// What is made of an authority's answer, and what of it is refused.
#include "userspace-proxy/tls/credentials.h"

#include <gtest/gtest.h>

#include "tests/unit/identity/pki.h"

namespace weft::proxy {
namespace {

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

test::Names only(const std::string& uri) { return {{GEN_URI, uri}}; }

TEST(CredentialsTest, SomebodyElsesCertificateIsRefused) {
  const test::Authority authority = test::make_authority("mesh");
  const test::Leaf leaf = test::make_leaf(authority, {.names = only(kDatabase)});
  const std::string root = to_pem(authority.certificate.get());
  const std::string chain[] = {to_pem(leaf.certificate.get()), root};
  EXPECT_TRUE(make_credentials(*SpiffeId::parse(kDatabase), share(leaf.key.get()), chain, "").ok());
  EXPECT_FALSE(make_credentials(*SpiffeId::parse(kWeb), share(leaf.key.get()), chain, "").ok());
  EXPECT_FALSE(make_credentials(*SpiffeId::parse(kDatabase), test::p256_key(), chain, "").ok());
  EXPECT_FALSE(
      make_credentials(*SpiffeId::parse(kDatabase), share(leaf.key.get()), std::span(chain, 1), "").ok());
}

// As authorities do whose file of the chain ends with the root.
TEST(CredentialsTest, ARootAmongWhatIsBetweenIsNotShown) {
  const test::Authority root = test::make_authority("mesh"), other = test::make_authority("other");
  const test::Authority middle = test::make_authority("middle", &root);
  const test::Leaf leaf = test::make_leaf(middle, {.names = only(kDatabase)});
  const auto pem = [](const X509Ptr& each) { return to_pem(each.get()); };
  const std::string roots = pem(other.certificate) + pem(root.certificate);
  const std::string chain[] = {pem(leaf.certificate), pem(middle.certificate) + pem(root.certificate),
                               pem(root.certificate), roots};
  const auto made = make_credentials(*SpiffeId::parse(kDatabase), share(leaf.key.get()), chain, "");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ((*made)->chain.size(), 2u);
  EXPECT_EQ(pem((*made)->chain[1]), pem(middle.certificate));
  EXPECT_EQ((*made)->roots.size(), 2u);
  // One that is trusted here and led to a root elsewhere is shown: peers may not have it.
  const std::string trusted[] = {pem(leaf.certificate), pem(middle.certificate),
                                 pem(middle.certificate) + pem(root.certificate)};
  const auto between = make_credentials(*SpiffeId::parse(kDatabase), share(leaf.key.get()), trusted, "");
  ASSERT_TRUE(between.ok()) << between.status();
  EXPECT_EQ((*between)->chain.size(), 2u);
}

}  // namespace
}  // namespace weft::proxy
