// CORS policies: which requests they touch and what they add, one row per fact of Istio's CorsPolicy.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/route/cors.h"

namespace weft::proxy {
namespace {

CorsPolicy policy() {
  CorsPolicy out;
  out.allow_origins.push_back(StringMatcher{.kind = StringMatcher::Kind::kExact, .text = "http://shop"});
  out.allow_origins.push_back(StringMatcher{.kind = StringMatcher::Kind::kPrefix, .text = "https://"});
  out.allow_methods = "GET,PUT";
  out.allow_headers = "x-a,x-b";
  out.expose_headers = "x-c";
  out.max_age = "86400";
  out.allow_credentials = true;
  return out;
}

RequestHead request(std::string_view method, std::string_view origin, std::string_view asked = {}) {
  RequestHead head;
  head.method = method;
  if (!origin.empty()) head.headers.push_back(Header{"Origin", origin});
  if (!asked.empty()) head.headers.push_back(Header{"Access-Control-Request-Method", asked});
  return head;
}

std::string fields(bool preflight, std::vector<Header> headers = {}) {
  const auto rules = policy();  // the fields are views of it
  add_cors_fields(rules, "http://shop", preflight, &headers);
  std::string out;
  for (const Header& header : headers) str_append(&out, header.name, "=", header.value, ";");
  return out;
}

TEST(CorsTest, OnlyRequestsWithAnAllowedOriginAreCorsRequests) {
  EXPECT_EQ(judge(policy(), request("GET", "")), CorsVerdict::kForward);
  EXPECT_EQ(judge(policy(), request("GET", "http://other")), CorsVerdict::kForward);
  EXPECT_EQ(judge(policy(), request("GET", "http://shop")), CorsVerdict::kAllowed);
  EXPECT_EQ(judge(policy(), request("POST", "https://any.example")), CorsVerdict::kAllowed);
}

TEST(CorsTest, APreflightIsOptionsThatAsksForAMethod) {
  EXPECT_EQ(judge(policy(), request("OPTIONS", "http://shop", "PUT")), CorsVerdict::kPreflight);
  EXPECT_EQ(judge(policy(), request("OPTIONS", "http://shop")), CorsVerdict::kAllowed);
  EXPECT_EQ(judge(policy(), request("GET", "http://shop", "PUT")), CorsVerdict::kAllowed);
}

TEST(CorsTest, APreflightOfAnotherOriginIsForwardedOrIgnored) {
  CorsPolicy with = policy();
  EXPECT_EQ(judge(with, request("OPTIONS", "http://other", "PUT")), CorsVerdict::kForward);
  with.answer_unmatched = true;
  EXPECT_EQ(judge(with, request("OPTIONS", "http://other", "PUT")), CorsVerdict::kRefusedPreflight);
  EXPECT_EQ(judge(with, request("GET", "http://other")), CorsVerdict::kForward);
}

TEST(CorsTest, AStarIsEveryOrigin) {
  CorsPolicy star;
  star.allow_origins.push_back(StringMatcher{.kind = StringMatcher::Kind::kExact, .text = "*"});
  EXPECT_EQ(judge(star, request("GET", "null")), CorsVerdict::kAllowed);
}

TEST(CorsTest, APreflightIsToldWhatIsAllowed) {
  EXPECT_EQ(fields(true),
            "access-control-allow-origin=http://shop;access-control-allow-credentials=true;vary=origin;"
            "access-control-allow-methods=GET,PUT;access-control-allow-headers=x-a,x-b;access-control-max-"
            "age=86400;");
}

TEST(CorsTest, AResponseIsToldWhatIsExposedWhateverTheServerSaid) {
  EXPECT_EQ(
      fields(false, {{"Access-Control-Allow-Origin", "*"}, {"vary", "accept"}}),
      "Access-Control-Allow-Origin=http://shop;vary=accept;access-control-allow-credentials=true;vary=origin;"
      "access-control-expose-headers=x-c;");
}

}  // namespace
}  // namespace weft::proxy
