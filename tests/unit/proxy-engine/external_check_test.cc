// Requests that a policy of CUSTOM selects: their provider is asked before the application sees them, and
// what it says is what happens. The provider is a socket of the loopback that the test answers for.
#include "tests/unit/proxy-engine/external_check_rig.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
namespace auth = envoy::service::auth::v3;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_P(ExternalCheckTest, WhatTheProviderAllowsReachesTheApplicationWithWhatItSaid) {
  use_policies({custom(about_path(pb::DENY, "/ask"), "ask")});
  FarEnd client = connect();
  client.send(get("/ask", "x-user: forged\r\nX_User: forged\r\nauthorization: Bearer t\r\n"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  EXPECT_THAT(provider.received(), StartsWith("GET /ask HTTP/1.1\r\n"));
  EXPECT_THAT(provider.received(), HasSubstr("Bearer t"));
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1) << "before the answer";
  provider.send(kYes);
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  EXPECT_THAT(application.received(), HasSubstr("x-user: me\r\n"));
  EXPECT_THAT(application.received(), Not(HasSubstr("forged")));
  application.send(kAnswer);
  ASSERT_TRUE(until([&] { return client.has("answer"); }));
  EXPECT_EQ(context_->external.allowed, 1u);
  // The same connection; and what the policy does not select is nobody's to ask.
  client.send(get("/other"));
  ASSERT_TRUE(until([&] { return application.has("/other"); }));
  EXPECT_TRUE(nobody_asked());
  EXPECT_THAT(provider.received(), Not(HasSubstr("/other")));
  EXPECT_EQ(context_->external_checks_running, 0u);
}

TEST_P(ExternalCheckTest, ADenialIsTheProvidersAnswerAndTheConnectionGoesOn) {
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  provider.send(kNo);
  ASSERT_TRUE(until([&] { return client.has("nope"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 401 Unauthorized\r\n"));
  EXPECT_THAT(client.received(), HasSubstr("x-why: you\r\n"));
  EXPECT_THAT(client.received(), HasSubstr("x-weft-reason: provider_denied\r\n"));
  EXPECT_EQ(context_->external.denied, 1u);
  provider.forget_received();
  client.send(get("/b"));
  ASSERT_TRUE(until([&] { return provider.has("/b"); })) << "the provider's connection is used again";
  provider.send(kYes);
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("/b"); }));
  const std::vector<SeenRecord> records = sink_.wait(1);
  EXPECT_EQ(records[0].outcome, Outcome::kProviderDenied);
  EXPECT_EQ(records[0].status, 401);
}

TEST_P(ExternalCheckTest, CustomGoesBeforeDenyAndAllow) {
  use_policies(
      {custom(everything(pb::DENY), "ask"), about_path(pb::DENY, "/admin"), about_path(pb::ALLOW, "/ok")});
  FarEnd client = connect();
  client.send(get("/admin"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); })) << "it is asked although DENY matches";
  provider.send(kYes);
  ASSERT_TRUE(until([&] { return client.has("RBAC: access denied"); }));
  client.forget_received();
  provider.forget_received();
  client.send(get("/elsewhere"));
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  provider.send(kYes);
  ASSERT_TRUE(until([&] { return client.has("RBAC: access denied"); })) << "no ALLOW matches";
  provider.forget_received();
  client.send(get("/ok"));
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  provider.send(kYes);
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("/ok"); }));
}

TEST_P(ExternalCheckTest, WithoutAnAnswerTheRequestIsRefusedOrLetInAsTheProviderSays) {
  message_.set_status_on_error(503);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  pass(kTimeoutMs + 100);
  ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(client.received(), HasSubstr("x-weft-reason: provider_failed\r\n"));
  EXPECT_EQ(context_->external.failed, 1u);
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kProviderFailed);
  message_.set_fail_open(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd open = connect();
  open.send(get("/b"));
  FarEnd broken = accept_provider();
  ASSERT_TRUE(until([&] { return broken.has("\r\n\r\n"); }));
  broken.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("/b"); }));
  EXPECT_EQ(context_->external.failed, 2u);
}

