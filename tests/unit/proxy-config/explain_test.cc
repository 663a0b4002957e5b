// What `weft trace` says of routes: the same answer as match_route() gives, with the reason for each rule
// before it.
#include "userspace-proxy/config/explain.h"

#include <gmock/gmock.h>

#include "proto/weft/mesh/v1/egress.pb.h"
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ExplainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    add(service_address("shop", "cart", {"10.0.0.1"}, {{80, 8080}, {6379, 6379, mesh::PROTOCOL_TCP}}));
    add(workload_address("shop", "cart-1", {"10.1.0.1"}, {"shop/cart.shop.svc.cluster.local"},
                         {{"version", "v1"}}));
    add(workload_address("shop", "cart-2", {"10.1.0.2"}, {"shop/cart.shop.svc.cluster.local"},
                         {{"version", "v2"}}));
    add(workload_address("shop", "client", {"10.1.0.9"}, {}, {{"app", "web"}}));
    put(kDestinationPolicyType, "shop/cart",
        parse<mesh::DestinationPolicy>("name:'cart' namespace:'shop' host:'cart.shop.svc.cluster.local' "
                                       "subsets{name:'v1' labels{key:'version' value:'v1'}} "
                                       "subsets{name:'v2' labels{key:'version' value:'v2'}}"));
  }
  void add(const istio::workload::Address& address) {
    const std::string name = address.has_service()
                                 ? address.service().namespace_() + "/" + address.service().hostname()
                                 : address.workload().uid();
    put(kAddressType, name, address);
  }
  void put(std::string_view type, const std::string& name, const google::protobuf::Message& message) {
    EXPECT_EQ(explainer.add(type, name, message.SerializeAsString()), absl::OkStatus());
  }
  void routes(const std::string& http) {
    put(kRouteSetType, "shop/cart",
        parse<mesh::RouteSet>("name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' " + http));
  }
  Explanation get(const std::string& target, std::vector<std::pair<std::string, std::string>> headers = {}) {
    explainer.build();
    auto out = explainer.explain({.from_uid = "cluster/shop/client",
                                  .to = "cart",
                                  .method = "GET",
                                  .target = target,
                                  .headers = std::move(headers),
                                  .tls = {}});
    EXPECT_TRUE(out.ok()) << out.status();
    return out.ok() ? *out : Explanation();
  }

  Explainer explainer;
};

constexpr char kBoth[] =
    "destinations{host:'cart.shop.svc.cluster.local' subset:'v1' weight:95} "
    "destinations{host:'cart.shop.svc.cluster.local' subset:'v2' weight:5}";
constexpr char kV2[] = "destinations{host:'cart.shop.svc.cluster.local' subset:'v2' weight:1}";

TEST_F(ExplainTest, EachRuleBeforeTheOneThatMatchesSaysWhyNot) {
  routes(str_cat("http{name:'api' matches{uri{prefix:'/api'}} ", kV2, "} ",
                 "http{name:'jason' matches{uri{prefix:'/'} headers{name:'end-user' value{exact:'jason'}}} "
                 "matches{source_labels{key:'app' value:'admin'}} ",
                 kV2, "} http{name:'all' ", kBoth, "} http{name:'never' ", kV2, "}"));
  const Explanation answer = get("/cart?x=1", {{"end-user", "mary"}});
  ASSERT_EQ(answer.rules.size(), 3u) << "nothing is asked after the match";
  EXPECT_THAT(answer.rules[0].why_not, ElementsAre("path is \"/cart\", not \"/api\"..."));
  EXPECT_THAT(answer.rules[1].why_not, ElementsAre("header end-user is \"mary\", not \"jason\"",
                                                   "the client's label app is \"web\", not \"admin\""));
  EXPECT_TRUE(answer.rules[2].matched);
  EXPECT_THAT(answer.rules[2].why_not, IsEmpty());
  EXPECT_EQ(answer.rules[2].route_set, "shop/cart");
  EXPECT_EQ(answer.rules[2].index, 2u);
  EXPECT_EQ(answer.outcome, "");
}

