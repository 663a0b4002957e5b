// The Kubernetes source against a server that refuses, stalls, lies or is away: what is asked for then, that
// nothing known is lost, and that the report says what is the matter.
#include <atomic>
#include <fstream>

#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

class TroubleTest : public SourceTest {
 protected:
  // The first `many` requests for the services that match get `reply`.
  void refuse(int many, Reply reply, bool (*matches)(const Request&) = any) {
    const auto left = std::make_shared<std::atomic<int>>(many);
    server_.set_script([=](const Request& r) -> std::optional<Reply> {
      if (r.path != kServices || !matches(r) || left->fetch_sub(1) <= 0) return std::nullopt;
      return reply;
    });
  }
  // What requests for the policies get, by number, whatever version of the API they ask for; 200: the proper
  // answer.
  void refuse_policies(int (*status)(int request)) {
    const auto next = std::make_shared<std::atomic<int>>(0);
    server_.set_script([=](const Request& r) -> std::optional<Reply> {
      if (!r.path.ends_with("/authorizationpolicies")) return std::nullopt;
      const int chosen = status(next->fetch_add(1));
      return chosen == 200 ? std::nullopt : std::optional<Reply>(Reply{.status = chosen});
    });
  }
};

TEST_F(TroubleTest, TooManyRequestsMeansToWaitAsLongAsTheServerSays) {
  server_.put(kServices, service("web"));
  refuse(1, {.status = 429, .headers = "Retry-After: 1\r\n"});
  const Clock::time_point begin = Clock::now();
  start_and_wait();
  EXPECT_GE(Clock::now() - begin, std::chrono::seconds(1));
  EXPECT_EQ(server_.requests(kServices).size(), 2U);
  EXPECT_EQ(counts("Service").errors, 1U);
  EXPECT_EQ(port_of("Service shop/web"), 80);
}

TEST_F(TroubleTest, AServerErrorIsTriedAgainAndAWatchThatFailsIsNoReasonToList) {
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  start_and_wait();
  ASSERT_TRUE(server_.wait_for(kServices, 1, is_plain_watch));
  refuse(5, {.status = 500, .body = R"({"kind":"Status","code":500,"message":"etcd is not well"})"});
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 7, is_plain_watch));
  EXPECT_EQ(server_.count(kServices, is_list), 1U);
  server_.put(kServices, service("web", 81));
  EXPECT_TRUE(has_port("Service shop/web", 81));
  EXPECT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
  EXPECT_EQ(counts("Service").errors, 5U);
}

TEST_F(TroubleTest, WhileTheServerIsAwayAllIsKeptAndOneLineSaysSo) {
  server_.put(kServices, service("web"));
  start_and_wait();
  server_.stop();
  ASSERT_TRUE(report_says([](const SourceReport& r) { return !r.problems.empty(); }));
  // Each kind finds out for itself; the cause is the same for all.
  ASSERT_TRUE(report_says([](const SourceReport& r) {
    return r.problems.size() == 1 && r.problems.front().find("more kinds") != std::string::npos;
  })) << testing::PrintToString(source_->report().problems);
  EXPECT_THAT(source_->report().problems.front(), HasSubstr(server_.url()));
  EXPECT_THAT(source_->report().problems.front(), HasSubstr("what was read before stays in force"));
  EXPECT_TRUE(holds("Service shop/web"));
  server_.put(kServices, service("web", 81));
  server_.start();
  EXPECT_TRUE(has_port("Service shop/web", 81));
  EXPECT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
  EXPECT_EQ(server_.count(kServices, is_list), 0U) << "the watch goes on where it was";
}

TEST_F(TroubleTest, AVerbThatIsNotAllowedIsNamed) {
  refuse(1'000'000,
         {.status = 403, .body = R"({"kind":"Status","code":403,"message":"services is forbidden"})"});
  start();
  EXPECT_FALSE(source_->wait_for_first(std::chrono::milliseconds(300), {}));
  ASSERT_EQ(source_->report().problems.size(), 1U);
  const std::string problem = source_->report().problems.front();
  EXPECT_THAT(problem, HasSubstr("services is forbidden"));
  EXPECT_THAT(problem, HasSubstr("allow list and watch of services"));
  EXPECT_THAT(problem, HasSubstr("nothing is in force"));
  server_.set_script({});
  EXPECT_TRUE(source_->wait_for_first(kLimit, {}));
}

