// Findings and revocation lists as resources: what nodes are told of them.
#include "control-plane/discovery/node_findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

Finding finding(const std::string& object, Finding::Level level = Finding::Level::kError) {
  return {.code = "WF0003",
          .level = level,
          .file = "VirtualService " + object,
          .line = 7,
          .object = "VirtualService " + object,
          .field = "spec.http[0]",
          .message = "it is wrong",
          .remedy = "make it right"};
}

TEST(NodeFindingsTest, AFindingIsReadAsItWasMade) {
  const Finding made = finding("shop/cart", Finding::Level::kWarning);
  const auto read = read_finding(std::string(finding_resource(made).body()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(to_string(*read), to_string(made));
  EXPECT_EQ(read->level, Finding::Level::kWarning);
  EXPECT_EQ(finding_resource(made).name(), finding_resource(made).name());
  EXPECT_NE(finding_resource(made).name(), finding_resource(finding("shop/cart")).name());
  EXPECT_FALSE(read_finding("\xff").ok());
}

TEST(NodeFindingsTest, OnlyWhatChangedIsToldAndTwoEqualOnesOnce) {
  NodeFindings findings;
  Change first;
  findings.update({finding("a"), finding("b"), finding("b")}, first);
  EXPECT_EQ(first.upserted.size(), 2U);
  EXPECT_TRUE(first.removed.empty());
  Change second;
  findings.update({finding("b"), finding("c")}, second);
  ASSERT_EQ(second.upserted.size(), 1U);
  EXPECT_EQ(second.upserted[0].name(), finding_resource(finding("c")).name());
  ASSERT_EQ(second.removed.size(), 1U);
  EXPECT_EQ(second.removed[0].second, finding_resource(finding("a")).name());
  Change third;
  findings.update({finding("b"), finding("c")}, third);
  EXPECT_TRUE(third.upserted.empty() && third.removed.empty());
}

TEST(NodeFindingsTest, OfTooManyErrorsComeFirst) {
  std::vector<Finding> all;
  for (size_t i = 0; i < NodeFindings::kMost; ++i)
    all.push_back(finding(str_cat("w", i), Finding::Level::kWarning));
  all.push_back(finding("error"));
  NodeFindings findings;
  Change told;
  findings.update(all, told);
  EXPECT_EQ(told.upserted.size(), NodeFindings::kMost);
  EXPECT_EQ(told.upserted.front().name(), finding_resource(finding("error")).name());
}

TEST(NodeRevocationsTest, WhatIsNoListIsRefused) {
  EXPECT_EQ(*read_revocations(std::string(revocations_resource("").body())), "");
  EXPECT_FALSE(read_revocations("\xff").ok());
  const std::string broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
  EXPECT_FALSE(read_revocations(std::string(revocations_resource(broken).body())).ok());
}

}  // namespace
}  // namespace weft::control_plane