TEST_F(ExplainTest, EndpointsHaveTheirSharesOfWhatTheRuleTakes) {
  routes(str_cat("http{", kBoth, "}"));
  const Explanation answer = get("/");
  ASSERT_EQ(answer.targets.size(), 2u);
  EXPECT_EQ(answer.targets[0].subset, "v1");
  EXPECT_EQ(answer.targets[0].port, 80);
  EXPECT_DOUBLE_EQ(answer.targets[0].share, 95);
  ASSERT_EQ(answer.targets[1].endpoints.size(), 1u);
  EXPECT_EQ(answer.targets[1].endpoints[0].address, "10.1.0.2:8080");
  EXPECT_EQ(answer.targets[1].endpoints[0].workload, "shop/cart-2");
  EXPECT_DOUBLE_EQ(answer.targets[1].endpoints[0].share, 5);
}

TEST_F(ExplainTest, AServiceWithoutRulesHasItsDefaultRouteAndAllEndpoints) {
  const Explanation answer = get("/");
  ASSERT_EQ(answer.rules.size(), 1u);
  EXPECT_TRUE(answer.rules[0].matched);
  EXPECT_EQ(answer.rules[0].route_set, "");
  ASSERT_EQ(answer.targets.size(), 1u);
  ASSERT_EQ(answer.targets[0].endpoints.size(), 2u);
  EXPECT_DOUBLE_EQ(answer.targets[0].endpoints[0].share, 50);
}

TEST_F(ExplainTest, WhatMatchesNothingIsNoRoute) {
  routes(str_cat("http{matches{method{exact:'POST'} uri{exact:'/pay'}} ", kV2, "}"));
  const Explanation answer = get("/pay");
  EXPECT_EQ(answer.outcome, "no_route");
  ASSERT_EQ(answer.rules.size(), 1u);
  EXPECT_FALSE(answer.rules[0].matched);
  EXPECT_THAT(answer.rules[0].why_not, ElementsAre("method is \"GET\", not \"POST\""));
  EXPECT_THAT(answer.targets, IsEmpty());
}

TEST_F(ExplainTest, ARuleThatRewritesRedirectsOrNamesNobodySaysSo) {
  routes(str_cat("http{matches{uri{prefix:'/old'}} path_rewrite{matched:'/new'} timeout_ms:500 ", kV2, "} ",
                 "http{matches{uri{exact:'/moved'}} redirect{path:'/there' code:308}} ",
                 "http{destinations{host:'cart.shop.svc.cluster.local' subset:'v3' weight:1}}"));
  EXPECT_THAT(get("/old/item").actions,
              ElementsAre("rewrites the path to /new/item", "timeout 500 ms, all tries together"));
  const Explanation moved = get("/moved");
  EXPECT_EQ(moved.outcome, "redirect");
  EXPECT_THAT(moved.actions, ElementsAre("answers 308, Location: http://cart/there"));
  EXPECT_THAT(get("/").targets.at(0).problem, HasSubstr("no_cluster"));
}

TEST_F(ExplainTest, AnHttpRequestIsSpelledAsTheProxyWouldSpellIt) {
  routes(str_cat("http{name:'admin' matches{uri{prefix:'/admin'}} ", kV2, "} http{", kBoth, "}"));
  EXPECT_TRUE(get("/x/../%61dmin").rules.at(0).matched);
}

TEST_F(ExplainTest, APortDeclaredTcpGoesToItsEndpoints) {
  explainer.build();
  const auto answer = explainer.explain(
      {.from_uid = "", .to = "shop/cart:6379", .method = "", .target = "", .headers = {}, .tls = {}});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->protocol, "TCP");
  EXPECT_EQ(answer->dialled.to_string(), "10.0.0.1:6379");
  EXPECT_EQ(answer->targets.at(0).endpoints.at(1).address, "10.1.0.2:6379");
}

TEST_F(ExplainTest, NamesAreThoseThatTheClientMayUse) {
  explainer.build();
  const auto ask_for = [&](const std::string& to) {
    return explainer
        .explain({.from_uid = "cluster/shop/client",
                  .to = to,
                  .method = "GET",
                  .target = "/",
                  .headers = {},
                  .tls = {}})
        .status();
  };
  for (const char* name : {"cart", "cart:80", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local.",
                           "shop/cart", "10.0.0.1", "10.0.0.1:80"})
    EXPECT_EQ(ask_for(name), absl::OkStatus()) << name;
  EXPECT_EQ(ask_for("basket").code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ask_for("cart:81").message()), HasSubstr("has no port 81, but 80/HTTP, 6379/TCP"));
}

