// Policies and rules for tokens at a gateway's port, through a real worker: requests are judged before they
// are routed, by the address of the connection and by claims that were proved; connections that nobody reads
// by their address alone.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "base/strings.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/identity/tokens.h"
#include "tests/unit/proxy-engine/policy_messages.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/config/gateway_rules.h"
#include "userspace-proxy/policy/request_authentication.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
using ::testing::EndsWith;
using ::testing::StartsWith;

constexpr std::string_view kUid = "weft.dev/gateway";

pb::Address range(const char* ip) {
  pb::Address out;
  const IpAddress address = *IpAddress::parse(ip);
  out.set_address(address.packed());
  out.set_length(static_cast<uint32_t>(address.packed().size() * 8));
  return out;
}

AuthorizationPtr allow_from(const char* ip) {
  auto out = std::make_shared<pb::Authorization>();
  out->set_name("from");
  out->set_namespace_("shop");
  *out->add_rules()->add_clauses()->add_matches()->add_source_ips() = range(ip);
  return out;
}

// ALLOW by remoteIpBlocks.
AuthorizationPtr allow_remote(const char* ip) {
  auto out = std::make_shared<pb::Authorization>();
  out->set_name("remote");
  out->set_namespace_("shop");
  weft::mesh::v1::HttpTerms terms;
  *terms.add_remote_ips() = range(ip);
  auto& extension = *out->add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name("weft.mesh.v1.HttpTerms");
  extension.mutable_config()->PackFrom(terms);
  return out;
}

std::shared_ptr<GatewayRules> rules_of(const std::vector<AuthorizationPtr>& policies) {
  auto out = std::make_shared<GatewayRules>();
  out->policies = std::make_shared<const PolicySet>(policies);
  return out;
}

class GatewayPolicyTest : public testing::Test {
 protected:
  GatewayPolicyTest()
      : admin_(always("admin")), server_(always("inside")), rig_(setup_for(server_.address())) {
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  // shop.example goes to "inside"; who has the claim role=admin to "admin".
  void serve(std::shared_ptr<const GatewayRules> rules) {
    auto snapshot =
        std::make_shared<Snapshot>(*rig_.make_snapshot({{.name = "v1", .endpoints = {server_.address()}},
                                                        {.name = "admin", .endpoints = {admin_.address()}}},
                                                       ++generation_));
    snapshot->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kHttp};
    HttpMatcher claim;
    claim.headers.push_back({.name = "@request.auth.claims.role",
                             .value = {.kind = StringMatcher::Kind::kExact, .text = "admin"},
                             .claim = claim_key({"role"})});
    matches_.push_back(std::make_unique<std::vector<HttpMatcher>>(1, claim));
    VirtualHost host{.name = "edge"};
    host.routes.push_back(route("admins", 1));
    host.routes.back().matches = *matches_.back();
    host.routes.push_back(route("all", 0));
    snapshot->virtual_hosts.front() = std::make_shared<const VirtualHost>(std::move(host));
    snapshot->gateway_host_by_host[Snapshot::HostKey{"", address_.port, "shop.example"}] = 0;
    if (rules != nullptr)
      snapshot->gateway_rules.emplace(snapshot->virtual_hosts.front().get(), std::move(rules));
    rig_.use(std::move(snapshot));
    open();
  }
  // The port speaks no HTTP.
  void serve_tcp(std::shared_ptr<const GatewayRules> rules) {
    auto snapshot = std::make_shared<Snapshot>(
        *rig_.make_snapshot({{.name = "v1", .endpoints = {server_.address()}}}, ++generation_));
    L4Route out{.name = "r", .matches = {}, .clusters = {WeightedCluster{.cluster = 0, .label = ""}}};
    out.total_weight = 1;
    snapshot->l4_hosts.push_back({.name = "edge", .tls = {}, .tcp = {out}});
    snapshot->gateway_ports[address_.port] = {
        .kind = GatewayPort::Kind::kTcp, .l4_host = 0, .rules = std::move(rules)};
    rig_.use(std::move(snapshot));
    open();
  }
  std::string get(std::string_view path, const std::string& headers = "", const std::string& from = "") {
    TestConnection client = TestConnection::to(address_, from);
    client.send(request(path, headers));
    return client.read_message();
  }
  static std::string request(std::string_view path, const std::string& headers = "") {
    return str_cat("GET ", path, " HTTP/1.1\r\nHost: shop.example\r\n", headers, "\r\n");
  }

