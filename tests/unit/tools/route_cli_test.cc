// `weft trace`, `weft get routes` and the flags of `weft canary`, against an Admin server in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tests/unit/tools/cli_world.h"
#include "tools/weft/cli.h"
#include "tools/weft/output.h"

namespace weft::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class RouteAdmin final : public admin::v1::Admin::Service {
 public:
  grpc::Status Trace(grpc::ServerContext*, const admin::v1::TraceRequest* request,
                     admin::v1::TraceReport* reply) override {
    last_trace = *request;
    reply->set_from(request->from());
    reply->set_service("shop/cart");
    reply->set_dialled("10.0.0.1:80");
    reply->set_protocol("HTTP");
    reply->set_path("proxy");
    reply->set_captured(captured);
    reply->set_outcome(outcome);
    auto* first = reply->add_rules();
    first->set_rule("VirtualService shop/cart http[0]");
    first->set_name("api");
    first->mutable_origin()->set_file("cart.yaml");
    first->mutable_origin()->set_line(9);
    first->add_why_not("path is \"/x\", not \"/api\"...");
    auto* second = reply->add_rules();
    second->set_rule("VirtualService shop/cart http[1]");
    second->set_match("any");
    second->set_matched(true);
    auto* target = reply->add_targets();
    target->set_host("cart.shop.svc.cluster.local");
    target->set_subset("v2");
    target->set_share_percent(100);
    auto* endpoint = target->add_endpoints();
    endpoint->set_address("10.1.0.2:8080");
    endpoint->set_share_percent(100);
    endpoint->set_policy(broken ? "denied by shop/strict" : "allowed: no policy asks for more");
    return grpc::Status::OK;
  }
  grpc::Status ListRoutes(grpc::ServerContext*, const admin::v1::ListRequest* request,
                          admin::v1::RouteList* reply) override {
    last_list = *request;
    auto* row = reply->add_routes();
    row->set_namespace_("shop");
    row->set_name("cart");
    row->set_match("any");
    row->set_destinations("v2 100%");
    row->mutable_origin()->set_file("cart.yaml");
    row->mutable_origin()->set_line(9);
    if (!request->explain()) return grpc::Status::OK;
    auto* target = row->add_targets();
    target->set_subset("v2");
    target->set_share_percent(100);
    row->set_note("v2: no usable endpoint");
    return grpc::Status::OK;
  }

  bool broken = false;
  bool captured = true;
  std::string outcome;
  admin::v1::TraceRequest last_trace;
  admin::v1::ListRequest last_list;
};

using RouteCliTest = CliWorld<RouteAdmin>;

TEST_F(RouteCliTest, TraceShowsTheRulesInOrderAndTheEndpoints) {
  EXPECT_EQ(run({"trace", "web", "cart", "-n", "shop", "--http", "POST /x?y=1", "--header", "X-User: anna"}),
            kOk);
  EXPECT_EQ(admin_.last_trace.from(), "shop/web");
  EXPECT_EQ(admin_.last_trace.method(), "POST");
  EXPECT_EQ(admin_.last_trace.target(), "/x?y=1");
  EXPECT_EQ(admin_.last_trace.headers(0).name(), "x-user");
  EXPECT_EQ(admin_.last_trace.headers(0).value(), "anna");
  EXPECT_THAT(out_, HasSubstr("dials    10.0.0.1:80, shop/cart, HTTP\nway      by the node proxy\n"));
  EXPECT_THAT(out_,
              HasSubstr("no       VirtualService shop/cart http[0] api, cart.yaml:9\n         path is "));
  EXPECT_THAT(out_, HasSubstr("matched  VirtualService shop/cart http[1], -\n         any\n"));
  EXPECT_THAT(out_, ContainsRegex("100% +v2 of cart.shop.svc.cluster.local +10.1.0.2:8080"));
  EXPECT_EQ(run({"trace", "shop/web", "cart", "-o", "json"}), kOk);
  EXPECT_EQ(admin_.last_trace.method(), "") << "a TCP connection";
  EXPECT_EQ(Json::parse(out_)["rules"][0]["origin"]["line"], 9);
}

TEST_F(RouteCliTest, TraceOfWhatWouldNotArriveExitsWith79) {
  admin_.broken = true;
  EXPECT_EQ(run({"trace", "shop/web", "cart", "--http", "/"}), kFindings);
  EXPECT_THAT(out_, HasSubstr("denied by shop/strict"));
  admin_.broken = false;
  for (const char* outcome : {"no_route", "fault_abort", "bad_rewrite"}) {
    admin_.outcome = outcome;
    EXPECT_EQ(run({"trace", "shop/web", "cart", "--http", "/"}), kFindings) << outcome;
  }
  admin_.outcome = "redirect";
  EXPECT_EQ(run({"trace", "shop/web", "cart", "--http", "/"}), kOk);
  admin_.captured = false;
  EXPECT_EQ(run({"trace", "shop/web", "cart", "--http", "/"}), kFindings) << "nobody knows where it goes";
}