TEST_F(ExplainTest, AnAddressOfNobodyIsPassedThrough) {
  explainer.build();
  const auto answer = explainer.explain(
      {.from_uid = "", .to = "192.0.2.1:443", .method = "", .target = "", .headers = {}, .tls = {}});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->service, "");
  EXPECT_THAT(answer->targets, IsEmpty());
}

TEST_F(ExplainTest, ListsOfTargetsFollowTheRoutes) {
  routes(str_cat("http{matches{uri{prefix:'/api'}} ", kV2, "} http{", kBoth, "}"));
  explainer.build();
  const RouteSetTargets targets = explainer.targets("shop/cart");
  ASSERT_EQ(targets.http.size(), 2u);
  EXPECT_EQ(targets.http[0].size(), 1u);
  EXPECT_EQ(targets.http[1].size(), 2u);
  EXPECT_FALSE(explainer.targets("shop/other").reached);
}

TEST_F(ExplainTest, WhatTheProxyRefusesIsRefusedHere) {
  const auto set = parse<mesh::RouteSet>(
      "name:'bad' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{matches{uri{regex:'('}} "
      "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  EXPECT_THAT(std::string(explainer.add(kRouteSetType, "shop/bad", set.SerializeAsString()).message()),
              HasSubstr("regex"));
}

// Everything that is no VirtualService found by Host.
class ExplainEntryTest : public ExplainTest {
 protected:
  void SetUp() override {
    ExplainTest::SetUp();
    add(service_address("shop", "mail", {"10.0.0.3"}, {{443, 8443, mesh::PROTOCOL_TLS}, {25, 25, kSniffed}}));
    add(workload_address("shop", "mail-1", {"10.1.0.3"}, {"shop/mail.shop.svc.cluster.local"}));
    add(service_address("shop", "alt", {"10.0.0.4"}, {{443, 8443, mesh::PROTOCOL_TLS}}));
    add(workload_address("shop", "alt-1", {"10.1.0.4"}, {"shop/alt.shop.svc.cluster.local"}));
  }
  void set(const std::string& resource, const std::string& text) {
    put(kRouteSetType, resource, parse<mesh::RouteSet>(text));
  }
  Explanation ask(const std::string& to, const std::string& method = "", const std::string& tls = "") {
    explainer.build();
    auto out = explainer.explain({.from_uid = "cluster/shop/client",
                                  .to = to,
                                  .method = method,
                                  .target = method.empty() ? "" : "/",
                                  .headers = {},
                                  .tls = tls});
    EXPECT_TRUE(out.ok()) << out.status();
    return out.ok() ? *out : Explanation();
  }
  static constexpr mesh::Protocol kSniffed = mesh::PROTOCOL_UNSPECIFIED;
};

TEST_F(ExplainEntryTest, RoutesOfTheGatewayApiAreFoundByTheirResource) {
  set("gateway-api/shop/cart:80", str_cat("name:'cart:80' namespace:'shop' by_address:true port:80 "
                                          "hosts:'cart.shop.svc.cluster.local' http{name:'all' ",
                                          kV2, "}"));
  const Explanation answer = ask("cart", "GET");
  ASSERT_EQ(answer.rules.size(), 1u);
  EXPECT_EQ(answer.rules[0].route_set, "gateway-api/shop/cart:80");
  const RouteSetTargets targets = explainer.targets("gateway-api/shop/cart:80");
  EXPECT_TRUE(targets.reached);
  ASSERT_EQ(targets.http.size(), 1u);
  EXPECT_EQ(targets.http[0].at(0).subset, "v2");
}

