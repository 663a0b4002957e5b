// `weft edges` and `weft authz shadow`, against servers in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "proto/weft/admin/v1/authorization.grpc.pb.h"
#include "proto/weft/admin/v1/edges.grpc.pb.h"
#include "tests/unit/tools/cli_world.h"

namespace weft::cli {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class EdgesServer final : public admin::v1::Edges::Service {
 public:
  grpc::Status List(grpc::ServerContext*, const admin::v1::ListEdgesRequest* request,
                    admin::v1::EdgeList* reply) override {
    last = *request;
    reply->set_proxy_answers(answers);
    if (empty) return grpc::Status::OK;
    auto& one = *reply->add_edges();
    one.set_source("shop/web");
    one.set_destination("shop/cart");
    one.add_security(admin::v1::Edge::MUTUAL_TLS);
    one.add_security(admin::v1::Edge::SAME_NODE);
    one.set_identity("cluster.local/ns/shop/sa/web");
    one.set_path("proxy");
    one.set_requests(42);
    one.set_connections(3);
    one.set_sent_bytes(2048);
    auto& direct = *reply->add_edges();
    direct.set_source("shop/web");
    direct.set_destination("shop/db");
    direct.add_security(admin::v1::Edge::PLAIN);
    direct.set_path("direct");
    direct.set_connections(1);
    return grpc::Status::OK;
  }
  admin::v1::ListEdgesRequest last;
  bool answers = true, empty = false;
};
using EdgesCliTest = CliWorld<EdgesServer>;

TEST_F(EdgesCliTest, ATableThatAPersonReads) {
  EXPECT_EQ(run({"-n", "shop", "edges"}), kOk);
  EXPECT_EQ(admin_.last.namespace_(), "shop");
  EXPECT_THAT(out_,
              ContainsRegex("shop/web +shop/cart +mtls\\+node +proxy +42 +3 +2.0K +0 +cluster.local/ns"));
  EXPECT_THAT(out_, ContainsRegex("shop/web +shop/db +plain +direct +- +1 +0 +0 +-\n"));
  EXPECT_EQ(run({"edges"}), kOk);
  EXPECT_EQ(admin_.last.namespace_(), "") << "all namespaces";
}

TEST_F(EdgesCliTest, Json) {
  EXPECT_EQ(run({"-o", "json", "edges"}), kOk);
  const Json json = Json::parse(out_, nullptr, false);
  ASSERT_TRUE(json.is_object()) << out_;
  EXPECT_EQ(json["schema"], "weft.edges.v1");
  ASSERT_EQ(json["edges"].size(), 2u);
  EXPECT_EQ(json["edges"][0]["security"][0], "mtls");
  EXPECT_EQ(json["edges"][0]["requests"], 42);
  EXPECT_EQ(json["edges"][1]["path"], "direct");
}

TEST_F(EdgesCliTest, WhatIsMissingIsSaid) {
  admin_.answers = false;
  EXPECT_EQ(run({"edges"}), kOk);
  EXPECT_THAT(err_, HasSubstr("the proxy does not answer: requests are missing; next: weft check"));
  EXPECT_THAT(out_, ContainsRegex("shop/cart +mtls\\+node +proxy +- +3"));
  admin_.empty = true;
  EXPECT_EQ(run({"edges"}), kOk);
  EXPECT_THAT(err_, HasSubstr("next: weft get workloads -A"));
}

class ShadowServer final : public admin::v1::Authorization::Service {
 public:
  grpc::Status Shadow(grpc::ServerContext*, const admin::v1::ShadowRequest* request,
                      grpc::ServerWriter<admin::v1::ShadowReport>* writer) override {
    last = *request;
    if (refuse)
      return {grpc::StatusCode::INVALID_ARGUMENT, "f.yaml:3: error WF0002; next: weft analyze f.yaml"};
    admin::v1::ShadowReport report;
    report.add_policies("shop/strict");
    writer->Write(report);
    report.set_done(true);
    report.set_judged(10);
    report.set_unchanged(same ? 10 : 7);
    report.add_notes("a note");
    if (!same) {
      auto& row = *report.add_rows();
      row.set_client("cluster.local/ns/shop/sa/web");
      row.set_server("shop/cart:80");
      row.set_request("GET /admin/*");
      row.set_now(admin::v1::ShadowRow::ALLOWED);
      row.set_then(admin::v1::ShadowRow::DENIED);
      row.set_policy("shop/strict");
      row.set_rule(1);
      row.set_file("f.yaml");
      row.set_line(4);
      row.set_count(3);
    }
    writer->Write(report);
    return grpc::Status::OK;
  }
  admin::v1::ShadowRequest last;
  bool refuse = false, same = false;
};

class ShadowCliTest : public CliWorld<ShadowServer> {
 protected:
  std::string manifest() const {
    std::ofstream(folder_.file("f.yaml")) << "kind: AuthorizationPolicy\n";
    return folder_.file("f.yaml");
  }
};

TEST_F(ShadowCliTest, ChangesAreRowsAndTheExitCode) {
  EXPECT_EQ(run({"authz", "shadow", manifest(), "--for", "2s"}), kFindings);
  EXPECT_EQ(admin_.last.seconds(), 2u);
  EXPECT_EQ(admin_.last.manifest(), "kind: AuthorizationPolicy\n");
  EXPECT_THAT(out_,
              ContainsRegex("3 +cluster.local/ns/shop/sa/web +shop/cart:80 +GET /admin/\\* +allowed +denied +"
                            "shop/strict rules\\[1\\] +f.yaml:4"));
  EXPECT_THAT(out_, HasSubstr("judged 10 requests and connections, 7 as now"));
  EXPECT_THAT(err_, HasSubstr("nothing is put in force"));
  EXPECT_THAT(err_, HasSubstr("note: a note"));
  admin_.same = true;
  EXPECT_EQ(run({"authz", "shadow", manifest()}), kOk);
  EXPECT_EQ(admin_.last.seconds(), 30u);
}

TEST_F(ShadowCliTest, Json) {
  EXPECT_EQ(run({"-o", "json", "authz", "shadow", manifest()}), kFindings);
  const Json json = Json::parse(out_, nullptr, false);
  ASSERT_TRUE(json.is_object()) << out_;
  EXPECT_EQ(json["schema"], "weft.authz.shadow.v1");
  EXPECT_EQ(json["changes"][0]["then"], "denied");
  EXPECT_EQ(json["changes"][0]["rule"], 1);
}

TEST_F(ShadowCliTest, MistakesSayWhatToTypeNext) {
  for (const char* time : {"0s", "11m", "soon"}) {
    EXPECT_EQ(run({"authz", "shadow", manifest(), "--for", time}), kBadInput) << time;
    EXPECT_THAT(err_, HasSubstr("next: weft authz shadow --help"));
  }
  EXPECT_EQ(run({"authz", "shadow", folder_.file("nowhere.yaml")}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("cannot read"));
  admin_.refuse = true;
  EXPECT_EQ(run({"authz", "shadow", manifest()}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("next: weft analyze f.yaml"));
}

}  // namespace
}  // namespace weft::cli