  TestServer admin_, server_;
  Rig rig_;
  SocketAddress address_;
  UniqueFd listener_;

 private:
  static Route route(const char* name, uint32_t cluster) {
    Route out{.name = name};
    out.clusters.push_back(WeightedCluster{.cluster = cluster, .label = name});
    out.total_weight = 1;
    return out;
  }
  void open() {
    if (!listener_.valid()) return;
    rig_.worker().add_listener({.netns_cookie = 99,
                                .workload_uid = std::string(kUid),
                                .netns = {},
                                .listener = std::move(listener_)});
  }

  uint64_t generation_ = 1;
  std::vector<std::unique_ptr<std::vector<HttpMatcher>>> matches_;
};

TEST_F(GatewayPolicyTest, RequestsAreJudgedBeforeTheyAreRouted) {
  serve(rules_of({about_path(pb::DENY, "/admin")}));
  EXPECT_EQ(get("/ok"), ok_response("inside"));
  const std::string denied = get("/a/../%61dmin");
  EXPECT_THAT(denied, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(denied, EndsWith("RBAC: access denied"));
  const std::vector<SeenRecord> records = rig_.sink().wait(2);
  EXPECT_EQ(records.at(0).outcome, Outcome::kOk);
  EXPECT_EQ(records.at(1).outcome, Outcome::kAccessDenied);
  EXPECT_EQ(server_.connections(), 1) << "no server saw the one that was denied";
}

TEST_F(GatewayPolicyTest, AClientIsItsConnectionsAddress) {
  serve(rules_of({allow_from("127.0.0.2")}));
  EXPECT_EQ(get("/", "", "127.0.0.2"), ok_response("inside"));
  EXPECT_THAT(get("/", "", "127.0.0.3"), StartsWith("HTTP/1.1 403"));
  serve(rules_of({allow_remote("127.0.0.2")}));
  EXPECT_EQ(get("/", "", "127.0.0.2"), ok_response("inside"));
  EXPECT_THAT(get("/", "X-Forwarded-For: 127.0.0.2\r\n", "127.0.0.3"), StartsWith("HTTP/1.1 403"))
      << "what a client writes there proves nothing";
}

TEST_F(GatewayPolicyTest, NobodyHasAnIdentity) {
  serve(rules_of({with_principal(everything(pb::ALLOW), "cluster.local/ns/shop/sa/web")}));
  EXPECT_THAT(get("/"), StartsWith("HTTP/1.1 403"));
  serve(rules_of({nullptr}));
  EXPECT_THAT(get("/"), StartsWith("HTTP/1.1 403")) << "a policy that is not here denies";
}

TEST_F(GatewayPolicyTest, WhatDecidesNothingIsCounted) {
  serve(rules_of({dry_run(about_path(pb::DENY, "/admin"))}));
  EXPECT_EQ(get("/admin"), ok_response("inside"));
  EXPECT_EQ(get("/ok"), ok_response("inside"));
  EXPECT_TRUE(rig_.wait_for([&] {
    return rig_.worker().gauges().shadow_denied == 1 && rig_.worker().gauges().shadow_allowed == 1;
  }));
}

TEST_F(GatewayPolicyTest, AChangeHoldsForTheNextRequestOfAConnection) {
  serve(nullptr);
  TestConnection client = TestConnection::to(address_);
  client.send(request("/admin"));
  EXPECT_EQ(client.read_message(), ok_response("inside"));
  serve(rules_of({about_path(pb::DENY, "/admin")}));
  client.send(request("/admin"));
  EXPECT_THAT(client.read_message(), StartsWith("HTTP/1.1 403"));
  serve(rules_of({about_path(pb::DENY, "/other")}));
  client.send(request("/admin"));
  EXPECT_EQ(client.read_message(), ok_response("inside"));
}

TEST_F(GatewayPolicyTest, AChangeEndsARequestThatItForbids) {
  TestServer slow([](TestConnection& client) {
    client.read_until("\r\n\r\n");
    client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.read_to_end();
  });
  auto snapshot = [&](uint64_t generation, std::shared_ptr<const GatewayRules> rules) {
    auto out = std::make_shared<Snapshot>(*rig_.make_snapshot(one_endpoint(slow.address()), generation));
    out->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kHttp};
    out->gateway_host_by_host[Snapshot::HostKey{"", address_.port, "shop.example"}] = 0;
    if (rules != nullptr) out->gateway_rules.emplace(out->virtual_hosts.front().get(), std::move(rules));
    return out;
  };
  rig_.use(snapshot(20, nullptr));
  rig_.worker().add_listener(
      {.netns_cookie = 99, .workload_uid = std::string(kUid), .netns = {}, .listener = std::move(listener_)});
  TestConnection client = TestConnection::to(address_);
  client.send(request("/admin"));
  EXPECT_THAT(client.read_until("half"), EndsWith("half"));
  rig_.use(snapshot(21, rules_of({about_path(pb::DENY, "/other")})));
  EXPECT_EQ(rig_.sink().count(), 0U) << "it is none of theirs";
  rig_.use(snapshot(22, rules_of({about_path(pb::DENY, "/admin")})));
  EXPECT_GT(client.read_end(), 0) << "it is reset";
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kAccessDenied);
}

