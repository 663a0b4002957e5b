// Random policies, written as manifests, against a plain reading of their specification (plain_policy.h).
#include <gtest/gtest.h>

#include <random>

#include "base/strings.h"
#include "tests/unit/agent/kernel_verdict.h"
#include "tests/unit/agent/plain_policy.h"
#include "tests/unit/agent/policy_fixture.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::agent {
namespace {

using Words = std::vector<std::string>;
using Decision = proxy::ConnectionPolicy::Decision;

constexpr int kSets = 5'000;
constexpr int kRequests = 20;

const Words kPrincipals = {"cluster.local/ns/shop/sa/web", "cluster.local/ns/*", "*/sa/web", "*", "other/*"};
const Words kTrustDomains = {"cluster.local", "other", "cluster", "o*", "cluster.local*", "*"};
const Words kNamespaces = {"shop", "bank", "s*", "*k", "*"};
const Words kAccounts = {"web", "bank/default", "shop/web", "cart"};
const Words kRanges = {"10.0.0.2", "10.0.0.0/24", "10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0"};
const Words kHosts = {"cart", "cart:8080", "*.shop", "CART*", "*"};
const Words kPorts = {"8080", "9090"};
const Words kMethods = {"GET", "POST", "P*", "*T", "*"};
const Words kPaths = {"/a",   "/a/*",   "*.txt",   "*",         "/a/b",        "/",
                      "/{*}", "/{*}/b", "/a/{**}", "/a/{**}/c", "/{*}/b/{**}", "/a/{*}/"};
const Words kTexts = {"v", "w*", "*v", "*"};
const Words kServerNames = {"a.test", "A*", "*.test", "*", "b.other"};
const Words kKeys = {"source.ip",
                     "source.namespace",
                     "source.principal",
                     "source.trustDomain",
                     "source.serviceAccount",
                     "destination.ip",
                     "destination.port",
                     "remote.ip",
                     "connection.sni",
                     "connection.sni",
                     "request.headers[X-A]",
                     "request.headers[x-b]",
                     "request.auth.principal",
                     "request.auth.audiences",
                     "request.auth.presenter",
                     "request.auth.claims[group]",
                     "request.auth.claims[a][b]"};
const Words kTokenPrincipals = {"iss/me", "iss/*", "*/you", "*", "other/me"};
// Each path with the other ways in which servers read it.
const std::pair<const char*, Words> kTargets[] = {{"/", {}},
                                                  {"/a", {}},
                                                  {"/a/", {}},
                                                  {"/a/b", {}},
                                                  {"/a/b/c", {}},
                                                  {"/x.txt", {}},
                                                  {"/b/b/y.txt", {}},
                                                  {"/a//b", {"/a/b"}},
                                                  {"/a%2Fb", {"/a/b"}},
                                                  {"//a", {"/a"}},
                                                  {"/x%5Cb/c", {"/x/b/c"}},
                                                  {"/a/%2f/c", {"/a/c"}},
                                                  {"/a/b//..%2fc", {"/a/b/c", "/a/c", "/a/b/..%2fc"}},
                                                  {"/%63.txt", {"/c.txt"}},
                                                  {"/a%2f..%2Fx.txt", {"/x.txt"}}};

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  bool one_in(unsigned n) { return random_() % n == 0; }
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  template <typename List>
  const auto& of(const List& list) {
    return list[random_() % std::size(list)];
  }
  plain::Values values(const Words& words) {
    plain::Values out;
    const unsigned side = below(5);
    for (unsigned n = 1 + below(2); n > 0 && side != 0; --n)
      (side == 1 ? out.out : out.in).push_back(of(words));
    if (side == 4 && one_in(2)) out.out.push_back(of(words));
    return out;
  }

 private:
  std::mt19937 random_;
};

template <typename Make>
auto some(Dice& dice, unsigned most, Make make) {
  std::vector<decltype(make())> out;
  for (unsigned n = dice.below(most + 1); n > 0; --n) out.push_back(make());
  return out;
}

