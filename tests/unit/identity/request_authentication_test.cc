// RequestAuthentication on the heads of requests: which tokens are found and believed, and what the
// application gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/identity/tokens.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_authentication.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kNow = 1'800'000'000;
constexpr char kIssuer[] = "https://issuer";
constexpr char kOtherIssuer[] = "https://other";

const KeyPtr& key() {
  static const KeyPtr one = test::ec_key("P-256");
  return one;
}
const KeyPtr& other_key() {
  static const KeyPtr one = test::ec_key("P-256");
  return one;
}

// Of `issuer`; `more`: further claims, with a comma before each.
std::string token(const std::string& more = "", const std::string& issuer = kIssuer) {
  return test::make_token("ES256", issuer == kIssuer ? key().get() : other_key().get(),
                          str_cat(R"({"iss":")", issuer, R"(","sub":"me")", more, "}"), "");
}

mesh::v1::TokenRule rule(const std::string& issuer = kIssuer) {
  mesh::v1::TokenRule out;
  out.set_issuer(issuer);
  out.set_jwks(test::jwk_set(test::jwk(issuer == kIssuer ? key().get() : other_key().get())));
  return out;
}

RequestAuthentication of(const std::vector<mesh::v1::TokenRule>& rules) {
  std::vector<TokenRulePtr> compiled;
  for (const auto& each : rules) {
    auto one = TokenRule::compile(each);
    EXPECT_TRUE(one.ok()) << one.status();
    if (one.ok()) compiled.push_back(*one);
  }
  return RequestAuthentication(std::move(compiled));
}

// A request; texts outlive it.
struct Asked {
  std::vector<Header> headers;
  const char* method = "GET";
};

class RequestAuthenticationTest : public testing::Test {
 protected:
  // "bad", "nobody", or the principal.
  std::string ask(const RequestAuthentication& rules, const std::string& target, Asked asked = {},
                  int64_t now = kNow) {
    target_ = target;
    head_ = RequestHead();
    head_.method = asked.method;
    head_.target = target_;
    head_.headers = std::move(asked.headers);
    EXPECT_TRUE(split_origin_form(head_.target, &head_)) << target;
    EXPECT_TRUE(normalise_target(PathNormalisation::kBase, &head_.rewritten, &head_));
    if (!rules.authenticate(&head_, now, &cache_, &token_)) return "bad";
    return token_ == nullptr ? "nobody" : token_->principal;
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    for (const Header& header : head_.headers) out.push_back(str_cat(header.name, ": ", header.value));
    return out;
  }

  TokenCache cache_;
  std::string target_;
  RequestHead head_;
  VerifiedTokenPtr token_;
};

TEST_F(RequestAuthenticationTest, ATokenIsLookedForWhereItsRuleSays) {
  const std::string good = token();
  const std::string bearer = "Bearer " + good, lower = "bearer   " + good, odd = "JWT:" + good,
                    cookie = str_cat("a=b; session=", good, "; c=d");
  const RequestAuthentication usual = of({rule()});
  EXPECT_EQ(ask(usual, "/"), "nobody");
  EXPECT_EQ(ask(usual, "/", {.headers = {{"Authorization", bearer}}}), "https://issuer/me");
  EXPECT_THAT(lines(), IsEmpty());
  EXPECT_EQ(ask(usual, "/", {.headers = {{"authorization", lower}}}), "https://issuer/me");
  EXPECT_EQ(ask(usual, "/", {.headers = {{"authorization", "Basic abc"}}}), "nobody");
  EXPECT_THAT(lines(), ElementsAre("authorization: Basic abc"));
  EXPECT_EQ(ask(usual, "/", {.headers = {{"authorization", "Bearer abc"}}}), "bad");
  EXPECT_EQ(ask(usual, "/", {.headers = {{"x-jwt", good}}}), "nobody");
  EXPECT_EQ(ask(usual, "/a?access_token=" + good), "https://issuer/me");
  EXPECT_EQ(ask(usual, "/a?access_token=abc"), "bad");

  mesh::v1::TokenRule places = rule();
  places.add_from_headers()->set_name("x-jwt");
  places.mutable_from_headers(0)->set_prefix("JWT:");
  places.add_from_params("t");
  places.add_from_cookies("session");
  const RequestAuthentication own = of({places});
  EXPECT_EQ(ask(own, "/", {.headers = {{"X-Jwt", odd}}}), "https://issuer/me");
  EXPECT_EQ(ask(own, "/", {.headers = {{"x-jwt", good}}}), "nobody") << "without its prefix";
  EXPECT_EQ(ask(own, "/", {.headers = {{"authorization", bearer}}}), "nobody");
  EXPECT_EQ(ask(own, "/?t=" + good), "https://issuer/me");
  EXPECT_EQ(ask(own, "/", {.headers = {{"Cookie", cookie}}}), "https://issuer/me");
  EXPECT_THAT(lines(), ElementsAre("Cookie: " + cookie));
}

