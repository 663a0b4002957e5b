// Signed tokens: every algorithm by its key, and no way to be believed without one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/jws.h"
#include "base/strings.h"
#include "tests/unit/identity/tokens.h"

namespace weft {
namespace {

using test::base64url;
using test::jwk;
using test::make_token;
using ::testing::HasSubstr;

constexpr char kPayload[] = R"({"iss":"https://issuer","sub":"me"})";

// Made once: RSA keys take their time.
struct Keys {
  KeyPtr rsa = test::rsa_key_of(2048), other_rsa = test::rsa_key_of(2048);
  KeyPtr p256 = test::ec_key("P-256"), p384 = test::ec_key("P-384"), p521 = test::ec_key("P-521");
  EVP_PKEY* of(const std::string& algorithm) const {
    if (!algorithm.starts_with("ES")) return rsa.get();
    return algorithm == "ES256" ? p256.get() : algorithm == "ES384" ? p384.get() : p521.get();
  }
  std::string set() const {
    return test::jwk_set(str_cat(jwk(rsa.get(), R"(,"kid":"r")"), ",", jwk(p256.get(), R"(,"kid":"e256")"),
                                 ",", jwk(p384.get(), R"(,"kid":"e384")"), ",",
                                 jwk(p521.get(), R"(,"kid":"e521")")));
  }
};
const Keys& keys() {
  static const Keys all;
  return all;
}

const char* const kAlgorithms[] = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                   "PS512", "ES256", "ES384", "ES512"};

// "bad: …", or how it was proved.
std::string verdict(std::string_view token, const std::string& set) {
  const auto jws = read_jws(token);
  if (!jws.ok()) return str_cat("bad: ", jws.status().message());
  const auto parsed = JwkSet::parse(set);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (!parsed.ok()) return "no set";
  const JwsProof proof = prove(*jws, *parsed);
  return proof == JwsProof::kProved ? "proved" : proof == JwsProof::kNoKey ? "no key" : "not proved";
}

TEST(JwsTest, EveryAlgorithmIsProvedByItsKeyAndByNoOther) {
  for (const char* algorithm : kAlgorithms) {
    const std::string token = make_token(algorithm, keys().of(algorithm), kPayload, "");
    EXPECT_EQ(verdict(token, keys().set()), "proved") << algorithm;
    const auto jws = read_jws(token);
    ASSERT_TRUE(jws.ok());
    EXPECT_EQ(jws->payload, kPayload);
    // One bit of the payload, and one of the signature.
    std::string other = token;
    const size_t dot = token.find('.');
    other[dot + 2] = other[dot + 2] == 'A' ? 'B' : 'A';
    EXPECT_EQ(verdict(other, keys().set()), "not proved") << algorithm;
    other = token;
    const size_t last = token.rfind('.') + 3;
    other[last] = other[last] == 'A' ? 'B' : 'A';
    EXPECT_EQ(verdict(other, keys().set()), "not proved") << algorithm;
    // The same text, signed as another algorithm of the same key says.
    const std::string header = str_cat(R"({"alg":")", algorithm, "\"}");
    for (const char* real : kAlgorithms) {
      if (keys().of(real) != keys().of(algorithm) || std::string(real) == algorithm) continue;
      EXPECT_EQ(verdict(test::sign_token(real, keys().of(real), header, kPayload), keys().set()),
                "not proved")
          << algorithm << " " << real;
    }
  }
  const std::string stranger = make_token("RS256", keys().other_rsa.get(), kPayload, "");
  EXPECT_EQ(verdict(stranger, keys().set()), "not proved");
}

