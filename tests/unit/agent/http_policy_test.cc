// From manifest to the verdict on a request, as the proxy of the server's node gives it.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/agent/policy_fixture.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::agent {
namespace {

using proxy::ConnectionPolicy;
using proxy::PathNormalisation;

struct Asked {
  const char* method = "GET";
  const char* target = "/";
  const char* host = "cart";
  std::vector<proxy::Header> headers;
  PathNormalisation level = PathNormalisation::kBase;
};

// The policy shop/p with this spec, for web at port 8080 of cart.
ConnectionPolicy for_web(const std::string& spec) {
  const MeshModel model = model_of(kPods + authorization("shop", "p", spec));
  std::vector<proxy::AuthorizationPtr> messages;
  for (const auto& [name, message] : model.authorizations())
    messages.push_back(std::make_shared<const istio::security::Authorization>(message));
  return {std::make_shared<const proxy::PolicySet>(messages),
          {.source = *IpAddress::parse("10.0.0.2"),
           .identity = identity_of(*model.find_workload("shop", "web")),
           .destination = *SocketAddress::parse("10.0.0.1:8080")}};
}

// "allow", "deny", or "400" where the path is none.
std::string verdict(const ConnectionPolicy& policy, const Asked& asked) {
  proxy::RequestHead head;
  head.method = asked.method;
  head.authority = asked.host;
  head.target = asked.target;
  head.headers = asked.headers;
  proxy::PathReadings paths;
  if (!proxy::split_origin_form(head.target, &head) ||
      !proxy::normalise_target(asked.level, &head.rewritten, &head))
    return "400";
  return policy.judge(proxy::judged(head, *IpAddress::parse("10.0.0.2"), &paths)).allowed ? "allow" : "deny";
}

std::string to(const std::string& operation) {
  return str_cat("{rules: [{to: [{operation: {", operation, "}}]}]}");
}

TEST(HttpPolicyTest, EveryTermDecidesRequestsAsItsRowSays) {
  const struct {
    std::string spec;
    Asked asked;
    const char* expected;
  } rows[] = {
      {to("methods: [GET]"), {}, "allow"},
      {to("methods: [GET]"), {.method = "get"}, "deny"},
      {to("methods: ['P*']"), {.method = "PUT"}, "allow"},
      {to("notMethods: [GET]"), {}, "deny"},
      {to("paths: [/info]"), {.target = "/info?x=/admin"}, "allow"},
      {to("paths: [/info]"), {.target = "/Info"}, "deny"},
      {to("paths: ['/info*']"), {.target = "/information"}, "allow"},
      {to("paths: ['*/info']"), {.target = "/a/info"}, "allow"},
      {to("paths: ['/a/{*}/c']"), {.target = "/a/b/c"}, "allow"},
      {to("paths: ['/a/{*}/c']"), {.target = "/a/b/b/c"}, "deny"},
      {to("paths: ['/a/{*}']"), {.target = "/a/"}, "deny"},
      {to("paths: ['/a/{**}']"), {.target = "/a/"}, "allow"},
      {to("paths: ['/a/{**}']"), {.target = "/a/b/c"}, "allow"},
      {to("paths: ['/{*}/a/{**}/z']"), {.target = "/x/a/b/c/z"}, "allow"},
      {to("paths: ['/{*}/a/{**}/z']"), {.target = "/x/a/b/c"}, "deny"},
      {to("hosts: [cart]"), {.host = "CART:8080"}, "allow"},
      {to("hosts: ['cart:8080']"), {.host = "cart"}, "deny"},
      {to("hosts: ['*.shop']"), {.host = "cart.shop.:80"}, "allow"},
      {to("notHosts: [cart]"), {.host = "cart:1"}, "deny"},
      {to("ports: ['9090'], methods: [GET]"), {}, "deny"},
      // gRPC names its method in the path.
      {to("methods: [POST], paths: [/shop.Cart/Add]"),
       {.method = "POST", .target = "/shop.Cart/Add"},
       "allow"},
      {to("methods: [POST], paths: [/shop.Cart/Add]"),
       {.method = "POST", .target = "/shop.Cart/Drop"},
       "deny"},
      {"{rules: [{when: [{key: 'request.headers[X-User]', values: [ann]}]}]}",
       {.headers = {{"x-user", "ann"}}},
       "allow"},
      // Every line must be allowed, one that is denied is enough.
      {"{rules: [{when: [{key: 'request.headers[x-user]', values: [ann]}]}]}",
       {.headers = {{"x-user", "ann"}, {"X-User", "bob"}}},
       "deny"},
      {"{action: DENY, rules: [{when: [{key: 'request.headers[x-user]', values: [bob]}]}]}",
       {.headers = {{"x-user", "ann"}, {"X-User", "bob"}}},
       "deny"},
      {"{action: DENY, rules: [{when: [{key: 'request.headers[x-user]', notValues: [ann]}]}]}", {}, "deny"},
      {"{action: DENY, rules: [{when: [{key: 'request.headers[host]', values: ['c*']}]}]}", {}, "deny"},
      {"{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.2]}}]}]}", {}, "allow"},
      {"{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.2]}}]}]}",
       {.headers = {{"x-forwarded-for", "10.0.0.2, 9.9.9.9"}}},
       "deny"},
      {"{rules: [{from: [{source: {serviceAccounts: [web]}}], to: [{operation: {methods: [GET]}}]}]}",
       {},
       "allow"},
      {"{rules: [{from: [{source: {serviceAccounts: [cart]}}], to: [{operation: {methods: [GET]}}]}]}",
       {},
       "deny"},
      {"{action: DENY, rules: [{to: [{operation: {paths: ['/a*']}}]}]}", {}, "allow"},
  };
  for (const auto& row : rows) EXPECT_EQ(verdict(for_web(row.spec), row.asked), row.expected) << row.spec;
}

TEST(HttpPolicyTest, NoSpellingOfAPathPassesARuleThatDeniesIt) {
  const ConnectionPolicy policy =
      for_web("{action: DENY, rules: [{to: [{operation: {paths: [/admin, '/admin/*', '/x/{*}/secret']}}]}]}");
  for (const char* path : {"/admin",           "/admin/",          "/%61dmin",           "/adm%69n",
                           "/%61%64%6d%69%6E", "//admin",          "///admin",           "/./admin",
                           "/a/../admin",      "/a/%2e%2e/admin",  "/a/.%2E/admin",      "/%2e/admin",
                           "/\\admin",         "\\admin",          "/%5Cadmin",          "/%2Fadmin",
                           "/%2fadmin",        "/a/..%2Fadmin",    "/a/..%2f..%2fadmin", "/a%2F..%2Fadmin",
                           "/a/..\\admin",     "/a/..%5Cadmin",    "/admin/..%2Fadmin",  "/admin//x",
                           "/admin%2Fx",       "/admin\\x",        "/admin%5cx",         "/admin/.",
                           "/admin/./x",       "/a/b/../../admin", "/..//admin",         "/../admin",
                           "/%2e%2e/admin",    "/%2E%2e/%61dmin",  "/admin?x",           "/admin/?/../ok",
                           "/x/1/secret",      "/x/%31/secret",    "/x//1/secret",       "/x%2F1%2Fsecret",
                           "/x/1/2/../secret", "/x/1\\secret"}) {
    for (const PathNormalisation level : {PathNormalisation::kBase, PathNormalisation::kMergeSlashes,
                                          PathNormalisation::kDecodeAndMergeSlashes}) {
      EXPECT_NE(verdict(policy, {.target = path, .level = level}), "allow") << path;
    }
  }
  for (const char* path : {"/", "/adm", "/ADMIN", "/a/admin", "/ok?/admin", "/x/secret", "/x/1/2/secret",
                           "/%2561dmin", "/admin2"}) {
    EXPECT_EQ(verdict(policy, {.target = path}), "allow") << path;
  }
}

TEST(HttpPolicyTest, WhateverAServerMakesOfAPathIsDenied) {
  const ConnectionPolicy policy = for_web(
      "{action: DENY, rules: [{to: [{operation: {paths: [/admin, '/v1/jobs:cancel', '/caf\u00e9', '/my "
      "file/*']}}]}]}");
  const struct {
    const char* path;
    bool at_none_only;
  } rows[] = {{"/a%2f%2f..%2fadmin", false}, {"/a//..%2Fadmin", false},    {"/a%5c/..%2fadmin", false},
              {"/v1/jobs%3Acancel", false},  {"/v1/jobs%3acancel", false}, {"/v1//jobs%3acancel", false},
              {"/caf%c3%a9", false},         {"/caf%C3%A9", false},        {"/my%20file/x", false},
              {"/a//../admin", true},        {"/%zz/../admin", true},      {"/%61dmin%00", true},
              {"/y%2Fz/../admin", true},     {"/x%2F//../admin", true},    {"/b\\c/../admin", true},
              {"/a%2Fb\\..\\admin", true}};
  for (const auto& row : rows) {
    EXPECT_EQ(verdict(policy, {.target = row.path, .level = PathNormalisation::kNone}), "deny") << row.path;
    if (row.at_none_only) continue;
    EXPECT_EQ(verdict(policy, {.target = row.path}), "deny") << row.path;
  }
  for (const char* path : {"/v1/jobs%253Acancel", "/v1/jobs", "/my%20file", "/caf%c3%a8"})
    EXPECT_EQ(verdict(policy, {.target = path}), "allow") << path;
}

TEST(HttpPolicyTest, ARuleAllowsAPathOnlyInEveryReading) {
  const ConnectionPolicy policy = for_web(
      "{rules: [{to: [{operation: {paths: ['/public/*', '/one/{*}', '/obj/%2F', '/v1/jobs:list']}}]}]}");
  for (const char* path : {"/public/..%2Fadmin", "/public/%2e%2e%2fadmin", "/public//..%2f..%2fadmin",
                           "/public/..%5cadmin", "/one/a%2Fb", "/one/..%2f"})
    EXPECT_EQ(verdict(policy, {.target = path}), "deny") << path;
  for (const char* path : {"/public/../admin", "/public/%zz", "/public/a%00"})
    EXPECT_EQ(verdict(policy, {.target = path, .level = PathNormalisation::kNone}), "deny") << path;
  for (const char* path :
       {"/public/a", "/public/a%2Fb", "/public/a%20b", "/one/a%20b", "/obj/%2F", "/v1/jobs:list"})
    EXPECT_EQ(verdict(policy, {.target = path}), "allow") << path;
}

TEST(HttpPolicyTest, FieldsThatTheApplicationDoesNotGetSatisfyNothing) {
  const char* const allow = "{rules: [{when: [{key: 'request.headers[x-user]', values: [ann]}]}]}";
  const char* const deny =
      "{action: DENY, rules: [{when: [{key: 'request.headers[x-user]', notValues: [ann]}]}]}";
  for (const char* spec : {allow, deny}) {
    EXPECT_EQ(verdict(for_web(spec), {.headers = {{"x-user", "ann"}}}), "allow") << spec;
    EXPECT_EQ(verdict(for_web(spec), {.headers = {{"x-user", "ann"}, {"Connection", "close, X-User"}}}),
              "deny")
        << spec;
  }
  EXPECT_EQ(verdict(for_web("{rules: [{when: [{key: 'request.headers[keep-alive]', values: ['*']}]}]}"),
                    {.headers = {{"keep-alive", "5"}}}),
            "deny");
  EXPECT_EQ(
      verdict(
          for_web(
              "{action: DENY, rules: [{when: [{key: 'request.headers[upgrade]', values: [websocket]}]}]}"),
          {.headers = {{"upgrade", "websocket"}, {"connection", "upgrade"}}}),
      "deny");
  EXPECT_EQ(verdict(for_web("{rules: [{from: [{source: {remoteIpBlocks: [9.9.9.9]}}]}]}"),
                    {.headers = {{"x-forwarded-for", "9.9.9.9"}, {"connection", "x-forwarded-for"}}}),
            "deny");
}

TEST(HttpPolicyTest, AConnectionIsDecidedWithoutItsRequestsWhereTheyCannotMatter) {
  using Decision = ConnectionPolicy::Decision;
  const struct {
    const char* spec;
    Decision decision;
    const char* denied_by;
  } rows[] = {
      {"{rules: [{}]}", Decision::kAllowed, nullptr},
      {"{}", Decision::kDenied, "shop/p"},
      {"{rules: [{to: [{operation: {methods: [GET]}}]}]}", Decision::kDepends, "shop/p"},
      {"{rules: [{to: [{operation: {methods: [GET]}}]}, {from: [{source: {namespaces: [shop]}}]}]}",
       Decision::kAllowed, nullptr},
      {"{rules: [{to: [{operation: {methods: [GET], ports: ['9']}}]}]}", Decision::kDenied, "shop/p"},
      {"{rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {methods: [GET]}}]}]}",
       Decision::kDenied, "shop/p"},
      {"{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}", Decision::kDepends, "shop/p"},
      {"{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {paths: [/a]}}]}]}",
       Decision::kAllowed, nullptr},
  };
  for (const auto& row : rows) {
    const ConnectionPolicy policy = for_web(row.spec);
    EXPECT_EQ(policy.decision(), row.decision) << row.spec;
    if (row.denied_by != nullptr) {
      EXPECT_EQ(policy.denied_by(), row.denied_by) << row.spec;
    }
  }
}

TEST(HttpPolicyTest, WhatIsNotKnownOrNotReadableDeniesAndAllowsNothing) {
  const PolicyConnection anybody{.source = *IpAddress::parse("10.0.0.2"),
                                 .destination = *SocketAddress::parse("10.0.0.1:8080")};
  const proxy::AuthorizationPtr unknown[] = {nullptr};
  const ConnectionPolicy missing(std::make_shared<const proxy::PolicySet>(unknown), anybody);
  EXPECT_EQ(missing.decision(), ConnectionPolicy::Decision::kDenied);
  EXPECT_EQ(missing.denied_by(), proxy::kUnknownPolicy);
  for (const auto action : {istio::security::ALLOW, istio::security::DENY}) {
    istio::security::Authorization message;
    message.set_action(action);
    message.add_rules()->add_clauses()->add_matches()->add_extensions()->set_name("of tomorrow");
    EXPECT_FALSE(proxy::validate_request_terms(message).ok());
    const proxy::AuthorizationPtr list[] = {std::make_shared<const istio::security::Authorization>(message)};
    const ConnectionPolicy policy(std::make_shared<const proxy::PolicySet>(list), anybody);
    EXPECT_EQ(policy.decision(), ConnectionPolicy::Decision::kDenied);
  }
}

}  // namespace
}  // namespace weft::agent