TEST_F(ExplainEntryTest, RoutesOfAGatewayLeadSomewhere) {
  set("shop/cart@http", str_cat("name:'cart' namespace:'shop' hosts:'cart.example.com' "
                                "gateway{port:8080 kind:HTTP} http{",
                                kBoth, "}"));
  set("shop/mail@tls",
      "name:'mail' namespace:'shop' hosts:'mail.example.com' gateway{port:8443 kind:TLS} "
      "tls{matches{sni_hosts:'mail.example.com'} destinations{host:'mail.shop.svc.cluster.local' port:443 "
      "weight:1}}");
  explainer.build();
  EXPECT_EQ(explainer.targets("shop/cart@http").http.at(0).size(), 2u);
  EXPECT_EQ(explainer.targets("shop/mail@tls").tls.at(0).at(0).endpoints.at(0).workload, "shop/mail-1");
}

TEST_F(ExplainEntryTest, OfSeveralPortsTheFirstIsExplainedEachTime) {
  add(service_address("shop", "two", {"10.0.0.5"}, {{80, 8080}, {81, 8081}, {82, 8082}, {83, 8083}}));
  add(workload_address("shop", "two-1", {"10.1.0.5"}, {"shop/two.shop.svc.cluster.local"}));
  set("shop/two",
      "name:'two' namespace:'shop' hosts:'two.shop.svc.cluster.local' "
      "http{destinations{host:'two.shop.svc.cluster.local' weight:1}}");
  for (int i = 0; i < 3; ++i) {
    explainer.build();
    EXPECT_EQ(explainer.targets("shop/two").http.at(0).at(0).port, 80);
  }
}

constexpr char kMailRoutes[] =
    "name:'mail' namespace:'shop' hosts:'mail.shop.svc.cluster.local' "
    "tls{name:'alt' matches{sni_hosts:'alt.example.com'} "
    "destinations{host:'alt.shop.svc.cluster.local' port:443 weight:1}}";

TEST_F(ExplainEntryTest, AServerNameChoosesAndWithoutOneTheRoutesAreListed) {
  set("shop/mail", kMailRoutes);
  const Explanation named = ask("mail:443", "", "alt.example.com");
  EXPECT_EQ(named.targets.at(0).endpoints.at(0).workload, "shop/alt-1");
  EXPECT_EQ(ask("mail:443", "", "other.example.com").outcome, "no_route");
  const Explanation any = ask("mail:443");
  EXPECT_EQ(any.outcome, "") << "it depends on the server name";
  EXPECT_THAT(any.actions, ElementsAre(HasSubstr("when it names alt.example.com; next: weft trace --tls")));
}

TEST_F(ExplainEntryTest, WhatIsNoTlsGoesToTheServiceWhereTcpSaysNothing) {
  set("shop/mail", kMailRoutes);
  const Explanation plain = ask("mail:25");
  EXPECT_EQ(plain.outcome, "");
  EXPECT_EQ(plain.targets.at(0).endpoints.at(0).address, "10.1.0.3:25");
  EXPECT_EQ(ask("mail:25", "", "other.example.com").outcome, "no_route");
}

TEST_F(ExplainEntryTest, WhatPassesThroughGoesToWhatWasDialled) {
  put(kDestinationPolicyType, "shop/mail",
      parse<mesh::DestinationPolicy>("name:'mail' namespace:'shop' host:'mail.shop.svc.cluster.local' "
                                     "traffic_policy{load_balancing{algorithm:PASSTHROUGH}}"));
  const Explanation answer = ask("mail:443");
  EXPECT_EQ(answer.targets.at(0).problem, "");
  EXPECT_EQ(answer.targets.at(0).load_balancer, "PASSTHROUGH");
  EXPECT_EQ(answer.targets.at(0).endpoints.at(0).address, "10.0.0.3:443");
}

TEST_F(ExplainEntryTest, AServiceWithoutAnAddressIsPassedThrough) {
  istio::workload::Address headless = service_address("shop", "db", {}, {{80, 8080}});
  headless.mutable_service()->set_canonical(true);
  add(headless);
  add(workload_address("shop", "db-1", {"10.1.0.6"}, {"shop/db.shop.svc.cluster.local"}));
  const Explanation answer = ask("db", "GET");
  EXPECT_TRUE(answer.passes);
  EXPECT_EQ(answer.dialled.to_string(), "10.1.0.6:8080");
  EXPECT_THAT(answer.rules, IsEmpty());
  EXPECT_EQ(answer.targets.at(0).endpoints.at(0).workload, "shop/db-1");
}