TEST(JwsTest, TheHeaderChoosesNoMoreThanWhichKnownKeyIsTried) {
  EVP_PKEY* rsa = keys().rsa.get();
  const std::string set = keys().set();
  EXPECT_EQ(verdict(make_token("RS256", rsa, kPayload, "r"), set), "proved");
  EXPECT_EQ(verdict(make_token("RS256", rsa, kPayload, "e256"), set), "no key");
  EXPECT_EQ(verdict(make_token("RS256", rsa, kPayload, "../../r"), set), "no key");
  // A key that is for one algorithm is not used for another of its kind.
  const std::string only = test::jwk_set(jwk(rsa, R"(,"alg":"PS256")"));
  EXPECT_EQ(verdict(make_token("PS256", rsa, kPayload, ""), only), "proved");
  EXPECT_EQ(verdict(make_token("RS256", rsa, kPayload, ""), only), "no key");
  // Keys, certificates and addresses that the token brings are not looked at.
  const std::string stranger = jwk(keys().other_rsa.get());
  const std::string own = str_cat(R"({"alg":"RS256","jwk":)", stranger, R"(,"jku":"https://evil/keys"})");
  EXPECT_EQ(verdict(test::sign_token("RS256", keys().other_rsa.get(), own, kPayload), set), "not proved");
}

TEST(JwsTest, WhatIsNoSignedTokenIsRefusedAsItIsRead) {
  const std::string body = base64url(kPayload);
  const auto with_header = [&](std::string_view header) {
    return str_cat(base64url(header), ".", body, ".AAAA");
  };
  const struct {
    std::string token;
    const char* expected;
  } rows[] = {
      {"", "no three parts"},
      {"a.b", "no three parts"},
      {str_cat(with_header(R"({"alg":"RS256"})"), ".x"), "no three parts"},
      {with_header(R"({"alg":"none"})"), "none that proves"},
      {with_header(R"({"alg":"None"})"), "none that proves"},
      {with_header(R"({"alg":"HS256"})"), "none that proves"},
      {with_header(R"({"alg":"rs256"})"), "none that proves"},
      {with_header(R"({"alg":["RS256"]})"), "names no algorithm"},
      {with_header(R"({"typ":"JWT"})"), "names no algorithm"},
      {with_header(R"({"alg":"none","alg":"RS256"})"), "twice"},
      {with_header(R"({"alg":"RS256","crit":["exp"]})"), "extension"},
      {with_header(R"({"alg":"RS256","b64":false})"), "extension"},
      {with_header(R"({"alg":"RS256","zip":"DEF"})"), "extension"},
      {with_header(R"({"alg":"RS256","kid":1})"), "kid"},
      {with_header(R"({"alg":"RS256"} )") + "", ""},
      {with_header(R"({"alg":"RS256"}x)"), "no JSON"},
      {with_header(R"([])"), "no object"},
      {str_cat(base64url(R"({"alg":"RS256"})"), ".", body, "."), "signature"},
      {str_cat(base64url(R"({"alg":"RS256"})"), ".", body, "=.AAAA"), "payload"},
      {str_cat(base64url(R"({"alg":"RS256"})"), ".", body, ".AA+A"), "signature"},
      {std::string(20'000, 'a'), "too long"},
  };
  for (const auto& row : rows) {
    const auto jws = read_jws(row.token);
    if (*row.expected == 0) {
      EXPECT_TRUE(jws.ok()) << jws.status();
      continue;
    }
    ASSERT_FALSE(jws.ok()) << row.token;
    EXPECT_THAT(std::string(jws.status().message()), HasSubstr(row.expected)) << row.token;
  }
}

TEST(JwsTest, Base64urlHasOneFormOfEachText) {
  EXPECT_EQ(read_base64url(""), "");
  EXPECT_EQ(read_base64url("AA"), std::string(1, '\0'));
  EXPECT_EQ(read_base64url("-_8"), "\xfb\xff");
  for (const char* bad : {"A", "AB", "AAB", "AA=", "AA==", "A A", "+/8", "AAAAA"})
    EXPECT_FALSE(read_base64url(bad).has_value()) << bad;
}

TEST(JwkSetTest, OnlyPublicKeysThatCanBeUsedAreTaken) {
  const std::string good = jwk(keys().rsa.get());
  const struct {
    std::string set, expected;  // the number of keys, or what is wrong
  } rows[] = {
      {test::jwk_set(good), "1"},
      {test::jwk_set(good + R"(,{"kty":"OKP","crv":"Ed25519","x":"AA"})"), "1"},
      {test::jwk_set(str_cat(good, ",", jwk(keys().p256.get(), R"(,"use":"enc")"))), "1"},
      {test::jwk_set(str_cat(good, ",", jwk(keys().p256.get(), R"(,"key_ops":["verify"])"))), "2"},
      {test::jwk_set(jwk(keys().rsa.get(), R"(,"alg":"RSA-OAEP")")), "no RSA or EC key"},
      {test::jwk_set(jwk(keys().rsa.get(), R"(,"alg":"ES256")")), "not for a key of its kind"},
      {test::jwk_set(jwk(keys().rsa.get(), R"(,"d":"AAAA")")), "secret"},
      {test::jwk_set(R"({"kty":"oct","k":"AAAA"})"), "secret"},
      {test::jwk_set(jwk(test::rsa_key_of(1024).get())), "2048"},
      {test::jwk_set(R"({"kty":"RSA","n":"AAAA","e":"AQAB"})"), "2048"},
      {test::jwk_set(str_cat(R"({"kty":"EC","crv":"P-256","x":")", base64url(std::string(32, 'x')),
                             R"(","y":")", base64url(std::string(32, 'y')), R"("})")),
       "no public key"},
      {test::jwk_set(R"({"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"})"), "curve's size"},
      {test::jwk_set(""), "no RSA or EC key"},
      {"{}", "keys"},
      {"[]", "keys"},
      {R"({"keys":{}})", "keys"},
      {R"({"keys":[1]})", "keys[0]"},
      {R"({"keys":[],"keys":[]})", "twice"},
      {std::string(300'000, ' '), "too long"},
  };
  for (const auto& row : rows) {
    const auto set = JwkSet::parse(row.set);
    const std::string got = set.ok() ? str_cat(set->keys().size()) : std::string(set.status().message());
    EXPECT_THAT(got, HasSubstr(row.expected)) << row.set.substr(0, 200);
  }
}

TEST(JsonTextTest, IsStrictAndBounded) {
  const JsonLimits limits{.bytes = 64, .depth = 3, .values = 8};
  for (const char* good :
       {"1", "{\"a\":[{\"b\":1}]}", " [1,2,3] ", "\"\\u00e9\"", "{\"a\":{\"x\":1},\"b\":{\"x\":1}}"})
    EXPECT_TRUE(read_json(good, limits).ok()) << good;
  for (const char* bad : {"", "{", "1 2", "{\"a\":1,\"a\":2}", "[[[[1]]]]", "[1,2,3,4,5,6,7,8,9]", "'a'",
                          "{a:1}", "[1,]", "NaN", "01", "\"\xff\"", "\xef\xbb\xbf{}", "1e999", "/* */ 1",
                          "\"\\ud800\"", "{\"a\":[{\"b\":{\"a\":1,\"a\":2}}]}"})
    EXPECT_FALSE(read_json(bad, limits).ok()) << bad;
  EXPECT_FALSE(read_json(std::string(65, ' '), limits).ok());
  // What is nested without end costs no stack.
  EXPECT_FALSE(read_json(std::string(100'000, '['), {.bytes = 200'000, .depth = 16, .values = 100}).ok());
}

}  // namespace
}  // namespace weft