plain::Source source(Dice& dice) {
  plain::Source out;
  // Accounts do not stand beside the other two; an entry has something to say.
  if (dice.one_in(3)) {
    out.accounts.in = {dice.of(kAccounts)};
  } else {
    if (dice.one_in(2)) out.principals = dice.values(kPrincipals);
    // What is wanted of a trust domain stands in principals, where they are given.
    if (dice.one_in(4)) out.trust_domains = dice.values(kTrustDomains);
    if (!out.principals.in.empty()) out.trust_domains.in.clear();
    if (dice.one_in(2)) out.namespaces = dice.values(kNamespaces);
  }
  if (dice.one_in(3)) out.ips = dice.values(kRanges);
  if (dice.one_in(4)) out.remotes = dice.values(kRanges);
  if (dice.one_in(4)) out.token_principals = dice.values(kTokenPrincipals);
  if (out.principals.empty() && out.trust_domains.empty() && out.namespaces.empty() && out.accounts.empty())
    out.ips.in = {dice.of(kRanges)};
  return out;
}

plain::Operation operation(Dice& dice) {
  plain::Operation out;
  if (dice.one_in(3)) out.hosts = dice.values(kHosts);
  if (dice.one_in(2)) out.methods = dice.values(kMethods);
  if (dice.one_in(2)) out.paths = dice.values(kPaths);
  if (dice.one_in(3)) out.ports = dice.values(kPorts);
  if (out.hosts.empty() && out.methods.empty() && out.paths.empty()) out.ports.in = {dice.of(kPorts)};
  return out;
}

plain::Condition condition(Dice& dice) {
  plain::Condition out{dice.of(kKeys), {}};
  const bool is_ip = out.key.ends_with(".ip");
  const Words& words = is_ip                                 ? kRanges
                       : out.key == "source.namespace"       ? kNamespaces
                       : out.key == "source.principal"       ? kPrincipals
                       : out.key == "source.trustDomain"     ? kTrustDomains
                       : out.key == "source.serviceAccount"  ? kAccounts
                       : out.key == "destination.port"       ? kPorts
                       : out.key == "connection.sni"         ? kServerNames
                       : out.key == "request.auth.principal" ? kTokenPrincipals
                                                             : kTexts;
  while (out.values.empty()) out.values = dice.values(words);
  return out;
}

// A provider is asked before tokens are looked at.
void leave_tokens_out(plain::Policy& policy) {
  for (plain::Rule& rule : policy.rules) {
    for (plain::Source& each : rule.from) each.token_principals = {};
    std::erase_if(rule.when, [](const plain::Condition& c) { return c.key.starts_with("request.auth."); });
  }
}

plain::Policy policy(Dice& dice, int index) {
  plain::Policy out{.name = str_cat("p", index), .deny = dice.one_in(2), .provider = {}, .rules = {}};
  out.audit = dice.one_in(6);
  out.dry_run = !out.audit && dice.one_in(6);
  if (!out.audit && !out.dry_run && dice.one_in(4)) {
    out.deny = true;
    out.provider = dice.one_in(2) ? "one" : "two";
  }
  out.rules = some(dice, 3, [&] {
    return plain::Rule{some(dice, 2, [&] { return source(dice); }),
                       some(dice, 2, [&] { return operation(dice); }),
                       some(dice, 1, [&] { return condition(dice); })};
  });
  if ((out.deny || out.audit) && out.rules.empty()) out.rules.emplace_back();
  if (!out.provider.empty()) leave_tokens_out(out);
  return out;
}