TEST_F(ExplainEntryTest, WhatMayNotBeReachedIsSaid) {
  auto client = workload_address("shop", "client", {"10.1.0.9"});
  mesh::EgressPolicy policy;
  policy.set_registry_only(true);
  istio::workload::Extension* extension = client.mutable_workload()->add_extensions();
  extension->set_name("weft.mesh.v1.EgressPolicy");
  extension->mutable_config()->PackFrom(policy);
  add(client);
  EXPECT_EQ(ask("198.51.100.1:80", "GET").outcome, "not_declared");
  EXPECT_EQ(ask("198.51.100.1:443").outcome, "not_declared");
  EXPECT_FALSE(ask("198.51.100.1:443").passes);
  EXPECT_EQ(ask("10.0.0.1:80", "GET").outcome, "");
}

TEST_F(ExplainEntryTest, AServiceByEndpointIsRoutedWhereverItIsDialled) {
  add(service_address("shop", "ext", {}, {{80, 80}}, "ext.example.com"));
  add(workload_address("shop", "ext-1", {"10.1.0.7"}, {"shop/ext.example.com"}));
  for (const char* to : {"ext.example.com", "10.1.0.7:80"}) {
    const Explanation answer = ask(to, "GET");
    EXPECT_FALSE(answer.passes) << to;
    EXPECT_EQ(answer.service, "shop/ext") << to;
    EXPECT_EQ(answer.dialled.to_string(), "10.1.0.7:80") << to;
  }
  EXPECT_EQ(ask("ext.example.com", "GET").rules.size(), 1u);
  // No rule has an address for its Host: such a request goes where it was dialled, by no rule of anybody.
  const Explanation by_address = ask("10.1.0.7:80", "GET");
  EXPECT_EQ(by_address.outcome, "");
  EXPECT_EQ(by_address.targets.at(0).endpoints.at(0).workload, "shop/ext-1");
}

TEST_F(ExplainEntryTest, BalancersHaveTheirNames) {
  put(kDestinationPolicyType, "shop/mail",
      parse<mesh::DestinationPolicy>(
          "name:'mail' namespace:'shop' host:'mail.shop.svc.cluster.local' "
          "traffic_policy{load_balancing{algorithm:MAGLEV table_size:65537 hash{source_ip:true}}}"));
  EXPECT_EQ(ask("mail:443").targets.at(0).load_balancer, "MAGLEV");
  put(kDestinationPolicyType, "shop/alt",
      parse<mesh::DestinationPolicy>("name:'alt' namespace:'shop' host:'alt.shop.svc.cluster.local' "
                                     "traffic_policy{load_balancing{algorithm:RANDOM locality{distribute{"
                                     "from:'*' to{key:'*' value:100}}}}}"));
  EXPECT_EQ(ask("alt:443").targets.at(0).load_balancer, "RANDOM, near endpoints first: shares differ");
}

TEST_F(ExplainTest, ThePortOfTheAuthorityIsToldWhereItIsNotHttps) {
  add(service_address("shop", "cart", {"10.0.0.1"}, {{8080, 8080}}));
  routes("http{matches{uri{exact:'/moved'}} redirect{path:'/there' code:308}}");
  explainer.build();
  const auto answer = explainer.explain({.from_uid = "cluster/shop/client",
                                         .to = "cart",
                                         .method = "GET",
                                         .target = "/moved",
                                         .headers = {},
                                         .tls = {}});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->actions, ElementsAre("answers 308, Location: http://cart:8080/there"));
}

TEST_F(ExplainTest, WhatTheRouteAlwaysAbortsDoesNotArrive) {
  routes(str_cat("http{matches{uri{prefix:'/all'}} fault{abort_ppm:1000000 http_status:503} ", kV2,
                 "} http{fault{abort_ppm:500000 http_status:503} ", kV2, "}"));
  EXPECT_EQ(get("/all").outcome, "fault_abort");
  EXPECT_EQ(get("/").outcome, "");
}

}  // namespace
}  // namespace weft::proxy
