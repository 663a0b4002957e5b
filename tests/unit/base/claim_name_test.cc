// Names of claims in place of headers: what they name, and what names none.
#include "base/claim_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

TEST(ClaimNameTest, DotsAndBracketsLeadFromTheOutermostObjectInwards) {
  EXPECT_THAT(claim_path("@request.auth.claims.sub"), Optional(ElementsAre("sub")));
  EXPECT_THAT(claim_path("@request.auth.claims.realm.role"), Optional(ElementsAre("realm", "role")));
  EXPECT_THAT(claim_path("@request.auth.claims[realm][role]"), Optional(ElementsAre("realm", "role")));
  EXPECT_THAT(claim_path("@request.auth.claims[https://a.b/c]"), Optional(ElementsAre("https://a.b/c")));
  EXPECT_THAT(claim_path("@request.auth.claims.Sub"), Optional(ElementsAre("Sub"))) << "case counts";
}

TEST(ClaimNameTest, WhatIsHalfANameNamesNothing) {
  for (const char* name :
       {"@request.auth.claims", "@request.auth.claims.", "@request.auth.claims.a.", "@request.auth.claims..a",
        "@request.auth.claims[]", "@request.auth.claims[a", "@request.auth.claims[a]b",
        "@request.auth.claims[a].b", "@request.auth.claims.a[b]", "@request.auth.claims[[a]]",
        "@request.auth.claimsa", "@request.auth.principal", "x-claims", ""})
    EXPECT_FALSE(claim_path(name)) << name;
  EXPECT_FALSE(claim_path("@request.auth.claims." + std::string(1024, 'a')));
}

TEST(ClaimNameTest, EveryNameOfTheKindIsTakenForOneWellFormedOrNot) {
  EXPECT_TRUE(names_claim("@request.auth.claims.sub"));
  EXPECT_TRUE(names_claim("@request.auth.principal"));
  EXPECT_TRUE(names_claim("@Request.AUTH.claims.sub"));
  EXPECT_FALSE(claim_path("@Request.AUTH.claims.sub"));
  EXPECT_FALSE(names_claim("@request.auth"));
  EXPECT_FALSE(names_claim("request.auth.claims.sub"));
  EXPECT_FALSE(names_claim("x-request"));
}

}  // namespace
}  // namespace weft
