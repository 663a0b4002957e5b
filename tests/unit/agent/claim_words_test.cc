// Claims that are texts, some of them lists of words by the issuer's rule: tokens that are signed and read,
// and policies about them, from manifests, against a plain reading of the specification (plain_policy.h).
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/strings.h"
#include "tests/unit/agent/plain_policy.h"
#include "tests/unit/agent/policy_fixture.h"
#include "tests/unit/control-plane/compile_fixture.h"
#include "tests/unit/identity/tokens.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/policy/token_rule.h"

namespace weft::agent {
namespace {

using Words = std::vector<std::string>;

constexpr int kTokens = 2'000;
constexpr int64_t kNow = 1'800'000'000;

const Words kClaims = {"roles", "group", "scope", "permission", "x.y"};
const Words kTexts = {"admin", "admin editor", " editor  admin ", "administrator", "", " ", "ed itor"};
const Words kWanted = {"admin", "editor", "adm*", "*tor", "*", "admin editor", "viewer"};

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  bool one_in(unsigned n) { return random_() % n == 0; }
  const std::string& of(const Words& words) { return words[random_() % words.size()]; }

 private:
  std::mt19937 random_;
};

std::string list_of(const Words& names) {
  std::string out;
  for (const std::string& name : names) str_append(&out, out.empty() ? "" : ", ", "'", name, "'");
  return str_cat("[", out, "]");
}

// As the manifest says it and the compiler passes it on.
mesh::v1::TokenRule rule_of(const Words& words, const std::string& keys) {
  const std::string manifest =
      str_cat("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n",
              "metadata: {name: r, namespace: shop}\nspec: {jwtRules: [{issuer: iss, jwks: '", keys, "'",
              words.empty() ? "" : str_cat(", spaceDelimitedClaims: ", list_of(words)), "}]}\n");
  return control_plane::resource<mesh::v1::RequestAuthentication>(
             control_plane::compile_text(manifest), control_plane::kAuthenticationType, "shop/r")
      .rules(0);
}

plain::Request request(Dice& dice) {
  plain::Request out;
  out.source = "10.0.0.2";
  out.destination = "10.0.0.1";
  out.port = 8080;
  out.method = "GET";
  out.host = "cart";
  out.path = "/";
  out.token_principal = "iss/me";
  for (const std::string& name : kClaims) {
    if (dice.one_in(4)) continue;
    if (dice.one_in(3))
      out.claims.emplace_back(name, Words{dice.of(kTexts), dice.of(kTexts)});
    else
      out.text_claims.emplace_back(name, dice.of(kTexts));
    if (dice.one_in(3)) out.word_claims.push_back(name);
  }
  return out;
}

std::string payload_of(const plain::Request& r) {
  std::string out = R"({"iss":"iss","sub":"me")";
  for (const auto& [name, text] : r.text_claims) str_append(&out, ",\"", name, "\":\"", text, "\"");
  for (const auto& [name, texts] : r.claims)
    str_append(&out, ",\"", name, "\":[\"", texts[0], "\",\"", texts[1], "\"]");
  return out + "}";
}

plain::Policy policy(Dice& dice) {
  plain::Condition about{str_cat("request.auth.claims[", dice.of(kClaims), "]"), {}};
  (dice.one_in(3) ? about.values.out : about.values.in).push_back(dice.of(kWanted));
  plain::Rule rule;
  rule.when.push_back(about);
  plain::Policy out;
  out.name = "p";
  out.deny = dice.one_in(2);
  out.rules.push_back(rule);
  return out;
}

bool judged_allowed(const plain::Policy& policy, const plain::Request& r, const proxy::VerifiedToken& token) {
  const MeshModel model = model_of(authorization("shop", policy.name, plain::spec_of(policy)));
  std::vector<proxy::AuthorizationPtr> messages;
  for (const auto& [name, message] : model.authorizations())
    messages.push_back(std::make_shared<istio::security::Authorization>(message));
  EXPECT_EQ(messages.size(), 1U);
  const PolicyConnection connection{
      .source = *IpAddress::parse(r.source),
      .identity = std::nullopt,
      .destination = {*IpAddress::parse(r.destination), static_cast<uint16_t>(r.port)}};
  proxy::RequestHead head;
  head.method = r.method;
  head.authority = r.host;
  head.path = r.path;
  proxy::PathReadings paths;
  return proxy::ConnectionPolicy(std::make_shared<const proxy::PolicySet>(messages), connection)
      .judge(proxy::judged(head, connection.source, &paths, &token))
      .allowed;
}

TEST(ClaimWordsTest, PoliciesSeeTheWordsOfClaimsThatTheRuleNames) {
  const KeyPtr key = test::ec_key("P-256");
  const std::string keys = test::jwk_set(test::jwk(key.get()));
  std::map<Words, proxy::TokenRulePtr> rules;
  int allowed_count = 0, by_words_count = 0;
  for (unsigned seed = 0; seed < kTokens; ++seed) {
    Dice dice(seed);
    const plain::Request r = request(dice);
    const plain::Policy p = policy(dice);
    proxy::TokenRulePtr& rule = rules[r.word_claims];
    if (rule == nullptr) {
      const auto compiled = proxy::TokenRule::compile(rule_of(r.word_claims, keys));
      ASSERT_TRUE(compiled.ok()) << compiled.status();
      rule = *compiled;
    }
    const std::string text = test::make_token("ES256", key.get(), payload_of(r), "");
    const auto read = proxy::UnprovedToken::read(text);
    ASSERT_TRUE(read.ok()) << read.status();
    const proxy::VerifiedTokenPtr token = rule->verify(*read, kNow);
    ASSERT_NE(token, nullptr) << payload_of(r);
    const bool expected = plain::allowed({p}, r);
    ASSERT_EQ(judged_allowed(p, r, *token), expected)
        << "seed " << seed << " " << payload_of(r) << " words " << list_of(r.word_claims) << "\n"
        << plain::spec_of(p);
    plain::Request without = r;
    without.word_claims.clear();
    allowed_count += expected ? 1 : 0;
    by_words_count += plain::allowed({p}, without) != expected ? 1 : 0;
  }
  // Neither verdict is the rule, and the names decide some.
  EXPECT_GT(allowed_count, kTokens / 10);
  EXPECT_LT(allowed_count, kTokens * 9 / 10);
  EXPECT_GT(by_words_count, kTokens / 100);
}

}  // namespace
}  // namespace weft::agent