TEST_P(ExternalCheckTest, AProviderThatIsNotThereRefuses) {
  provider_.reset();
  use_policies({custom(about_path(pb::DENY, "/ask"), "ask"), custom(about_path(pb::DENY, "/who"), "who")});
  FarEnd client = connect();
  client.send(get("/ask"));
  ASSERT_TRUE(until([&] { return client.has("provider_failed"); })) << "nobody listens";
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 403 "));
  client.forget_received();
  message_.set_fail_open(true);
  client.send(get("/who"));
  ASSERT_TRUE(until([&] { return client.has("provider_failed"); })) << "no provider has that name";
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 403 "));
  served_ = false;
  message_.set_status_on_error(503);
  change_policies({custom(about_path(pb::DENY, "/ask"), "ask")});
  client.forget_received();
  client.send(get("/ask"));
  ASSERT_TRUE(until([&] { return client.has("provider_failed"); })) << "its service is not known";
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 503 ")) << "though it fails open";
}

TEST_P(ExternalCheckTest, ANoIsOneThoughItsBodyIsTooLongOrNeverEnds) {
  message_.set_fail_open(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  const std::string head = "HTTP/1.1 401 No\r\nx-why: you\r\nContent-Length: 100000\r\n\r\n";
  for (const char* how : {"long", "broken", "late"}) {
    FarEnd client = connect();
    client.send(get("/a"));
    FarEnd provider = accept_provider();
    ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); })) << how;
    std::string rest = str_cat(head, how == std::string_view("long") ? std::string(70'000, 'x') : "some");
    ASSERT_TRUE(until([&] {
      if (!rest.empty()) rest.erase(0, provider.send(rest));
      return rest.empty() || client.has("\r\n\r\n");
    })) << how;
    pass(0);
    if (how == std::string_view("broken")) provider.finish_sending();
    if (how == std::string_view("late")) pass(kTimeoutMs + 100);
    ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); })) << how;
    EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 401 ")) << how;
    EXPECT_THAT(client.received(), HasSubstr("x-why: you\r\n")) << how;
    EXPECT_THAT(client.received(), HasSubstr("x-weft-reason: provider_denied\r\n")) << how;
  }
  EXPECT_EQ(context_->external.denied, 3u);
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1) << "nobody was let in";
}

TEST_P(ExternalCheckTest, TooManyQuestionsRefuseThoughTheProviderFailsOpen) {
  message_.set_fail_open(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  context_->external_checks_running = ExternalCheck::kMaxRunning;
  client.send(get("/a"));
  ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 503 "));
  context_->external_checks_running = 0;
  EXPECT_EQ(server_->use->refusals(Refusal::kOverload), 1u);
  EXPECT_EQ(context_->external.failed, 1u);
  EXPECT_TRUE(nobody_asked());
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kProviderFailed);
}