TEST_F(TroubleTest, WaitingEndsWhenTheProcessIsToldToStop) {
  refuse(1'000'000, {.status = 503});
  start();
  EXPECT_FALSE(source_->wait_for_first(kLimit, [] { return true; }));
}

TEST_F(TroubleTest, AStreamedListThatStopsHalfWayIsGivenUpForAList) {
  options_.timing.list_silence = std::chrono::seconds(1);
  server_.put(kServices, service("web"));
  refuse(1, {.status = 200, .hang = true}, is_streamed);
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(server_.count(kServices, is_list), 1U);
}

TEST_F(TroubleTest, AStreamedListThatIsNeverCompleteIsGivenUpThoughItIsNotSilentForLong) {
  options_.timing.list_deadline = std::chrono::seconds(1);
  server_.put(kServices, service("web"));
  refuse(1, {.status = 200, .hang = true}, is_streamed);
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(server_.count(kServices, is_list), 1U);
}

TEST_F(TroubleTest, AStreamedListThatEndsHalfWayIsNotAskedForAgain) {
  server_.put(kServices, service("web"));
  refuse(1'000'000, {.status = 200, .body = Json{{"type", "ADDED"}, {"object", service("web")}}.dump()},
         is_streamed);
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(server_.count(kServices, is_list), 1U);
  EXPECT_EQ(server_.count(kServices, is_streamed), 1U);
}

TEST_F(TroubleTest, AListThatIsSilentIsAskedForAgain) {
  options_.timing.list_silence = std::chrono::seconds(1);
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  refuse(1, {.status = 200, .body = R"({"kind":"List","items":[)", .hang = true}, is_list);
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(server_.count(kServices, is_list), 2U);
}

TEST_F(TroubleTest, AnAnswerThatIsNoJsonChangesNothing) {
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  start_and_wait();
  refuse(1, {.status = 200, .body = "<html>Please log in</html>"}, is_list);
  server_.compact();
  ASSERT_TRUE(server_.wait_for(kServices, 3, is_list));
  server_.put(kServices, service("cart"));
  EXPECT_TRUE(holds("Service shop/cart"));
  EXPECT_EQ(port_of("Service shop/web"), 80);
}

TEST_F(TroubleTest, ATruncatedListIsNotTakenForTheWhole) {
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  start_and_wait();
  refuse(1, {.status = 200, .body = R"({"kind":"List","metadata":{"resourceVersion":"9"},"items":[)"},
         is_list);
  server_.compact();
  ASSERT_TRUE(server_.wait_for(kServices, 3, is_list));
  server_.put(kServices, service("cart"));
  ASSERT_TRUE(holds("Service shop/cart"));
  EXPECT_EQ(port_of("Service shop/web"), 80);
}

TEST_F(TroubleTest, AnAnswerWithoutItemsIsNoEmptyList) {
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  start_and_wait();
  refuse(1, {.status = 200, .body = R"({"kind":"Status","metadata":{"resourceVersion":"9"}})"}, is_list);
  server_.compact();
  ASSERT_TRUE(server_.wait_for(kServices, 3, is_list));
  server_.put(kServices, service("marker"));
  ASSERT_TRUE(holds("Service shop/marker"));
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(told(), 2U) << "it was not lost in between either";
}

TEST_F(TroubleTest, AServerThatDoesNotKnowAKindYetDoesNotStartUsWithoutIt) {
  server_.install(kPolicies);
  server_.put(kPolicies, policy("deny"));
  options_.timing.first_look = std::chrono::milliseconds(200);
  options_.timing.longest_look = std::chrono::milliseconds(200);
  refuse_policies([](int request) { return request < 4 ? 404 : 200; });
  start_and_wait();
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(told_, 1U);
  EXPECT_TRUE(state_.contains("AuthorizationPolicy shop/deny"));
}

