// `weft authz check` and `weft authz explain`, against a server in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/weft/admin/v1/authorization.grpc.pb.h"
#include "tests/unit/tools/cli_world.h"

namespace weft::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class AuthorizationServer final : public admin::v1::Authorization::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const admin::v1::AuthorizationRequest* request,
                     admin::v1::AuthorizationReport* reply) override {
    last = *request;
    if (unknown) return {grpc::StatusCode::NOT_FOUND, "no workload shop/cart; next: weft get workloads -A"};
    reply->set_from("shop/web");
    reply->set_to("shop/cart");
    reply->set_identity("cluster.local/ns/shop/sa/web");
    reply->set_allowed(allowed);
    reply->set_verdict(allowed ? "allowed by shop/readers" : "denied by shop/strict");
    auto* strict = reply->add_rules();
    strict->set_policy("shop/strict");
    strict->set_action("DENY");
    strict->set_matched(!allowed);
    strict->set_file("policy.yaml");
    strict->set_line(3);
    auto* next = reply->add_rules();
    next->set_policy("shop/next");
    next->set_action("ALLOW");
    next->set_dry_run(true);
    next->set_rule(-1);
    *reply->mutable_decided() = *strict;
    reply->add_notes("a note");
    return grpc::Status::OK;
  }
  admin::v1::AuthorizationRequest last;
  bool allowed = true, unknown = false;
};

using AuthorizationCliTest = CliWorld<AuthorizationServer>;

TEST_F(AuthorizationCliTest, TheVerdictIsOneLineAndTheExitCode) {
  admin_.allowed = false;
  EXPECT_EQ(run({"-n", "shop", "authz", "check", "web", "cart:8080", "--http", "POST /items?x", "--header",
                 "X-A: v"}),
            kFindings);
  EXPECT_EQ(out_, "denied by shop/strict rules[0] (policy.yaml:3)\nnote: a note\n");
  EXPECT_EQ(admin_.last.from(), "shop/web");
  EXPECT_EQ(admin_.last.to(), "shop/cart:8080");
  EXPECT_EQ(admin_.last.method(), "POST");
  EXPECT_EQ(admin_.last.target(), "/items?x");
  ASSERT_EQ(admin_.last.headers_size(), 1);
  EXPECT_EQ(admin_.last.headers(0).name(), "x-a");
  EXPECT_EQ(admin_.last.headers(0).value(), "v");
  EXPECT_EQ(admin_.last.server_name(), "");
  admin_.allowed = true;
  EXPECT_EQ(run({"authz", "check", "web", "cart"}), kOk);
  EXPECT_EQ(admin_.last.method(), "") << "no HTTP";
}

TEST_F(AuthorizationCliTest, ExplainShowsEveryRule) {
  EXPECT_EQ(run({"authz", "explain", "shop/web", "shop/cart", "--http", "/x"}), kOk);
  EXPECT_EQ(admin_.last.method(), "GET");
  EXPECT_THAT(out_, HasSubstr("cluster.local/ns/shop/sa/web"));
  EXPECT_THAT(out_, ContainsRegex("shop/strict +DENY +rules\\[0\\] +no +policy.yaml:3"));
  EXPECT_THAT(out_, ContainsRegex("shop/next +ALLOW \\(dry run\\) +no rules +no +-"));
  EXPECT_EQ(run({"-o", "json", "authz", "explain", "shop/web", "shop/cart"}), kOk);
  const Json json = Json::parse(out_, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["schema"], "weft.authz.v1");
  EXPECT_EQ(json["rules"].size(), 2u);
  EXPECT_EQ(json["decided"]["line"], 3);
}

TEST_F(AuthorizationCliTest, AConnectionMayNameItsServer) {
  EXPECT_EQ(run({"authz", "check", "web", "cart:443", "--tls", "A.example"}), kOk);
  EXPECT_EQ(admin_.last.server_name(), "A.example");
  EXPECT_EQ(admin_.last.method(), "");
}

TEST_F(AuthorizationCliTest, ARequestMayHaveAToken) {
  EXPECT_EQ(run({"authz", "check", "web", "cart", "--http", "/x", "--claims", R"({"iss": "i"})"}), kOk);
  EXPECT_EQ(admin_.last.claims(), R"({"iss": "i"})");
}

TEST_F(AuthorizationCliTest, MistakesSayWhatToTypeNext) {
  EXPECT_NE(run({"authz", "check", "web", "cart", "--claims", "{}"}), kOk);
  EXPECT_THAT(err_, HasSubstr("--claims needs --http"));
  EXPECT_NE(run({"authz", "check", "web", "cart", "--tls", "a.example", "--http", "GET /"}), kOk);
  EXPECT_THAT(err_, HasSubstr("leave out --http"));
  EXPECT_NE(run({"authz", "check", "web", "cart", "--header", "x: y"}), kOk);
  EXPECT_THAT(err_, HasSubstr("--http"));
  admin_.unknown = true;
  EXPECT_NE(run({"authz", "check", "web", "cart"}), kOk);
  EXPECT_THAT(err_, HasSubstr("weft get workloads -A"));
}

}  // namespace
}  // namespace weft::cli