TEST_F(RouteCliTest, TraceOfATlsConnectionNamesTheServer) {
  EXPECT_EQ(run({"trace", "shop/web", "cart", "--tls", "Cart.example.com"}), kOk);
  EXPECT_EQ(admin_.last_trace.tls(), "cart.example.com");
  EXPECT_EQ(run({"trace", "shop/web", "cart", "--tls", "a", "--http", "/"}), kBadInput);
}

TEST_F(RouteCliTest, TraceRefusesWhatIsNoRequest) {
  EXPECT_EQ(run({"trace", "web", "cart", "--header", "a:b"}), kBadInput);
  EXPECT_EQ(run({"trace", "web", "cart", "--http", "/", "--header", "ab"}), kBadInput);
  EXPECT_EQ(run({"trace", "web"}), kUsage);
}

TEST_F(RouteCliTest, ExplainedRoutesNameTheirLineAndEndpoints) {
  EXPECT_EQ(run({"get", "routes", "-n", "shop", "--explain"}), kOk);
  EXPECT_TRUE(admin_.last_list.explain());
  EXPECT_THAT(out_, ContainsRegex("cart +cart.yaml:9 +any +v2 100% .0 endpoints.; v2: no usable endpoint"));
  EXPECT_EQ(run({"get", "routes", "-n", "shop"}), kOk);
  EXPECT_FALSE(admin_.last_list.explain());
}

TEST_F(RouteCliTest, CanaryRefusesFlagsThatMeanNothing) {
  const std::string file = folder_.file("m.yaml");
  std::ofstream(file)
      << "kind: VirtualService\nmetadata: {name: cart}\nspec:\n  hosts: [cart]\n  http:\n  - route:\n"
         "    - {destination: {host: cart, subset: v1}, weight: 100}\n"
         "    - {destination: {host: cart, subset: v2}, weight: 0}\n";
  const auto canary = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"canary", "run", "--dry-run", "--file", file, "--to", "v2"};
    args.insert(args.end(), more.begin(), more.end());
    return run(args);
  };
  EXPECT_EQ(canary({}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("v1 95, v2 5"));
  EXPECT_EQ(canary({"--steps", "50,25"}), kBadInput);
  EXPECT_EQ(canary({"--steps", "5,101"}), kBadInput);
  EXPECT_EQ(canary({"--interval", "60"}), kBadInput);
  EXPECT_EQ(canary({"--max-error-rate", "120%"}), kBadInput);
  EXPECT_EQ(canary({"--max-p99", "fast"}), kBadInput);
  EXPECT_EQ(canary({"--max-p99", "9s"}), kOk);
  EXPECT_EQ(canary({"--max-p99", "10s"}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("from 10 s on times are not told apart"));
  EXPECT_EQ(canary({"--to", "v3"}), kUsage) << "given twice";
  EXPECT_EQ(run({"canary", "run", "--file", file, "--to", "v3"}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("next: correct --to"));
  findings_ = {{"WF0024", "error", file, 3, "VirtualService default/cart", "spec", "is wrong", "mend it"}};
  EXPECT_EQ(canary({}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("next: weft analyze"));
}

TEST_F(RouteCliTest, WhatNobodyCountedIsNoNumber) {
  const std::string file = folder_.file("m.yaml");
  std::ofstream(file)
      << "kind: VirtualService\nmetadata: {name: cart}\nspec:\n  hosts: [cart]\n  http:\n  - route:\n"
         "    - {destination: {host: cart, subset: v1}, weight: 50}\n"
         "    - {destination: {host: cart, subset: v2}, weight: 50}\n";
  EXPECT_EQ(run({"-o", "json", "canary", "status", "--file", file, "--to", "v2"}), kOk) << err_;
  const Json status = Json::parse(out_);
  EXPECT_EQ(status["schema"], "weft.canary.status.v1");
  EXPECT_EQ(status["destinations"][1]["manifestWeight"], 50);
  for (const char* number : {"requests", "errors", "p99Us"})
    EXPECT_TRUE(status["destinations"][1][number].is_null()) << number;
}

TEST_F(RouteCliTest, ACanaryIsRolledBackInAFileWithAnError) {
  const std::string file = folder_.file("m.yaml");
  std::ofstream(file)
      << "kind: VirtualService\nmetadata: {name: cart}\nspec:\n  hosts: [cart]\n  http:\n  - route:\n"
         "    - {destination: {host: cart, subset: v1}, weight: 50}\n"
         "    - {destination: {host: cart, subset: v2}, weight: 50}\n";
  findings_ = {{"WF0024", "error", file, 9, "VirtualService default/other", "spec", "is wrong", "mend it"}};
  EXPECT_EQ(run({"canary", "rollback", "--file", file, "--to", "v2"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("v1 100, v2 0"));
  EXPECT_THAT(err_, HasSubstr("m.yaml:9: is wrong"));
}

}  // namespace
}  // namespace weft::cli
