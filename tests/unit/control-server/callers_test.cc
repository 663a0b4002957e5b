// Who may call weft-control: tokens by review, certificates by their names, and how long an answer counts.
#include "control-plane/serve/callers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "control-plane/identity/certificate_authority.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;

class CallersTest : public testing::Test {
 protected:
  Callers make(size_t most_kept = 100) {
    return Callers(
        {.accounts = {"weft-system/weft-agent"}, .most_kept = most_kept, .now = [this] { return now_; }},
        [this](const std::string& token) -> absl::StatusOr<ReviewedToken> {
          ++asked_;
          if (down_) return absl::UnavailableError("away");
          if (token == "bad") return ReviewedToken{.error = "it has expired"};
          return ReviewedToken{.authenticated = true, .user = user_, .node = node_};
        });
  }
  static std::string jwt(absl::Time end) {
    return str_cat("e30.", absl::WebSafeBase64Escape(str_cat("{\"exp\":", absl::ToUnixSeconds(end), "}")),
                   ".s");
  }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::string user_ = "system:serviceaccount:weft-system:weft-agent";
  std::string node_ = "n1";
  bool down_ = false;
  int asked_ = 0;
};

TEST_F(CallersTest, ATokenIsReviewedOnceAndAgainAfterItsTime) {
  Callers callers = make();
  EXPECT_EQ(*callers.node_of("t", ""), "n1");
  EXPECT_EQ(*callers.node_of("t", ""), "n1");
  EXPECT_EQ(*callers.known_node_of("t", ""), "n1");
  EXPECT_EQ(asked_, 1);
  now_ += absl::Minutes(5);
  EXPECT_EQ(callers.known_node_of("t", "").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(*callers.node_of("t", ""), "n1");
  EXPECT_EQ(asked_, 2);
  EXPECT_EQ(callers.counts().reviews, 2U);
}

TEST_F(CallersTest, NoAnswerCountsLongerThanItsToken) {
  Callers callers = make();
  const std::string token = jwt(now_ + absl::Seconds(30));
  EXPECT_TRUE(callers.node_of(token, "").ok());
  now_ += absl::Seconds(30);
  EXPECT_TRUE(absl::IsUnavailable(callers.known_node_of(token, "").status()));
}

TEST_F(CallersTest, ARefusedTokenHearsWhyIsCountedAndIsNotReviewedAtOnceAgain) {
  Callers callers = make();
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = callers.node_of("bad", "").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(std::string(status.message()), HasSubstr("it has expired"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("next: "));
  }
  EXPECT_EQ(asked_, 1);
  EXPECT_EQ(callers.counts().refused.at("token"), 1U);
  EXPECT_EQ(callers.counts().refused.at("again"), 2U);
}

TEST_F(CallersTest, OnlyTheAgentsAccountCounts) {
  Callers callers = make();
  user_ = "system:serviceaccount:shop:web";
  EXPECT_EQ(callers.node_of("t", "").status().code(), absl::StatusCode::kUnauthenticated);
  user_ = "weft-system:weft-agent";
  EXPECT_FALSE(callers.node_of("u", "").ok()) << "a user of that name is no ServiceAccount";
  EXPECT_EQ(callers.counts().refused.at("account"), 2U);
}

TEST_F(CallersTest, ATokenThatIsBoundToNoNodeProvesNone) {
  Callers callers = make();
  node_ = "";
  EXPECT_EQ(callers.node_of("t", "").status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(callers.counts().refused.at("node"), 1U);
}

TEST_F(CallersTest, AServerThatIsAwayRefusesNobodyAndIsAskedAgain) {
  Callers callers = make();
  down_ = true;
  EXPECT_EQ(callers.node_of("t", "").status().code(), absl::StatusCode::kUnavailable);
  down_ = false;
  EXPECT_EQ(*callers.node_of("t", ""), "n1");
}

TEST_F(CallersTest, WhatIsKeptIsBounded) {
  Callers callers = make(10);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(callers.node_of(str_cat("t", i), "").ok());
  EXPECT_TRUE(callers.known_node_of("t999", "").ok());
  EXPECT_FALSE(callers.known_node_of("t0", "").ok());
}

TEST_F(CallersTest, AFloodOfBadTokensMakesNobodyForgetAGoodOne) {
  Callers callers = make(10);
  EXPECT_TRUE(callers.node_of("t", "").ok());
  user_ = "system:serviceaccount:shop:web";
  for (int i = 0; i < 20'000; ++i) EXPECT_FALSE(callers.node_of(str_cat("bad", i), "").ok());
  EXPECT_EQ(*callers.known_node_of("t", ""), "n1");
  EXPECT_EQ(callers.known_node_of("bad19999", "").status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(callers.known_node_of("bad0", "").status().code(), absl::StatusCode::kUnavailable)
      << "refusals are bounded too";
}

// Reviews that wait until they are let go.
class SlowReviewTest : public testing::Test {
 protected:
  Callers make(size_t at_once) {
    return Callers({.accounts = {"weft-system/weft-agent"}, .reviews_at_once = at_once},
                   [this](const std::string&) -> absl::StatusOr<ReviewedToken> {
                     const absl::MutexLock lock(&mutex_);
                     ++asked_;
                     mutex_.Await(absl::Condition(&go_));
                     return ReviewedToken{.authenticated = true,
                                          .user = "system:serviceaccount:weft-system:weft-agent",
                                          .node = "n1"};
                   });
  }
  void wait_asked(int count) {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [&] { return asked_ >= count; };
    mutex_.Await(absl::Condition(&enough));
  }
  void let_go() {
    const absl::MutexLock lock(&mutex_);
    go_ = true;
  }

  absl::Mutex mutex_;
  int asked_ = 0;
  bool go_ = false;
};

TEST_F(SlowReviewTest, SoManyAreUnderWayAndTheNextCallerIsToComeAgain) {
  Callers callers = make(3);
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i)
    waiting.emplace_back([&callers, i] { EXPECT_TRUE(callers.node_of(str_cat("t", i), "").ok()); });
  wait_asked(3);
  EXPECT_EQ(callers.node_of("more", "").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(callers.counts().refused.at("busy"), 1U);
  EXPECT_EQ(callers.counts().reviews, 3U);
  let_go();
  for (std::thread& each : waiting) each.join();
  EXPECT_TRUE(callers.node_of("more", "").ok()) << "there is room again";
}

TEST_F(SlowReviewTest, TheEndWaitsForWhatIsUnderWayAndBeginsNothing) {
  Callers callers = make(1);
  std::atomic<bool> answered = false;
  std::thread waiting([&] {
    EXPECT_TRUE(callers.node_of("t", "").ok());
    answered = true;
  });
  wait_asked(1);
  std::thread ending([&] {
    callers.stop();
    EXPECT_EQ(callers.counts().reviews, 1U);
  });
  // Busy until the end has begun.
  while (callers.node_of("late", "").status().message().find("going down") == std::string::npos)
    std::this_thread::yield();
  EXPECT_FALSE(answered);
  let_go();
  ending.join();
  EXPECT_TRUE(callers.node_of("late", "").status().message().find("going down") != std::string::npos);
  waiting.join();
  EXPECT_TRUE(callers.known_node_of("t", "").ok()) << "what is known is known";
}

TEST_F(CallersTest, WhoShowsNothingIsRefused) {
  Callers callers = make();
  EXPECT_EQ(callers.node_of("", "").status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_FALSE(callers.node_of(std::string(20'000, 'x'), "").ok());
  EXPECT_EQ(asked_, 0);
}

TEST_F(CallersTest, ANodeThatWasRemovedIsToldToTheLog) {
  const auto removed = [](X509*, const std::string& node) -> absl::Status {
    return absl::UnauthenticatedError(str_cat("node ", node, " was removed"));
  };
  Callers callers({.admit = removed}, nullptr);
  const weft::test::ScratchFolder folder;
  const auto authority = CertificateAuthority::open({.folder = folder.file("ca")}, absl::Now());
  ASSERT_TRUE(authority.ok()) << authority.status();
  const auto chain = (*authority)->sign_node(weft::test::p256_key().get(), "n1", absl::Now());
  ASSERT_TRUE(chain.ok()) << chain.status();
  testing::internal::CaptureStderr();
  const auto refused = callers.node_of("", *chain);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(absl::IsUnauthenticated(refused.status()));
  EXPECT_EQ(callers.counts().refused.at("removed"), 1U);
  EXPECT_THAT(log, HasSubstr("caller_refused"));
  EXPECT_THAT(log, HasSubstr("node n1 was removed"));
}

TEST(EndOfTokenTest, IsWhatTheTokenSaysOrNever) {
  EXPECT_EQ(end_of_token("e30.eyJleHAiOjE3MDB9.s"), absl::FromUnixSeconds(1700));
  for (const char* text : {"", "opaque", "a.b", "a.!!.c", "e30.e30.s", "e30.W10.s"})
    EXPECT_EQ(end_of_token(text), absl::InfiniteFuture()) << text;
}

}  // namespace
}  // namespace weft::control_plane