TEST_F(GatewayPolicyTest, ConnectionsAreJudgedByTheirAddress) {
  serve_tcp(rules_of({allow_from("127.0.0.2")}));
  EXPECT_EQ(get("/", "", "127.0.0.2"), ok_response("inside"));
  TestConnection other = TestConnection::to(address_, "127.0.0.3");
  other.send(request("/"));
  EXPECT_EQ(other.read_to_end(), "");
  const auto ended = rig_.sink().wait(2);
  EXPECT_EQ(std::count_if(ended.begin(), ended.end(),
                          [](const SeenRecord& one) { return one.outcome == Outcome::kAccessDenied; }),
            1);
  TestConnection open = TestConnection::to(address_, "127.0.0.2");
  open.send(request("/"));
  EXPECT_EQ(open.read_message(), ok_response("inside"));
  serve_tcp(rules_of({allow_from("127.0.0.9")}));
  EXPECT_NE(open.read_end(), -1) << "a change ends what it forbids";
  EXPECT_EQ(rig_.sink().wait(3).at(2).outcome, Outcome::kAccessDenied);
}

TEST_F(GatewayPolicyTest, ATermAboutRequestsNeverAllowsAConnection) {
  serve_tcp(rules_of({about_path(pb::ALLOW, "/")}));
  TestConnection client = TestConnection::to(address_);
  client.send(request("/"));
  EXPECT_EQ(client.read_to_end(), "");
}

// As a snapshot is made of the names that the control plane gives. Nobody reads what there could be to ask.
TEST_F(GatewayPolicyTest, WhatCustomSelectsAndIsNotReadIsDenied) {
  Resources resources;
  resources.authorizations.emplace("shop/one", custom(about_path(pb::DENY, "/ask"), "login"));
  serve_tcp(GatewayRulesTable(resources).of("shop", {.authorizations = {"shop/one"}, .authentications = {}}));
  TestConnection client = TestConnection::to(address_);
  client.send(request("/ok"));
  EXPECT_EQ(client.read_to_end(), "");
}