TEST_F(TroubleTest, AServerThatForgetsAKindForAWhileLosesNoneOfItsObjects) {
  options_.timing.gone_for_sure = std::chrono::seconds(60);
  server_.install(kPolicies);
  server_.put(kPolicies, policy("deny"));
  start_and_wait();
  refuse_policies([](int) { return 404; });
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kPolicies, 9, any));
  ASSERT_TRUE(report_says([](const SourceReport& r) { return !r.problems.empty(); }));
  EXPECT_THAT(source_->report().problems.front(),
              HasSubstr("the server knows no authorizationpolicies.security.istio.io"));
  EXPECT_THAT(source_->report().problems.front(), HasSubstr("what was read before stays in force"));
  server_.set_script({});
  ASSERT_TRUE(report_says([](const SourceReport& r) { return r.problems.empty(); }));
  server_.put(kPolicies, policy("marker"));
  ASSERT_TRUE(holds("AuthorizationPolicy shop/marker"));
  EXPECT_TRUE(holds("AuthorizationPolicy shop/deny"));
  EXPECT_EQ(told(), 2U) << "it was not lost in between either";
}

TEST_F(TroubleTest, OnlyAnswersInARowSayThatAKindIsGone) {
  options_.timing.gone_for_sure = std::chrono::milliseconds(0);
  server_.install(kPolicies);
  server_.put(kPolicies, policy("deny"));
  start_and_wait();
  // Twice both versions of the API, then another error.
  refuse_policies([](int request) { return request >= 20 ? 200 : request % 5 == 4 ? 503 : 404; });
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kPolicies, 11, any));
  server_.put(kPolicies, policy("marker"));
  ASSERT_TRUE(holds("AuthorizationPolicy shop/marker"));
  EXPECT_TRUE(holds("AuthorizationPolicy shop/deny"));
  EXPECT_EQ(told(), 2U) << "it was not lost in between either";
}

TEST_F(TroubleTest, WhatTheServerSaysIsShownWithoutControlCharacters) {
  refuse(1'000'000, {.status = 403, .body = "for\x1b[2Jbidden\xff\nmore"});
  start();
  ASSERT_TRUE(report_says([](const SourceReport& r) { return !r.problems.empty(); }));
  EXPECT_THAT(source_->report().problems.front(), HasSubstr("HTTP status 403: for [2Jbidden?, for "));
}

TEST_F(TroubleTest, AnObjectThatCannotBeReadIsAFindingAndLosesNothing) {
  server_.set_streams_lists(false);
  server_.put(kServices, service("web"));
  start_and_wait();
  refuse(1,
         {.status = 200, .body = R"({"metadata":{"resourceVersion":"300"},"items":[{"metadata":nonsense}]})"},
         is_list);
  server_.compact();
  ASSERT_TRUE(wait_until([&] { return state_.contains("Service"); }));
  EXPECT_TRUE(state_.at("Service").unknown_documents);
  EXPECT_THAT(to_string(state_.at("Service").findings.front()),
              HasSubstr("Service: error WF0021: an object could not be read"));
  EXPECT_THAT(to_string(state_.at("Service").findings.front()), Not(HasSubstr("limit")));
  EXPECT_EQ(port_of("Service shop/web"), 80);
  ASSERT_TRUE(server_.wait_for(kServices, 3, is_plain_watch));
  // At the end of the watch it is listed again, and that heals it.
  server_.end_watches();
  EXPECT_TRUE(lost("Service"));
  EXPECT_EQ(port_of("Service shop/web"), 80);
}

TEST_F(TroubleTest, AnEventThatCannotBeReadIsAFindingUntilTheNextList) {
  start_and_wait();
  server_.send_raw(kServices, R"({"type":"ADDED","object":{"metadata":{"name":}}})");
  ASSERT_TRUE(wait_until([&] { return state_.contains("Service"); }));
  server_.put(kServices, service("web"));
  EXPECT_TRUE(holds("Service shop/web")) << "the watch goes on";
  server_.end_watches();
  EXPECT_TRUE(lost("Service"));
}

