// Rate limits of routes through real workers: who gets 429, with which fields, and that nothing else of the
// route happens to them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/route_rig.h"

namespace weft::proxy {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Buckets that get a token an hour: what a test takes does not come back.
std::string limited(std::string_view more, std::string_view route = "") {
  return str_cat("http{", route, kTo, "rate_limits{name:'l' requests:1 period_ms:3600000 ", more, "}}");
}

TEST(RouteRateLimitTest, TheBurstPassesAndTheRestGets429WithRetryAfter) {
  RouteRig rig(limited("burst:2"));
  for (int i = 0; i < 2; ++i) EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 200"));
  const std::string refused = rig.get("/");
  EXPECT_THAT(refused, AllOf(StartsWith("HTTP/1.1 429 Too Many Requests\r\n"),
                             HasSubstr("x-weft-reason: rate_limited\r\n"), HasSubstr("retry-after: 3600\r\n"),
                             Not(HasSubstr("x-ratelimit"))));
  EXPECT_EQ(rig.requests(), 2);
  EXPECT_EQ(rig.rig().sink().wait(3).at(2).outcome, Outcome::kRateLimited);
}

TEST(RouteRateLimitTest, ResponsesSayWhatIsLeftWhenTheRouteAsksForIt) {
  RouteRig rig(limited("burst:2 response_headers:true"));
  EXPECT_THAT(rig.get("/"),
              AllOf(HasSubstr("x-ratelimit-limit: 2\r\n"), HasSubstr("x-ratelimit-remaining: 1\r\n"),
                    HasSubstr("x-ratelimit-reset: 3600\r\n"), Not(HasSubstr("retry-after"))));
  EXPECT_THAT(rig.get("/"), HasSubstr("x-ratelimit-remaining: 0\r\n"));
  EXPECT_THAT(rig.get("/"), AllOf(StartsWith("HTTP/1.1 429"), HasSubstr("x-ratelimit-remaining: 0\r\n"),
                                  HasSubstr("x-ratelimit-reset: 7200\r\n")));
}

TEST(RouteRateLimitTest, EachValueOfAHeaderHasItsOwn) {
  RouteRig rig(limited("burst:1 by_header:'x-user' max_keys:100"));
  for (const char* user : {"anna", "ben"}) {
    const std::string field = str_cat("X-User: ", user, "\r\n");
    EXPECT_THAT(rig.get("/", field), StartsWith("HTTP/1.1 200")) << user;
    EXPECT_THAT(rig.get("/", field), StartsWith("HTTP/1.1 429")) << user;
  }
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 200")) << "those without share one";
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 429"));
}

// HTTP/2 says it without a field of that name.
TEST(RouteRateLimitTest, TheHostIsTheAuthorityOfTheRequest) {
  RouteRig rig(limited("burst:1 by_header:'host' max_keys:100"));
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.get("http://service/"), StartsWith("HTTP/1.1 429")) << "the same, from the target";
}

TEST(RouteRateLimitTest, WhoHasNoTokenOfItsOwnTakesNoneOfTheOthers) {
  RouteRig rig(str_cat("http{", kTo, "rate_limits{name:'all' requests:1 period_ms:3600000 burst:3} ",
                       "rate_limits{name:'each' requests:1 period_ms:3600000 burst:1 by_header:'x-user' "
                       "max_keys:100}}"));
  EXPECT_THAT(rig.get("/", "X-User: anna\r\n"), StartsWith("HTTP/1.1 200"));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(rig.get("/", "X-User: anna\r\n"), StartsWith("HTTP/1.1 429"));
  EXPECT_THAT(rig.get("/", "X-User: ben\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.get("/", "X-User: cleo\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.get("/", "X-User: dora\r\n"), StartsWith("HTTP/1.1 429")) << "three for all";
}

TEST(RouteRateLimitTest, ValuesOfAnyBytesAndLengthAreKeys) {
  RouteRig rig(limited("burst:1 by_header:'x-user' max_keys:8"));
  const std::string longest(16 * 1024, 'a');
  for (const std::string& value : {longest, longest + "b", std::string("\x80\xff\t;,="), std::string()}) {
    const std::string field = str_cat("X-User: ", value, "\r\n");
    EXPECT_THAT(rig.get("/", field), StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(rig.get("/", field), StartsWith("HTTP/1.1 429"));
  }
}

TEST(RouteRateLimitTest, ASourceHasOneForAllItsConnections) {
  RouteRig rig(limited("burst:1 by_source:true max_keys:100"));
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 429"));
}

TEST(RouteRateLimitTest, AConnectionGoesOnAfterARefusal) {
  RouteRig rig(str_cat("http{matches{uri{prefix:'/slow'}}", kTo,
                       "rate_limits{name:'l' requests:1 period_ms:3600000 burst:1}} http{", kTo, "}"));
  EXPECT_THAT(rig.get("/slow"), StartsWith("HTTP/1.1 200"));
  TestConnection client = rig.rig().connect();
  client.send("GET /slow HTTP/1.1\r\nHost: service\r\n\r\n");
  EXPECT_THAT(client.read_message(), StartsWith("HTTP/1.1 429"));
  client.send("GET /other HTTP/1.1\r\nHost: service\r\n\r\n");
  EXPECT_THAT(client.read_message(), StartsWith("HTTP/1.1 200"));
  client.send("POST /slow HTTP/1.1\r\nHost: service\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_THAT(client.read_message(), AllOf(StartsWith("HTTP/1.1 429"), HasSubstr("Connection: close\r\n")))
      << "nobody waits for a body that nobody wants";
}

TEST(RouteRateLimitTest, ARedirectIsLimitedToo) {
  RouteRig rig(
      "http{redirect{path:'/x' code:302} rate_limits{name:'l' requests:1 period_ms:3600000 burst:1}}");
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 302"));
  EXPECT_THAT(rig.get("/"), StartsWith("HTTP/1.1 429"));
}

TEST(RouteRateLimitTest, WhatIsRefusedWaitsForNoFault) {
  RouteRig rig(limited("burst:1", "fault{delay_ms:3600000 delay_ppm:1000000}"));
  TestConnection waiting = rig.rig().connect();
  waiting.send("GET / HTTP/1.1\r\nHost: service\r\n\r\n");
  // The first request took the token, or the second did; the other one waits for an hour.
  TestConnection client = rig.rig().connect();
  client.send("GET / HTTP/1.1\r\nHost: service\r\n\r\n");
  EXPECT_EQ(rig.rig().sink().wait(1).at(0).outcome, Outcome::kRateLimited);
}

TEST(RouteRateLimitTest, AGrpcCallGetsResourceExhausted) {
  RouteRig rig(limited("burst:1"));
  constexpr std::string_view kCall =
      "POST /s/m HTTP/1.1\r\nHost: service\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n";
  rig.send(kCall);
  EXPECT_THAT(rig.send(kCall), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("grpc-status: 8\r\n"),
                                     HasSubstr("retry-after: 3600\r\n")));
}

}  // namespace
}  // namespace weft::proxy