TEST_F(RequestAuthenticationTest, TheTokenGoesOnOnlyWhereItsRuleSaysSo) {
  const std::string good = token();
  const RequestAuthentication drops = of({rule()});
  const std::pair<std::string, const char*> targets[] = {
      {"/a?access_token=" + good, "/a"},
      {str_cat("/a?x=1&access_token=", good), "/a?x=1"},
      {str_cat("/a?access_token=", good, "&x=1"), "/a?x=1"},
      {str_cat("/a/./b?x=1&access_token=", good, "&y=2&access_token=", good), "/a/b?x=1&y=2"}};
  for (const auto& [sent, got] : targets) {
    EXPECT_EQ(ask(drops, sent), "https://issuer/me");
    EXPECT_EQ(head_.target, got);
    EXPECT_EQ(head_.path, std::string_view(got).substr(0, std::string_view(got).find('?')));
    const size_t question = std::string_view(got).find('?');
    EXPECT_EQ(head_.query,
              question == std::string_view::npos ? "" : std::string_view(got).substr(question + 1));
  }
  mesh::v1::TokenRule keeps = rule();
  keeps.set_forward_original_token(true);
  const std::string sent = "/a?access_token=" + good, bearer = "Bearer " + good;
  EXPECT_EQ(ask(of({keeps}), sent, {.headers = {{"Authorization", bearer}}}), "https://issuer/me");
  EXPECT_EQ(head_.target, sent);
  EXPECT_THAT(lines(), ElementsAre("Authorization: " + bearer));
}

