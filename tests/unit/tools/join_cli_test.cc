// `weft join-token` on a folder of the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/join/token_store.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tests/unit/tools/cli_world.h"

namespace weft::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

class SilentAdmin final : public admin::v1::Admin::Service {};

class JoinCliTest : public CliWorld<SilentAdmin> {
 protected:
  void SetUp() override {
    CliWorld::SetUp();
    ASSERT_TRUE(control_plane::TokenStore(join_dir_).make_folders().ok());
  }
  int token(std::vector<std::string> args) {
    args.insert(args.begin(), "join-token");
    args.insert(args.end(), {"--join-dir", join_dir_});
    return run(std::move(args));
  }
  const std::string join_dir_ = folder_.file("join");
};

TEST_F(JoinCliTest, ATokenIsPrintedOnceAndNothingElseWithIt) {
  ASSERT_EQ(token({"create", "--node", "n1", "--ttl", "30m"}), kOk) << err_;
  EXPECT_THAT(out_, MatchesRegex("weft-join\\.[0-9a-f]+\\.[0-9a-f]+\n"));
  EXPECT_THAT(err_, AllOf(HasSubstr("by node n1"), HasSubstr("--node-name n1 --join-token-file"),
                          Not(HasSubstr("weft-join."))));
  const std::string secret = out_.substr(27, 64);
  ASSERT_EQ(token({"list"}), kOk) << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("unused"), HasSubstr("n1"), Not(HasSubstr(secret))));
}

TEST_F(JoinCliTest, JsonHasWhatTheTableHas) {
  ASSERT_EQ(token({"-o", "json", "create", "--node", "n1"}), kOk) << err_;
  const Json made = Json::parse(out_);
  EXPECT_EQ(made["schema"], "weft.joinToken.v1");
  EXPECT_EQ(made["node"], "n1");
  ASSERT_EQ(token({"-o", "json", "list"}), kOk) << err_;
  const Json listed = Json::parse(out_);
  ASSERT_EQ(listed["tokens"].size(), 1u);
  EXPECT_EQ(listed["tokens"][0]["state"], "unused");
  EXPECT_THAT(listed["nodes"], IsEmpty());
}

TEST_F(JoinCliTest, WhatCannotBeIsSaidWithTheNextStep) {
  EXPECT_EQ(token({"create", "--node", "No Node"}), kBadInput) << err_;
  EXPECT_THAT(err_, HasSubstr("is no name of a node"));
  EXPECT_EQ(token({"create", "--node", "n1", "--ttl", "soon"}), kBadInput) << err_;
  EXPECT_THAT(err_, HasSubstr("next: weft join-token create --node NAME --ttl 1h"));
  EXPECT_EQ(token({"create", "--node", "n1", "--ttl", "200h"}), kBadInput) << err_;
  EXPECT_NE(token({"remove", "--node", "n1"}), kOk);
  EXPECT_THAT(err_, HasSubstr("neither joined nor a token"));
  EXPECT_NE(run({"join-token", "list", "--join-dir", folder_.file("nothing")}), kOk);
  EXPECT_THAT(err_, HasSubstr("next: weft-control --join-dir"));
  EXPECT_EQ(run({"join-token", "create"}), kUsage);
}

}  // namespace
}  // namespace weft::cli