TEST_P(ExternalCheckTest, OneThatFailsOpenDoesNotSpeakForTheNext) {
  message_.set_fail_open(true);
  provider_.reset();
  use_policies({custom(everything(pb::DENY), "ask"), custom(everything(pb::DENY), "other")});
  FarEnd client = connect();
  client.send(get("/a"));
  FarEnd other = accept_at(other_);
  ASSERT_TRUE(until([&] { return other.has("\r\n\r\n"); }));
  other.send(kNo);
  ASSERT_TRUE(until([&] { return client.has("nope"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 401 "));
  EXPECT_EQ(context_->external.failed, 1u);
  EXPECT_EQ(context_->external.denied, 1u);
}

TEST_P(ExternalCheckTest, OnePodCannotTakeAllQuestions) {
  message_.set_fail_open(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  server_->use->external_checks = ExternalCheck::kMaxRunningOfPod;
  client.send(get("/a"));
  ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 503 "));
  EXPECT_TRUE(nobody_asked());
  server_->use->external_checks = 0;
  client.forget_received();
  client.send(get("/b"));
  FarEnd provider = accept_provider();
  EXPECT_EQ(server_->use->external_checks, 1u);
  ASSERT_TRUE(until([&] { return provider.has("GET /b "); }));
  provider.send(kNo);
  ASSERT_TRUE(until([&] { return client.has("nope"); }));
  EXPECT_EQ(server_->use->external_checks, 0u);
}

TEST_P(ExternalCheckTest, AClientThatWaitsForA100GetsItAndIsAskedAboutWithItsBody) {
  message_.set_max_body_bytes(8);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send("POST /a HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); }));
  EXPECT_EQ(client.received(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(nobody_asked()) << "the body is not here";
  client.send("body");
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\nbody"); }));
  provider.send(kYes);
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\nbody"); }));
  EXPECT_THAT(application.received(), Not(HasSubstr("xpect:"))) << "it was answered";
  application.send(kAnswer);
  EXPECT_TRUE(until([&] { return client.has("answer"); }));
}

TEST_P(ExternalCheckTest, ABodyThatComesSlowlyIsProgress) {
  message_.set_max_body_bytes(8);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  const std::string all = post("/a", "abcd");
  client.send(all.substr(0, all.size() - 4));
  const uint64_t period = context_->limits.exchange_idle_ms;
  for (size_t at = all.size() - 4; at < all.size(); ++at) {
    pass(period - 1);
    client.send(all.substr(at, 1));
    const uint64_t seen = at - (all.size() - 4) + 1;
    ASSERT_TRUE(until([&] { return context_->held_body_bytes.get() == seen || seen == 4; })) << seen;
  }
  FarEnd provider = accept_provider();
  EXPECT_TRUE(until([&] { return provider.has("\r\n\r\nabcd"); }));
}

TEST_P(ExternalCheckTest, WhatIsNoHttpIsDenied) {
  use_policies({custom(about_path(pb::DENY, "/ask"), "ask")});
  FarEnd client = connect();
  client.send("\x16\x03\x01 no HTTP at all\r\n\r\n");
  ASSERT_TRUE(over(client));
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kAccessDenied);
  EXPECT_TRUE(nobody_asked());
}

TEST_P(ExternalCheckTest, NobodyIsAskedAboutWhatComesToItself) {
  provider_address_ = application_address_;
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/check"));
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("GET /check "); }));
}

TEST_P(ExternalCheckTest, TheBodyIsAskedWithAndStillGoesToTheApplication) {
  message_.set_max_body_bytes(8);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(post("/a", "12345678"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("12345678"); }));
  EXPECT_THAT(provider.received(), HasSubstr("content-length: 8\r\n"));
  EXPECT_EQ(context_->held_body_bytes.get(), 8u);
  EXPECT_GE(server_->use->buffered_bytes.get(), 8u);
  provider.send(kYes);
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n12345678"); }));
  EXPECT_EQ(context_->held_body_bytes.get(), 0u) << "the application has it, and may take its time";
  application.send(kAnswer);
  ASSERT_TRUE(until([&] { return client.has("answer"); }));
  client.forget_received();
  provider.forget_received();
  client.send(post("/b", "123456789"));
  ASSERT_TRUE(until([&] { return client.has("\r\n\r\n"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 413 ")) << "longer than the provider is asked with";
  EXPECT_THAT(provider.received(), Not(HasSubstr("/b")));
}

TEST_P(ExternalCheckTest, OfALongBodyAPartIsEnoughWhereTheProviderSaysSo) {
  message_.set_max_body_bytes(8);
  message_.set_partial_body(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  const std::string all = post("/a", "123456789abcdef");
  client.send(all.substr(0, all.size() - 6));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n12345678"); }));
  EXPECT_THAT(provider.received(), Not(HasSubstr("9")));
  provider.send(kYes);
  client.send(all.substr(all.size() - 6));
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("\r\n\r\n123456789abcdef"); }));
}

TEST_P(ExternalCheckTest, AClientThatLeavesWhileItIsAskedAboutEndsTheQuestion) {
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  EXPECT_EQ(context_->external_checks_running, 1u);
  client.reset();
  EXPECT_TRUE(until([&] { return context_->external_checks_running == 0; }));
}

TEST_P(ExternalCheckTest, AConnectionFieldCannotDropWhatTheProviderSays) {
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a", "Connection: x-user\r\n"));
  FarEnd provider = accept_provider();
  ASSERT_TRUE(until([&] { return provider.has("\r\n\r\n"); }));
  provider.send(kYes);
  ASSERT_TRUE(until([&] { return client.has("provider_denied"); }));
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1);
}

INSTANTIATE_TEST_SUITE_P(, ExternalCheckTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