TEST_F(RequestAuthenticationTest, IssuerAudienceAndTimesMustFit) {
  mesh::v1::TokenRule for_us = rule();
  for_us.add_audiences("us");
  const struct {
    std::string claims;
    bool good;
  } rows[] = {
      {R"(,"aud":"us")", true},
      {R"(,"aud":["them","us"])", true},
      {R"(,"aud":"them")", false},
      {R"(,"aud":"US")", false},
      {R"(,"aud":[["us"]])", false},
      {R"(,"aud":{"us":1})", false},
      {"", false},
      {str_cat(R"(,"aud":"us","exp":)", kNow - 59), true},
      {str_cat(R"(,"aud":"us","exp":)", kNow - 61), false},
      {str_cat(R"(,"aud":"us","exp":)", kNow + 1, ".5"), true},
      {R"(,"aud":"us","exp":"2999999999")", false},
      {R"(,"aud":"us","exp":null)", false},
      {R"(,"aud":"us","exp":-1)", false},
      {R"(,"aud":"us","exp":1e300)", false},
      {str_cat(R"(,"aud":"us","nbf":)", kNow + 59), true},
      {str_cat(R"(,"aud":"us","nbf":)", kNow + 61), false},
      {R"(,"aud":"us","iss":"https://issuer")", false},  // twice
  };
  for (const auto& row : rows) {
    const std::string bearer = "Bearer " + token(row.claims);
    EXPECT_EQ(ask(of({for_us}), "/", {.headers = {{"authorization", bearer}}}),
              row.good ? "https://issuer/me" : "bad")
        << row.claims;
  }
  // Another's tokens, and ours signed by another.
  const std::string others = "Bearer " + token("", kOtherIssuer);
  EXPECT_EQ(ask(of({rule()}), "/", {.headers = {{"authorization", others}}}), "bad");
  const std::string forged =
      "Bearer " + test::make_token("ES256", other_key().get(), R"({"iss":"https://issuer","sub":"me"})", "");
  EXPECT_EQ(ask(of({rule(), rule(kOtherIssuer)}), "/", {.headers = {{"authorization", forged}}}), "bad");
  // Keys that are not known yet prove nothing.
  mesh::v1::TokenRule without = rule();
  without.clear_jwks();
  const std::string bearer = "Bearer " + token();
  EXPECT_EQ(ask(of({without}), "/", {.headers = {{"authorization", bearer}}}), "bad");
}

TEST_F(RequestAuthenticationTest, OfSeveralRulesAnyTakesAToken) {
  const RequestAuthentication both = of({rule(), rule(kOtherIssuer)});
  const std::string mine = token(), theirs = token("", kOtherIssuer);
  const std::string bearer = "Bearer " + mine, other = "Bearer " + theirs;
  EXPECT_EQ(ask(both, "/", {.headers = {{"authorization", bearer}}}), "https://issuer/me");
  EXPECT_EQ(ask(both, "/", {.headers = {{"authorization", other}}}), "https://other/me");
  // Each token that is there must be good, wherever it stands; the first rule's counts.
  EXPECT_EQ(ask(both, "/?access_token=" + mine, {.headers = {{"authorization", other}}}),
            "https://issuer/me");
  EXPECT_EQ(ask(both, "/?access_token=abc", {.headers = {{"authorization", bearer}}}), "bad");
  EXPECT_EQ(ask(both, "/", {.headers = {{"authorization", bearer}, {"authorization", "Bearer x"}}}), "bad");
  EXPECT_EQ(ask(both, "/?access_token=a&access_token=b&access_token=c&access_token=d&access_token=e"), "bad");
}

TEST_F(RequestAuthenticationTest, OnlyTheProxySaysWhatTheTokenSays) {
  mesh::v1::TokenRule tells = rule();
  tells.set_output_payload_to_header("x-payload");
  const std::pair<const char*, std::vector<std::string>> outputs[] = {
      {"x-sub", {"sub"}},   {"x-team", {"realm", "team"}}, {"x-level", {"level"}}, {"x-admin", {"admin"}},
      {"x-none", {"none"}}, {"x-list", {"list"}},          {"x-evil", {"evil"}}};
  for (const auto& [header, claim] : outputs) {
    auto& out = *tells.add_output_claims();
    out.set_header(header);
    for (const std::string& name : claim) out.add_claim(name);
  }
  const std::string sent =
      token(R"(,"realm":{"team":"a b"},"level":7,"admin":true,"list":["x"],"evil":"a\r\nx-root: yes")");
  const std::string bearer = "Bearer " + sent;
  const RequestAuthentication rules = of({tells});
  const std::vector<Header> spoofed = {{"X-Sub", "root"},  {"x-none", "root"}, {"X-PAYLOAD", "root"},
                                       {"x-evil", "root"}, {"X_Sub", "root"},  {"x-mine", "1"}};
  EXPECT_EQ(ask(rules, "/", {.headers = spoofed}), "nobody");
  EXPECT_THAT(lines(), ElementsAre("x-mine: 1"));
  EXPECT_EQ(ask(rules, "/",
                {.headers = {{"origin", "a"},
                             {"access-control-request-method", "GET"},
                             {"x-sub", "root"},
                             {"authorization", "Bearer x"}},
                 .method = "OPTIONS"}),
            "nobody");
  EXPECT_THAT(lines(),
              ElementsAre("origin: a", "access-control-request-method: GET", "authorization: Bearer x"));
  std::vector<Header> with_token = spoofed;
  with_token.push_back({"authorization", bearer});
  EXPECT_EQ(ask(rules, "/", {.headers = with_token}), "https://issuer/me");
  const size_t dot = sent.find('.');
  EXPECT_THAT(lines(),
              ElementsAre("x-mine: 1", "x-payload: " + sent.substr(dot + 1, sent.rfind('.') - dot - 1),
                          "x-sub: me", "x-team: a b", "x-level: 7", "x-admin: true"));
}

// The next hop would drop what it names, also what the proxy wrote.
TEST_F(RequestAuthenticationTest, NoConnectionFieldNamesWhatTheProxyWrites) {
  mesh::v1::TokenRule tells = rule();
  tells.set_output_payload_to_header("x-payload");
  tells.add_output_claims()->set_header("x-sub");
  tells.mutable_output_claims(0)->add_claim("sub");
  const RequestAuthentication rules = of({tells});
  const std::string bearer = "Bearer " + token();
  for (const char* list : {"x-sub", "close, X-Sub ", "X_Sub", "keep-alive,x-payload", ",,x-sub,"}) {
    EXPECT_EQ(ask(rules, "/", {.headers = {{"Connection", list}, {"authorization", bearer}}}), "bad") << list;
    EXPECT_EQ(ask(rules, "/", {.headers = {{"connection", list}}}), "bad") << list;
    EXPECT_EQ(
        ask(rules, "/",
            {.headers = {{"connection", list}, {"origin", "a"}, {"access-control-request-method", "GET"}},
             .method = "OPTIONS"}),
        "bad")
        << list;
  }
  EXPECT_EQ(ask(rules, "/", {.headers = {{"Connection", "close, x-other"}, {"authorization", bearer}}}),
            "https://issuer/me");
  EXPECT_TRUE(rules.gives("X_Payload"));
  EXPECT_FALSE(rules.gives("x-other"));
}

TEST_F(RequestAuthenticationTest, AKnownTokenIsNotProvedAgainAndEndsWithItsTimeAndItsRule) {
  const std::string bearer = "Bearer " + token(str_cat(R"(,"exp":)", kNow + 10));
  const Asked asked{.headers = {{"authorization", bearer}}};
  const RequestAuthentication rules = of({rule()});
  EXPECT_EQ(ask(rules, "/", asked), "https://issuer/me");
  const VerifiedToken* first = token_.get();
  EXPECT_EQ(ask(rules, "/", asked), "https://issuer/me");
  EXPECT_EQ(token_.get(), first);
  EXPECT_EQ(cache_.size(), 1u);
  // The same rule with other keys is another.
  mesh::v1::TokenRule rotated = rule();
  rotated.set_jwks(test::jwk_set(test::jwk(other_key().get())));
  EXPECT_EQ(ask(of({rotated}), "/", asked), "bad");
  EXPECT_EQ(ask(rules, "/", asked, kNow + 69), "https://issuer/me");
  EXPECT_EQ(ask(rules, "/", asked, kNow + 70), "bad");
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(RequestAuthenticationTest, TheCacheIsBoundedAndKeepsWhatIsUsed) {
  const TokenRulePtr by = *TokenRule::compile(rule());
  const auto made = [](size_t i, size_t size) {
    auto out = std::make_shared<VerifiedToken>();
    out->text = str_cat(i, ":");
    out->text.resize(size, 'x');
    return out;
  };
  TokenCache cache;
  for (size_t i = 0; i < 3 * TokenCache::kMaxTokens; ++i) {
    cache.add(made(i, 20), by);
    EXPECT_NE(cache.find(made(0, 20)->text, *by), nullptr);
  }
  EXPECT_EQ(cache.size(), TokenCache::kMaxTokens);
  for (size_t i = 0; i < 2'000; ++i) cache.add(made(i, 10'000), by);
  EXPECT_LE(cache.bytes(), TokenCache::kMaxBytes);
  EXPECT_GT(cache.size(), 100u);
}

TEST(TokenRuleTest, WhatIsNoRuleIsRefused) {
  const auto compiled = [](auto change) {
    mesh::v1::TokenRule one = rule();
    change(one);
    return TokenRule::compile(one).ok();
  };
  EXPECT_TRUE(compiled([](auto&) {}));
  EXPECT_FALSE(compiled([](auto& r) { r.clear_issuer(); }));
  EXPECT_FALSE(compiled([](auto& r) { r.set_jwks("{}"); }));
  for (const char* name :
       {"", "X-Upper", "a b", "host", "content-length", "connection", "transfer-encoding", "a\r\nb"}) {
    EXPECT_FALSE(compiled([name](auto& r) { r.add_from_headers()->set_name(name); })) << name;
    EXPECT_FALSE(compiled([name](auto& r) {
      r.add_output_claims()->set_header(name);
      r.mutable_output_claims(0)->add_claim("sub");
    })) << name;
  }
}

TEST(VerifiedTokenTest, ClaimsAreKnownByTheirPath) {
  const TokenRulePtr by = *TokenRule::compile(rule());
  const auto claims_of = [&by](const std::string& more) {
    const std::string text = token(more);
    const auto read = UnprovedToken::read(text);
    return read.ok() ? by->verify(*read, kNow) : nullptr;
  };
  const auto good =
      claims_of(R"(,"groups":["a","b",1],"scope":"read  write","a":{"b":{"c":"d"},"scope":"x y"},"n":1)");
  ASSERT_NE(good, nullptr);
  EXPECT_THAT(good->claims.at("groups"), ElementsAre("a", "b"));
  EXPECT_THAT(good->claims.at("scope"), ElementsAre("read", "write"));
  EXPECT_THAT(good->claims.at(claim_key({"a", "b", "c"})), ElementsAre("d"));
  EXPECT_THAT(good->claims.at(claim_key({"a", "scope"})), ElementsAre("x y"));
  EXPECT_FALSE(good->claims.contains("n"));
  // Names of outer objects count as often as there are claims within.
  const auto claims = [](int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += str_cat(i == 0 ? "" : ",", "\"k", i, R"(":"v")");
    return out;
  };
  const std::string outer(1'500, 'o');
  const auto small = claims_of(str_cat(",\"", outer, "\":{", claims(8), "}"));
  ASSERT_NE(small, nullptr);
  EXPECT_GT(small->claim_bytes, 8 * outer.size());
  EXPECT_LE(small->claim_bytes, TokenRule::kMaxClaimBytes);
  EXPECT_EQ(claims_of(str_cat(",\"", outer, "\":{", claims(64), "}")), nullptr);
  // A name that would be taken for a path.
  EXPECT_EQ(claims_of(R"(,"a\u0000b":"c")"), nullptr);
  EXPECT_EQ(UnprovedToken::read("a.b.c").ok(), false);
}

// As "scope", which stays one: of the token itself, and of texts alone.
TEST(VerifiedTokenTest, ClaimsThatTheRuleNamesAreListsOfWords) {
  mesh::v1::TokenRule named = rule();
  named.add_space_delimited_claims("roles");
  named.add_space_delimited_claims("a.b");
  const TokenRulePtr by = *TokenRule::compile(named);
  const std::string text = token(
      R"(,"roles":" admin  editor ","a.b":"x y","a":{"b":"p q","roles":"r s"},"groups":"t u","scope":"v w","list":["m n"])");
  const auto read = UnprovedToken::read(text);
  ASSERT_TRUE(read.ok()) << read.status();
  const VerifiedTokenPtr good = by->verify(*read, kNow);
  ASSERT_NE(good, nullptr);
  EXPECT_THAT(good->claims.at("roles"), ElementsAre("admin", "editor"));
  EXPECT_THAT(good->claims.at("a.b"), ElementsAre("x", "y")) << "a name with a dot, no path";
  EXPECT_THAT(good->claims.at(claim_key({"a", "b"})), ElementsAre("p q"));
  EXPECT_THAT(good->claims.at(claim_key({"a", "roles"})), ElementsAre("r s"));
  EXPECT_THAT(good->claims.at("groups"), ElementsAre("t u"));
  EXPECT_THAT(good->claims.at("scope"), ElementsAre("v", "w"));
  EXPECT_THAT(good->claims.at("list"), ElementsAre("m n"));
  // Each word counts against what a token may say.
  std::string many;
  for (int i = 0; i < 1'500; ++i) many += "w ";
  const std::string long_text = token(str_cat(",\"roles\":\"", many, "\""));
  EXPECT_EQ(by->verify(*UnprovedToken::read(long_text), kNow), nullptr);
  EXPECT_NE((*TokenRule::compile(rule()))->verify(*UnprovedToken::read(long_text), kNow), nullptr);
}

// What was remembered of a token is of the rule that read it.
TEST_F(RequestAuthenticationTest, ATokenIsReadAnewWhenItsRuleNamesOtherClaims) {
  const std::string path = str_cat("/?access_token=", token(R"(,"roles":"a b")"));
  ask(of({rule()}), path);
  ASSERT_NE(token_, nullptr);
  EXPECT_THAT(token_->claims.at("roles"), ElementsAre("a b"));
  mesh::v1::TokenRule named = rule();
  named.add_space_delimited_claims("roles");
  ask(of({named}), path);
  ASSERT_NE(token_, nullptr);
  EXPECT_THAT(token_->claims.at("roles"), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace weft::proxy
