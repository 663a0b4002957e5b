// Single requests to an API server, and what it says about tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control-plane/kubernetes/api_caller.h"
#include "control-plane/serve/token_review.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;

constexpr char kReviews[] = "/apis/authentication.k8s.io/v1/tokenreviews";

TEST(ApiCallerTest, ARequestCarriesItsMethodAndBodyAndConnectionsAreUsedAgain) {
  FakeApiServer server;
  server.set_script([](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
    return FakeApiServer::Reply{.body = request.method + " " + request.body};
  });
  ApiCaller api({.server = server.url(), .token = "ours"});
  for (int i = 0; i < 3; ++i) {
    const auto answer = api.call({.path = "/x", .method = "PATCH", .body = "{\"a\":1}"});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(*answer, "PATCH {\"a\":1}");
  }
  EXPECT_EQ(server.requests("/x")[0].authorization, "Bearer ours");
}

TEST(ApiCallerTest, WhatTheServerRefusesHasItsWordsAndItsKind) {
  FakeApiServer server;
  int status = 0;
  server.set_script([&status](const FakeApiServer::Request&) -> std::optional<FakeApiServer::Reply> {
    return FakeApiServer::Reply{.status = status, .body = R"({"kind":"Status","message":"no such luck"})"};
  });
  ApiCaller api({.server = server.url()});
  const std::pair<int, absl::StatusCode> kCases[] = {{403, absl::StatusCode::kPermissionDenied},
                                                     {404, absl::StatusCode::kNotFound},
                                                     {409, absl::StatusCode::kAlreadyExists},
                                                     {422, absl::StatusCode::kInvalidArgument},
                                                     {500, absl::StatusCode::kUnavailable}};
  for (const auto& [http, code] : kCases) {
    status = http;
    const auto answer = api.call({.path = "/x"});
    EXPECT_EQ(answer.status().code(), code) << http;
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr("no such luck"));
  }
}

TEST(ApiCallerTest, AnAnswerThatIsTooLongIsAnError) {
  FakeApiServer server;
  server.set_script([](const FakeApiServer::Request&) -> std::optional<FakeApiServer::Reply> {
    return FakeApiServer::Reply{.body = std::string(100, 'x')};
  });
  ApiCaller api({.server = server.url()}, {.at_once = 1, .max_answer = 99});
  EXPECT_EQ(api.call({.path = "/x"}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TokenReviewTest, TheQuestionNamesTokenAndAudience) {
  FakeApiServer server;
  server.set_script([](const FakeApiServer::Request&) -> std::optional<FakeApiServer::Reply> {
    return FakeApiServer::Reply{.status = 201,
                                .body = R"({"status":{"authenticated":false,"error":"expired"}})"};
  });
  TokenReviewer reviewer({.server = server.url(), .token = "ours"}, "weft-control");
  const auto reviewed = reviewer.review("theirs");
  ASSERT_TRUE(reviewed.ok()) << reviewed.status();
  EXPECT_FALSE(reviewed->authenticated);
  EXPECT_EQ(reviewed->error, "expired");
  const auto asked = server.requests(kReviews);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].method, "POST");
  EXPECT_EQ(asked[0].authorization, "Bearer ours");
  const Json question = Json::parse(asked[0].body);
  EXPECT_EQ(question["kind"], "TokenReview");
  EXPECT_EQ(question["spec"]["token"], "theirs");
  EXPECT_EQ(question["spec"]["audiences"], Json({"weft-control"}));
}

TEST(TokenReviewTest, ATokenOfAnotherAudienceProvesNothing) {
  const auto reviewed = read_review(
      R"({"status":{"authenticated":true,"user":{"username":"u"},"audiences":["https://kubernetes"]}})",
      "mine");
  ASSERT_TRUE(reviewed.ok());
  EXPECT_FALSE(reviewed->authenticated);
  EXPECT_FALSE(
      read_review(R"({"status":{"authenticated":true,"user":{"username":"u"}}})", "mine")->authenticated)
      << "a server that does not know audiences";
}

TEST(TokenReviewTest, TheNodeIsTheOneThatTheTokenIsBoundTo) {
  const auto node_of = [](const std::string& extra) {
    const auto reviewed =
        read_review(R"({"status":{"authenticated":true,"audiences":["a"],"user":{"username":"u","extra":)" +
                        extra + "}}}",
                    "a");
    return reviewed.ok() && reviewed->authenticated ? reviewed->node : "refused";
  };
  EXPECT_EQ(node_of(R"({"authentication.kubernetes.io/node-name":["n1"]})"), "n1");
  EXPECT_EQ(node_of(R"({"authentication.kubernetes.io/node-name":["n1","n2"]})"), "");
  EXPECT_EQ(node_of(R"({"authentication.kubernetes.io/node-name":"n1"})"), "");
  EXPECT_EQ(node_of("{}"), "");
  EXPECT_EQ(node_of("null"), "");
}

TEST(TokenReviewTest, WhatIsNoAnswerIsNoRefusal) {
  for (const char* text : {"", "[]", "{", "{}", R"({"status":1})"}) {
    EXPECT_EQ(read_review(text, "a").status().code(), absl::StatusCode::kUnavailable) << text;
  }
}

}  // namespace
}  // namespace weft::control_plane::test
