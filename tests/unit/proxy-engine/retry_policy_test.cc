// When a request is tried again, row by row of Envoy's retry policies; the back-off; the budget; bodies that
// are sent again.
#include <gtest/gtest.h>

#include <map>

#include "base/strings.h"
#include "userspace-proxy/exchange/own_response.h"
#include "userspace-proxy/exchange/replay_source.h"
#include "userspace-proxy/route/retry_policy.h"
#include "userspace-proxy/upstream/retry_budget.h"

namespace weft::proxy {
namespace {

RetryPolicy on(uint32_t bits) { return RetryPolicy{.attempts = 2, .on = bits}; }

TEST(RetryPolicyTest, FailuresThatEachPolicyRepeats) {
  using F = TryFailure;
  const std::map<uint32_t, std::vector<F>> rows = {
      {kRetryOn5xx, {F::kConnect, F::kRefused, F::kReset, F::kTimeout}},
      {kRetryOnGatewayError, {F::kConnect, F::kRefused, F::kReset, F::kTimeout}},
      {kRetryOnReset, {F::kConnect, F::kRefused, F::kReset, F::kTimeout}},
      {kRetryOnResetBeforeRequest, {F::kConnect}},
      {kRetryOnConnectFailure, {F::kConnect}},
      {kRetryOnRefusedStream, {F::kRefused}},
      {kRetryOnRetriable4xx | kRetryOnStatusCodes | kRetryOnUnavailable, {}},
  };
  for (const auto& [bits, wanted] : rows) {
    for (const F failure : {F::kConnect, F::kRefused, F::kReset, F::kTimeout}) {
      const bool expected = std::find(wanted.begin(), wanted.end(), failure) != wanted.end();
      EXPECT_EQ(retries_failure(on(bits), failure, true), expected)
          << bits << " " << static_cast<int>(failure);
    }
  }
}

TEST(RetryPolicyTest, WhatMayHaveBeenProcessedIsRepeatedOnlyWhenIdempotent) {
  EXPECT_FALSE(retries_failure(on(kRetryOn5xx), TryFailure::kReset, false));
  EXPECT_FALSE(retries_failure(on(kRetryOn5xx), TryFailure::kTimeout, false));
  EXPECT_TRUE(retries_failure(on(kRetryOn5xx), TryFailure::kConnect, false));
  EXPECT_TRUE(retries_failure(on(kRetryOn5xx), TryFailure::kRefused, false));
  for (const char* method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
    EXPECT_TRUE(is_idempotent(method));
  for (const char* method : {"POST", "PATCH", "CONNECT", "get", "LOCK"}) EXPECT_FALSE(is_idempotent(method));
}

TEST(RetryPolicyTest, StatusesThatEachPolicyRepeats) {
  const std::map<uint32_t, std::vector<uint16_t>> rows = {
      {kRetryOn5xx, {500, 501, 502, 503, 504, 599}},
      {kRetryOnGatewayError, {502, 503, 504}},
      {kRetryOnRetriable4xx, {409}},
      {kRetryOnConnectFailure | kRetryOnReset | kRetryOnRefusedStream, {}},
      {kRetryOnStatusCodes, {418, 429}},
  };
  for (const auto& [bits, wanted] : rows) {
    RetryPolicy policy = on(bits);
    policy.status_codes = {418, 429};
    for (const uint16_t status : {200, 304, 404, 409, 418, 429, 500, 501, 502, 503, 504, 599}) {
      const bool expected = std::find(wanted.begin(), wanted.end(), status) != wanted.end();
      const ResponseHead response{.status = status};
      EXPECT_EQ(retries_response(policy, response, true), expected) << bits << " " << status;
      EXPECT_FALSE(retries_response(policy, response, false)) << bits << " " << status;
    }
  }
}

TEST(RetryPolicyTest, GrpcStatusesInTheHeadCountWhateverTheMethod) {
  const std::map<std::string, uint32_t> rows = {{"1", kRetryOnCancelled},
                                                {"4", kRetryOnDeadlineExceeded},
                                                {"8", kRetryOnResourceExhausted},
                                                {"13", kRetryOnInternal},
                                                {"14", kRetryOnUnavailable}};
  for (const auto& [status, bit] : rows) {
    const ResponseHead response{.status = 200, .headers = {{"grpc-status", status}}};
    EXPECT_TRUE(retries_response(on(bit), response, false)) << status;
    EXPECT_FALSE(retries_response(on(~bit), response, false)) << status;
  }
  EXPECT_FALSE(
      retries_response(on(~0u), ResponseHead{.status = 200, .headers = {{"grpc-status", "0"}}}, true));
}

TEST(RetryPolicyTest, ARateLimitedReplyIsRepeatedOnlyWhenAskedFor) {
  const ResponseHead limited{.status = 503, .headers = {{"x-envoy-ratelimited", "true"}}};
  EXPECT_FALSE(retries_response(on(kRetryOn5xx), limited, true));
  EXPECT_TRUE(retries_response(on(kRetryOnRateLimited), limited, true));
}

TEST(RetryPolicyTest, BackOffDoublesUpToTenTimesTheInterval) {
  const RetryPolicy policy{.base_interval_ms = 25};
  EXPECT_EQ(back_off_bound_ms(policy, 1), 25u);
  EXPECT_EQ(back_off_bound_ms(policy, 2), 75u);
  EXPECT_EQ(back_off_bound_ms(policy, 3), 175u);
  EXPECT_EQ(back_off_bound_ms(policy, 4), 250u);
  EXPECT_EQ(back_off_bound_ms(policy, 40), 250u);
}

TEST(RetryBudgetTest, IsAFifthOfWhatIsUnderWayButThreeAtLeast) {
  RetryBudget budget;
  for (int i = 0; i < 10; ++i) budget.request_began();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.retry_begins(RetryLimits()));
  EXPECT_FALSE(budget.retry_begins(RetryLimits()));
  EXPECT_EQ(budget.refused(), 1u);
  for (int i = 0; i < 90; ++i) budget.request_began();
  for (int i = 3; i < 20; ++i) EXPECT_TRUE(budget.retry_begins(RetryLimits()));
  EXPECT_FALSE(budget.retry_begins(RetryLimits()));
  budget.retry_ended();
  EXPECT_TRUE(budget.retry_begins(RetryLimits()));
}

// What a pump would move from the source; accepts each piece when `accept`.
std::string take(BodySource& source, bool accept = true) {
  Pieces pieces;
  pieces.clear();
  source.gather(pieces);
  std::string out;
  for (const iovec& piece : pieces.all()) out.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  if (accept && !out.empty()) source.accepted();
  return out;
}

TEST(ReplaySourceTest, GivesTheSameBodyAgainAndThenGoesOn) {
  TextSource text;
  text.start("hello");
  ReplaySource source;
  source.start(text);
  EXPECT_EQ(take(source), "hello");
  EXPECT_EQ(source.state(), BodySource::State::kDone);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(source.can_rewind());
    source.rewind();
    EXPECT_EQ(source.state(), BodySource::State::kMore);
    EXPECT_EQ(take(source), "hello");
    EXPECT_EQ(source.state(), BodySource::State::kDone);
  }
}

TEST(ReplaySourceTest, WhatWasBeingSentWhenTheTryFailedIsSentAgain) {
  TextSource text;
  text.start("hello");
  ReplaySource source;
  source.start(text);
  EXPECT_EQ(take(source, false), "hello");
  source.rewind();
  EXPECT_EQ(take(source, false), "hello");
  EXPECT_EQ(source.state(), BodySource::State::kDone);
  source.rewind();
  EXPECT_EQ(take(source), "hello");
  EXPECT_EQ(source.state(), BodySource::State::kDone);
}

TEST(ReplaySourceTest, ABodyThatIsTooLargeIsSentOnce) {
  const std::string large(ReplaySource::kMaxKept + 1, 'x');
  TextSource text;
  text.start(large);
  ReplaySource source;
  source.start(text);
  EXPECT_EQ(take(source), large);
  EXPECT_EQ(source.state(), BodySource::State::kDone);
  EXPECT_FALSE(source.can_rewind());
}

TEST(ReplaySourceTest, AnEmptyBodyIsDoneAtOnce) {
  TextSource text;
  text.start("");
  ReplaySource source;
  source.start(text);
  EXPECT_EQ(take(source), "");
  EXPECT_EQ(source.state(), BodySource::State::kDone);
  EXPECT_TRUE(source.can_rewind());
}

}  // namespace
}  // namespace weft::proxy
