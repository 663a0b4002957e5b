// Policies of CUSTOM at a gateway's port, through a real worker: the provider is asked before anything is
// judged or routed, and the route says what becomes of what it lets in.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <future>

#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/identity/tokens.h"
#include "tests/unit/proxy-engine/policy_messages.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/config/gateway_rules.h"
#include "userspace-proxy/policy/external_provider.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kYes[] = "HTTP/1.1 200 OK\r\nx-user: me\r\nx-seen: yes\r\nContent-Length: 0\r\n\r\n";
constexpr char kNo[] = "HTTP/1.1 401 Unauthorized\r\nx-why: you\r\nContent-Length: 4\r\n\r\nnope";

// Answers each request with `text`, once it may, and keeps what it was asked.
class Provider {
 public:
  explicit Provider(std::string text, std::shared_future<void> may = {})
      : server_([this, text = std::move(text), may = std::move(may)](TestConnection& client) {
          for (;;) {
            const std::string head = client.read_until("\r\n\r\n");
            if (head.empty()) return;
            {
              const std::lock_guard lock(mutex_);
              asked_ += head;
            }
            heard_.notify_all();
            if (may.valid()) may.wait();
            if (text.empty() || !client.send(text)) return;
          }
        }) {}
  const SocketAddress& address() const { return server_.address(); }
  bool wait_until_asked() {
    std::unique_lock lock(mutex_);
    return heard_.wait_for(lock, std::chrono::seconds(10), [this] { return !asked_.empty(); });
  }
  std::string asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  std::string asked_;
  TestServer server_;  // last: its threads end first
};

class GatewayProviderTest : public testing::Test {
 protected:
  GatewayProviderTest() : server_(echo()), rig_(setup_for(server_.address())) {
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
    message_.set_name("ask");
    message_.set_host("authz");
    message_.set_port(9000);
    message_.set_timeout_ms(2'000);
    auto& http = *message_.mutable_http();
    http.add_fields_to_upstream()->set_exact("x-user");
    http.add_fields_on_allow()->set_exact("x-seen");
  }

  // Who serves is told who the provider says the client is.
  static TestServer::Handler echo() {
    return [](TestConnection& client) {
      for (;;) {
        const std::string head = client.read_until("\r\n\r\n");
        if (head.empty()) return;
        const bool named = head.find("x-user: me\r\n") != std::string::npos;
        if (!client.send(ok_response(named ? "for me" : "for whom"))) return;
      }
    };
  }

  // shop.example is one route. `provider`: null: nobody serves it.
  void serve(const SocketAddress* provider,
             const AuthorizationPtr& policy = custom(about_path(istio::security::DENY, "/ask"), "ask"),
             std::shared_ptr<const RouteAction> action = nullptr) {
    auto snapshot = std::make_shared<Snapshot>(
        *rig_.make_snapshot({{.name = "v1", .endpoints = {server_.address()}}}, ++generation_));
    snapshot->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kHttp};
    const auto compiled = ExternalProvider::compile(message_);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    snapshot->providers.emplace("ask", *compiled);
    if (provider != nullptr) {
      Cluster cluster{.name = "authz|9000|", .policy = nullptr};
      cluster.endpoints.push_back(Endpoint{.address = *provider});
      snapshot->clusters.push_back(std::move(cluster));
      snapshot->provider_clusters.emplace(Snapshot::HostKey{"front", 0, "ask"},
                                          static_cast<uint32_t>(snapshot->clusters.size() - 1));
    }
    Route all{.name = "all"};
    all.clusters.push_back(WeightedCluster{.cluster = 0, .label = "all"});
    all.total_weight = 1;
    all.action = std::move(action);
    VirtualHost host{.name = "edge"};
    host.routes.push_back(std::move(all));
    snapshot->virtual_hosts.front() = std::make_shared<const VirtualHost>(std::move(host));
    snapshot->gateway_host_by_host[Snapshot::HostKey{"", address_.port, "shop.example"}] = 0;
    Resources resources;
    resources.authorizations.emplace("shop/one", policy);
    if (allows_ != nullptr) resources.authorizations.emplace("shop/two", allows_);
    std::vector<std::string> names{"shop/one"};
    if (allows_ != nullptr) names.emplace_back("shop/two");
    if (tokens_ != nullptr) resources.authentications.emplace("shop/tokens", tokens_);
    auto rules = GatewayRulesTable(resources).of(
        "front", {.authorizations = names,
                  .authentications = tokens_ == nullptr ? std::vector<std::string>{}
                                                        : std::vector<std::string>{"shop/tokens"}});
    snapshot->gateways_ask = rules->asks_providers;
    snapshot->gateway_rules.emplace(snapshot->virtual_hosts.front().get(), std::move(rules));
    rig_.use(std::move(snapshot));
    if (!listener_.valid()) return;
    rig_.worker().add_listener({.netns_cookie = 99,
                                .workload_uid = "weft.dev/gateway",
                                .netns = {},
                                .listener = std::move(listener_)});
  }
  std::string get(std::string_view path, const std::string& fields = "") {
    TestConnection client = TestConnection::to(address_);
    client.send(str_cat("GET ", path, " HTTP/1.1\r\nHost: shop.example\r\nx-user: root\r\n", fields, "\r\n"));
    return client.read_message();
  }