class GatewayTokenTest : public GatewayPolicyTest {
 protected:
  // `words`: a claim that lists words in one text.
  std::shared_ptr<GatewayRules> with_tokens(const std::vector<AuthorizationPtr>& policies = {},
                                            const char* words = nullptr) const {
    weft::mesh::v1::TokenRule rule;
    if (words != nullptr) rule.add_space_delimited_claims(words);
    rule.set_issuer("https://issuer");
    rule.set_jwks(test::jwk_set(test::jwk(key_.get())));
    auto out = std::make_shared<GatewayRules>();
    if (!policies.empty()) out->policies = std::make_shared<const PolicySet>(policies);
    out->authentication =
        std::make_shared<const RequestAuthentication>(std::vector<TokenRulePtr>{*TokenRule::compile(rule)});
    return out;
  }
  std::string bearer(const std::string& claims, std::string issuer = "https://issuer") const {
    return str_cat(
        "Authorization: Bearer ",
        test::make_token(
            "ES256", key_.get(),
            str_cat(R"({"iss":")", issuer, R"(","sub":"jo","exp":)", ::time(nullptr) + 600, claims, "}"), ""),
        "\r\n");
  }

  const KeyPtr key_ = test::ec_key("P-256");
};

TEST_F(GatewayTokenTest, RoutesFollowClaimsThatWereProved) {
  serve(with_tokens());
  EXPECT_EQ(get("/"), ok_response("inside")) << "no token is nobody";
  EXPECT_EQ(get("/", bearer(R"(,"role":"admin")")), ok_response("admin"));
  EXPECT_EQ(get("/", bearer(R"(,"role":["user","admin"])")), ok_response("admin"));
  EXPECT_EQ(get("/", bearer(R"(,"role":"user")")), ok_response("inside"));
  EXPECT_EQ(get("/", bearer("")), ok_response("inside"));
}

TEST_F(GatewayTokenTest, RoutesFollowEachWordOfAClaimThatTheRuleCallsAList) {
  const std::string both = bearer(R"(,"role":"user admin")");
  serve(with_tokens());
  EXPECT_EQ(get("/", both), ok_response("inside")) << "one text, and no role has it";
  serve(with_tokens({}, "role"));
  EXPECT_EQ(get("/", both), ok_response("admin"));
  EXPECT_EQ(get("/", bearer(R"(,"role":"user administrator")")), ok_response("inside"));
  serve(with_tokens());
  EXPECT_EQ(get("/", both), ok_response("inside")) << "a rule that changed reads the token anew";
}

TEST_F(GatewayTokenTest, ABadTokenIsRefusedAndNobodyHasItsClaims) {
  serve(with_tokens());
  EXPECT_THAT(get("/", bearer(R"(,"role":"admin")", "https://other")), StartsWith("HTTP/1.1 401"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kBadToken);
  EXPECT_EQ(admin_.connections(), 0);
}

TEST_F(GatewayTokenTest, AHeaderIsNoClaim) {
  serve(with_tokens());
  EXPECT_THAT(get("/", "@request.auth.claims.role: admin\r\n"), StartsWith("HTTP/1.1 400"))
      << "no header has such a name";
  EXPECT_EQ(get("/", "request.auth.claims.role: admin\r\n"), ok_response("inside"));
  serve(nullptr);
  EXPECT_EQ(get("/", bearer(R"(,"role":"admin")")), ok_response("inside")) << "nobody proves tokens here";
}

TEST_F(GatewayTokenTest, PoliciesAskAboutClaims) {
  auto admins = std::make_shared<pb::Authorization>();
  admins->set_name("admins");
  admins->set_namespace_("shop");
  weft::mesh::v1::TokenTerms terms;
  auto& claim = *terms.add_claims();
  claim.add_claim("role");
  claim.add_values()->set_exact("admin");
  auto& extension = *admins->add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name("weft.mesh.v1.TokenTerms");
  extension.mutable_config()->PackFrom(terms);
  serve(with_tokens({admins}));
  EXPECT_THAT(get("/"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(get("/", bearer(R"(,"role":"user")")), StartsWith("HTTP/1.1 403"));
  EXPECT_EQ(get("/", bearer(R"(,"role":"admin")")), ok_response("admin"));
}

TEST_F(GatewayTokenTest, WhatHidesRequestsFromTheRulesIsNotLetIn) {
  serve(with_tokens());
  EXPECT_THAT(get("/", "Connection: upgrade\r\nUpgrade: other\r\n"), StartsWith("HTTP/1.1 403"));
}

}  // namespace
}  // namespace weft::proxy