TEST_F(TroubleTest, AnObjectOverTheLimitIsAFindingAndTheOthersAreRead) {
  Json large = service("large");
  large["metadata"]["annotations"]["x"] = std::string(4 * 1024 * 1024, 'x');
  server_.put(kServices, large);
  server_.put(kServices, service("web"));
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  const auto& refused = state_.at("Service shop/large");
  EXPECT_TRUE(refused.objects.empty());
  EXPECT_THAT(to_string(refused.findings.front()), HasSubstr("Service shop/large: error WF0022"));
  EXPECT_THAT(to_string(refused.findings.front()), HasSubstr("over the limit of 3145728 bytes"));
  EXPECT_FALSE(state_.contains("Service"));
  EXPECT_EQ(counts("Service").errors, 1U);
}

TEST_F(TroubleTest, BesideAnObjectOverTheLimitOthersGoAndItComesBackWhenItIsSmaller) {
  Json large = service("large");
  large["metadata"]["annotations"]["x"] = std::string(4 * 1024 * 1024, 'x');
  server_.put(kServices, large);
  server_.put(kServices, service("goes"));
  start_and_wait();
  ASSERT_TRUE(holds("Service shop/goes"));
  // Gone while nobody watched: a list alone says so.
  server_.set_script([](const Request&) { return std::optional<Reply>(Reply{.status = 503}); });
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 2, is_plain_watch));
  server_.remove(kServices, "shop", "goes");
  server_.compact();
  server_.set_script({});
  EXPECT_TRUE(lost("Service shop/goes"));
  EXPECT_TRUE(wait_until([&] { return state_.contains("Service shop/large"); }));
  server_.put(kServices, service("large", 81));
  EXPECT_TRUE(has_port("Service shop/large", 81));
  server_.put(kServices, large);
  server_.remove(kServices, "shop", "large");
  EXPECT_TRUE(lost("Service shop/large"));
}

TEST_F(TroubleTest, FindingsNameTheObjectWhereFilesHaveTheirPath) {
  Json wrong = service("web");
  wrong["spec"]["type"] = "Nonsense";
  server_.put(kServices, wrong);
  start_and_wait();
  ASSERT_EQ(state_.at("Service shop/web").findings.size(), 1U);
  EXPECT_EQ(to_string(state_.at("Service shop/web").findings.front())
                .find("Service shop/web: error WF0002 spec.type: "),
            0U)
      << to_string(state_.at("Service shop/web").findings.front());
}

TEST_F(TroubleTest, ARotatedTokenIsSentFromTheNextRequestOn) {
  const std::string file = testing::TempDir() + "/weft-token-" + std::to_string(::getpid());
  std::ofstream(file) << "first-token\n";
  access_.token_file = file;
  start_and_wait();
  EXPECT_EQ(server_.requests(kServices).front().authorization, "Bearer first-token");
  std::ofstream(file, std::ios::trunc) << "second-token\n";
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 1,
                               [](const Request& r) { return r.authorization == "Bearer second-token"; }));
  ::unlink(file.c_str());
}

TEST_F(TroubleTest, ATokenThatIsRefusedIsToldWithoutTheToken) {
  access_.token = "very-secret-token";
  refuse(1'000'000, {.status = 401, .body = R"({"kind":"Status","code":401,"message":"Unauthorized"})"});
  testing::internal::CaptureStderr();
  start();
  EXPECT_FALSE(source_->wait_for_first(std::chrono::milliseconds(200), {}));
  ASSERT_FALSE(source_->report().problems.empty());
  EXPECT_THAT(source_->report().problems.front(), HasSubstr("check the token"));
  EXPECT_THAT(source_->report().problems, Not(Contains(HasSubstr("very-secret-token"))));
  source_.reset();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr("very-secret-token")));
}

TEST_F(TroubleTest, AServerThatForgetsAtOnceIsNotListedWithoutEnd) {
  options_.timing.first_retry = std::chrono::milliseconds(100);
  options_.timing.longest_retry = std::chrono::milliseconds(1000);
  server_.set_streams_lists(false);
  start_and_wait();
  ASSERT_TRUE(server_.wait_for(kServices, 1, is_plain_watch));
  refuse(1'000'000, {.status = 410}, is_plain_watch);
  const Clock::time_point begin = Clock::now();
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 5, is_list));
  // Pauses of at least 50, 100 and 200 ms lie between the second and the fifth list.
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(350));
}

}  // namespace
}  // namespace weft::control_plane::test