  weft::mesh::v1::ExternalProvider message_;
  AuthorizationPtr allows_;                           // beside the policy of CUSTOM
  std::shared_ptr<const AuthenticationSpec> tokens_;  // null: none are looked at
  TestServer server_;
  Rig rig_;
  SocketAddress address_;
  UniqueFd listener_;
  uint64_t generation_ = 1;
};

TEST_F(GatewayProviderTest, WhatTheProviderAllowsIsServedAsItSays) {
  Provider provider(kYes);
  serve(&provider.address());
  const std::string answer = get("/ask");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-seen: yes\r\n"));
  EXPECT_THAT(answer, EndsWith("for me"));
  EXPECT_THAT(provider.asked(), StartsWith("GET /ask HTTP/1.1\r\n"));
  EXPECT_THAT(provider.asked(), HasSubstr("shop.example"));
  EXPECT_THAT(get("/free"), EndsWith("for whom")) << "no policy selects it, and the client names itself";
  EXPECT_THAT(provider.asked(), Not(HasSubstr("/free")));
}

TEST_F(GatewayProviderTest, WhatTheProviderDeniesGetsItsAnswer) {
  Provider provider(kNo);
  serve(&provider.address());
  const std::string answer = get("/x/../%61sk");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 Unauthorized\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-why: you\r\n"));
  EXPECT_THAT(answer, EndsWith("nope"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kProviderDenied);
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(GatewayProviderTest, WithoutAnAnswerFailOpenDecides) {
  Provider silent("");
  serve(&silent.address());
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403"));
  EXPECT_EQ(server_.connections(), 0);
  message_.set_fail_open(true);
  serve(&silent.address());
  EXPECT_THAT(get("/ask"), EndsWith("for whom"));
}

TEST_F(GatewayProviderTest, AProviderThatNobodyServesLetsNobodyIn) {
  message_.set_fail_open(true);
  serve(nullptr);
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(get("/free"), EndsWith("for whom"));
  EXPECT_EQ(server_.connections(), 1);
  serve(nullptr, custom(about_path(istio::security::DENY, "/ask"), "no such provider"));
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403"));
}

// Who is allowed by what the provider says is not let in yet while it is asked: a change then forbids
// nothing.
TEST_F(GatewayProviderTest, AChangeWhileAProviderIsAskedForbidsNothingThatItMayAllow) {
  allows_ = about_field("x-user", "me");
  std::promise<void> may;
  Provider provider(kYes, may.get_future().share());
  serve(&provider.address());
  TestConnection client = TestConnection::to(address_);
  client.send("GET /ask HTTP/1.1\r\nHost: shop.example\r\n\r\n");
  ASSERT_TRUE(provider.wait_until_asked());
  serve(&provider.address());
  may.set_value();
  EXPECT_THAT(client.read_message(), EndsWith("for me"));
  EXPECT_THAT(get("/free"), StartsWith("HTTP/1.1 403")) << "what the client says of itself does not count";
}

// The gateway's address is that of all its hosts, not the provider's alone.
TEST_F(GatewayProviderTest, AProviderBehindTheGatewayItselfIsAskedAllTheSame) {
  serve(&address_);
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403"))
      << "each question is one to ask about, until there are too many";
  EXPECT_EQ(server_.connections(), 0);
}

// The provider's answer stands for the proxy's own only where it denies.
TEST_F(GatewayProviderTest, AnAnswerOfTheRouteFollowsWhatTheProviderAllows) {
  auto action = std::make_shared<RouteAction>();
  action->direct_response = DirectResponse{.status = 404, .body = "closed"};
  Provider yes(kYes);
  serve(&yes.address(), custom(about_path(istio::security::DENY, "/ask"), "ask"), action);
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(get("/ask"), EndsWith("closed"));
  Provider no(kNo);
  serve(&no.address(), custom(about_path(istio::security::DENY, "/ask"), "ask"), action);
  EXPECT_THAT(get("/ask"), EndsWith("nope"));
}

TEST_F(GatewayProviderTest, TheRouteHasTheLastWordOnWhatTheClientGets) {
  auto action = std::make_shared<RouteAction>();
  action->timeout_ms = 5'000;
  Provider yes(kYes);
  serve(&yes.address(), custom(about_path(istio::security::DENY, "/ask"), "ask"), action);
  EXPECT_THAT(get("/ask"), HasSubstr("x-seen: yes\r\n"));
  auto removes = std::make_shared<RouteAction>();
  removes->response_headers.remove = {"x-seen"};
  serve(&yes.address(), custom(about_path(istio::security::DENY, "/ask"), "ask"), removes);
  const std::string answer = get("/ask");
  EXPECT_THAT(answer, EndsWith("for me"));
  EXPECT_THAT(answer, Not(HasSubstr("x-seen")));
}

// Rules for tokens beside the policy: what the provider lets in is looked at as what it says it is.
class GatewayProviderTokenTest : public GatewayProviderTest {
 protected:
  // `header`: where tokens are; empty: behind "Authorization: Bearer".
  void look_at_tokens(const char* header = "") {
    weft::mesh::v1::TokenRule rule;
    rule.set_issuer("https://issuer");
    rule.set_jwks(test::jwk_set(test::jwk(key_.get())));
    if (*header != '\0') rule.add_from_headers()->set_name(header);
    auto spec = std::make_shared<AuthenticationSpec>();
    spec->ns = "shop";
    spec->gateways_only = true;
    spec->rules.push_back(*TokenRule::compile(rule));
    tokens_ = std::move(spec);
  }
  std::string token(const std::string& role, const std::string& issuer = "https://issuer") const {
    return test::make_token("ES256", key_.get(),
                            str_cat(R"({"iss":")", issuer, R"(","sub":"jo","role":")", role, R"(","exp":)",
                                    ::time(nullptr) + 600, "}"),
                            "");
  }
  static std::string bearer(const std::string& token) {
    return str_cat("Authorization: Bearer ", token, "\r\n");
  }
  static AuthorizationPtr for_admins() {
    auto out = std::make_shared<istio::security::Authorization>();
    out->set_name("admins");
    out->set_namespace_("shop");
    weft::mesh::v1::TokenTerms terms;
    auto& claim = *terms.add_claims();
    claim.add_claim("role");
    claim.add_values()->set_exact("admin");
    auto& extension = *out->add_rules()->add_clauses()->add_matches()->add_extensions();
    extension.set_name("weft.mesh.v1.TokenTerms");
    extension.mutable_config()->PackFrom(terms);
    return out;
  }

  const KeyPtr key_ = test::ec_key("P-256");
};

TEST_F(GatewayProviderTokenTest, WhoIsAllowedNeedsAGoodTokenAllTheSame) {
  look_at_tokens();
  allows_ = for_admins();
  Provider provider(kYes);
  serve(&provider.address());
  EXPECT_THAT(get("/ask", bearer(token("admin"))), EndsWith("for me"));
  EXPECT_THAT(get("/ask", bearer(token("user"))), StartsWith("HTTP/1.1 403")) << "the policy asks for more";
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403")) << "no token is nobody";
  EXPECT_EQ(server_.connections(), 1);
  EXPECT_THAT(get("/ask", bearer(token("admin", "https://other"))), StartsWith("HTTP/1.1 401"));
  EXPECT_EQ(rig_.sink().wait(4).at(3).outcome, Outcome::kBadToken);
  EXPECT_EQ(server_.connections(), 1);
}

TEST_F(GatewayProviderTokenTest, TheProvidersDenialComesBeforeThatOfTheToken) {
  look_at_tokens();
  Provider provider(kNo);
  serve(&provider.address());
  EXPECT_THAT(get("/ask", bearer("no.good.token")), EndsWith("nope"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kProviderDenied);
  EXPECT_THAT(get("/free", bearer("no.good.token")), StartsWith("HTTP/1.1 401")) << "nobody asks about it";
  EXPECT_EQ(rig_.sink().wait(2).at(1).outcome, Outcome::kBadToken);
}

// A provider that exchanges what a client has for a token.
TEST_F(GatewayProviderTokenTest, ATokenThatTheProviderSetsCountsAndTheClientsDoesNot) {
  look_at_tokens("x-user");
  allows_ = for_admins();
  Provider admin(str_cat("HTTP/1.1 200 OK\r\nx-user: ", token("admin"), "\r\nContent-Length: 0\r\n\r\n"));
  serve(&admin.address());
  EXPECT_THAT(get("/ask"), EndsWith("for whom")) << "the token itself goes no further";
  EXPECT_THAT(get("/free"), StartsWith("HTTP/1.1 401")) << "the client's own is none";
  Provider user(str_cat("HTTP/1.1 200 OK\r\nx-user: ", token("user"), "\r\nContent-Length: 0\r\n\r\n"));
  serve(&user.address());
  EXPECT_THAT(get("/ask"), StartsWith("HTTP/1.1 403"));
}

}  // namespace
}  // namespace weft::proxy