plain::Request request(Dice& dice) {
  plain::Request out;
  out.http = !dice.one_in(8);
  out.server_name = dice.of(Words{"", "a.test", "b.test", "b.other"});
  out.name_unknown = !out.http && dice.one_in(4);
  if (!dice.one_in(6)) {
    out.trust_domain = dice.one_in(6) ? "other" : "cluster.local";
    out.ns = dice.one_in(2) ? "shop" : "bank";
    out.account = dice.one_in(2) ? "web" : "default";
  }
  out.source = dice.of(Words{"10.0.0.2", "10.0.9.3", "192.168.7.7"});
  const bool forwarded = dice.one_in(2);
  out.remote = forwarded ? dice.of(Words{"10.0.0.9", "192.168.1.1", "172.16.0.1"}) : out.source;
  if (forwarded) out.headers.emplace_back("X-Forwarded-For", str_cat("1.2.3.4, ", out.remote));
  out.destination = "10.0.0.1";
  out.port = dice.one_in(3) ? 9090 : 8080;
  out.method = dice.of(Words{"GET", "POST", "PUT", "DELETE"});
  out.host = dice.of(Words{"cart", "cart:8080", "Cart.shop:80", "other", "x.shop"});
  const auto& [path, readings] = dice.of(kTargets);
  out.path = path;
  out.readings = readings;
  for (unsigned n = dice.below(3); n > 0; --n)
    out.headers.emplace_back(dice.one_in(2) ? "x-a" : "X-B", dice.of(Words{"v", "wv", "w", "z"}));
  if (dice.one_in(2)) return out;
  // Good tokens without a subject have no principal.
  out.token_principal = dice.of(Words{"iss/me", "iss/you", "other/me", ""});
  for (const char* claim : {"aud", "azp", "group", "a/b"}) {
    if (dice.one_in(3)) continue;
    auto& texts = out.claims.emplace_back(claim, Words()).second;
    for (unsigned n = dice.below(3); n > 0; --n) texts.push_back(dice.of(Words{"v", "wv", "w", "z"}));
  }
  return out;
}

PolicyConnection connection_of(const plain::Request& r) {
  PolicyConnection out{.source = *IpAddress::parse(r.source),
                       .destination = {*IpAddress::parse(r.destination), static_cast<uint16_t>(r.port)}};
  if (!r.ns.empty()) out.identity = PeerIdentity{r.trust_domain, r.ns, r.account};
  return out;
}

// What policies that decide nothing say.
struct Shadow {
  bool allowed = true, audited = false;
};

bool judged_allowed(const std::shared_ptr<const proxy::PolicySet>& set, const plain::Request& r,
                    Shadow* shadow, std::vector<std::string>* asked) {
  const PolicyConnection connection = connection_of(r);
  const proxy::ConnectionPolicy policy(set, connection);
  const auto note = [&](const proxy::ShadowPolicy::Report& said) {
    *shadow = {said.allowed, !said.audited_by.empty()};
    EXPECT_EQ(said.dry_run, set->has_dry_run());
  };
  if (!r.http) {
    const auto name = r.name_unknown ? std::nullopt : std::optional<std::string_view>(r.server_name);
    if (policy.shadow() != nullptr) note(policy.shadow()->judge_bytes(name));
    EXPECT_EQ(policy.judge_bytes().allowed, policy.decision() == Decision::kAllowed);
    const auto verdict = policy.judge_bytes(name);
    EXPECT_EQ(verdict.policy.empty(), verdict.allowed);
    // Whoever does not look would say the same.
    if (!policy.asks_server_name()) {
      EXPECT_EQ(verdict.allowed, policy.judge_bytes().allowed);
    }
    return verdict.allowed;
  }
  proxy::RequestHead head;
  head.method = r.method;
  head.authority = r.host;
  head.path = r.path;
  for (const auto& [name, value] : r.headers) head.headers.push_back({name, value});
  proxy::PathReadings paths;
  proxy::VerifiedToken token{.principal = r.token_principal};
  for (const auto& [name, texts] : r.claims)
    token.claims[name == "a/b" ? proxy::claim_key({"a", "b"}) : name] = texts;
  const bool has_token = !r.token_principal.empty() || !r.claims.empty();
  proxy::JudgedRequest request = proxy::judged(head, connection.source, &paths, has_token ? &token : nullptr);
  request.server_name = r.server_name;
  const auto verdict = policy.judge(request);
  std::vector<proxy::ConnectionPolicy::Asked> providers;
  if (policy.may_ask()) policy.asked(request, &providers);
  // By head alone: the token is not looked at yet.
  for (const auto& one : providers) asked->emplace_back(one.provider);
  if (policy.decision() == Decision::kDenied) *asked = {"nobody"};
  if (policy.shadow() != nullptr) note(policy.shadow()->judge(request));
  if (policy.decision() != Decision::kDepends) {
    EXPECT_EQ(verdict.allowed, policy.decision() == Decision::kAllowed);
  }
  EXPECT_EQ(verdict.policy.empty(), verdict.allowed);
  return verdict.allowed;
}

// What the kernel hands to the proxy: everything that some request could be allowed by, and nothing else.
void expect_kernel_leaves_open(const std::shared_ptr<const proxy::PolicySet>& set,
                               const std::vector<const istio::security::Authorization*>& policies,
                               const plain::Request& r) {
  const PolicyConnection connection = connection_of(r);
  std::vector<LocalIdentity> local;
  if (connection.identity) local.push_back({.workload_id = 7, .identity = *connection.identity});
  const std::vector<IpAddress> own = {connection.destination.ip};
  const auto table = compile_policies(policies, own, local, RequestRules::kLeftOpen);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(kernel_allows(*table, connection.source, connection.destination.port, local.empty() ? 0 : 7),
            proxy::ConnectionPolicy(set, connection).decision() != Decision::kDenied);
}

TEST(HttpPolicyRandomTest, AHundredThousandVerdictsAreWhatThePlainReadingSays) {
  int allowed_count = 0, audited_count = 0, shadow_count = 0, asked_count = 0;
  for (unsigned seed = 0; seed < kSets; ++seed) {
    Dice dice(seed);
    std::vector<plain::Policy> policies;
    std::string manifests;
    for (int i = 0; i < 1 + static_cast<int>(seed % 3); ++i) {
      policies.push_back(policy(dice, i));
      manifests += authorization("shop", policies.back().name, plain::spec_of(policies.back()));
    }
    const MeshModel model = model_of(manifests);
    std::vector<proxy::AuthorizationPtr> messages;
    for (const auto& [name, message] : model.authorizations()) {
      EXPECT_TRUE(validate_policy(message).ok() && proxy::validate_request_terms(message).ok()) << manifests;
      auto copy = std::make_shared<istio::security::Authorization>(message);
      for (const plain::Policy& one : policies) {
        if (one.dry_run && one.name == message.name()) copy->set_dry_run(true);
      }
      messages.push_back(std::move(copy));
    }
    ASSERT_EQ(messages.size(), policies.size()) << manifests;
    const auto set = std::make_shared<const proxy::PolicySet>(messages);
    std::vector<const istio::security::Authorization*> in_kernel;
    for (const proxy::AuthorizationPtr& message : messages) in_kernel.push_back(message.get());
    for (int i = 0; i < kRequests; ++i) {
      const plain::Request r = request(dice);
      const bool expected = plain::allowed(policies, r);
      allowed_count += expected ? 1 : 0;
      if (i == 0) expect_kernel_leaves_open(set, in_kernel, r);
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << "\n" << manifests;
      Shadow shadow;
      Words asked;
      const bool judged = judged_allowed(set, r, &shadow, &asked);
      if (r.http && asked != Words{"nobody"}) {
        ASSERT_EQ(asked, plain::asked(policies, r)) << "seed " << seed << "\n" << manifests;
        asked_count += asked.empty() ? 0 : 1;
      }
      if (set->has_dry_run()) ASSERT_EQ(shadow.allowed, plain::allowed(policies, r, true)) << manifests;
      ASSERT_EQ(shadow.audited, plain::audited(policies, r)) << manifests;
      audited_count += shadow.audited ? 1 : 0;
      shadow_count += shadow.allowed != expected ? 1 : 0;
      ASSERT_EQ(judged, expected) << "seed " << seed << " request " << i << (r.http ? " " : " no HTTP ")
                                  << r.method << " " << r.host << r.path << " from " << r.source << " "
                                  << r.ns << "/" << r.account << "\n"
                                  << manifests;
    }
  }
  EXPECT_GT(asked_count, kSets * kRequests / 100);
  EXPECT_GT(audited_count, kSets * kRequests / 100);
  EXPECT_GT(shadow_count, kSets * kRequests / 100);
  // Neither verdict is the rule.
  EXPECT_GT(allowed_count, kSets * kRequests / 10);
  EXPECT_LT(allowed_count, kSets * kRequests * 9 / 10);
}

}  // namespace
}  // namespace weft::agent
