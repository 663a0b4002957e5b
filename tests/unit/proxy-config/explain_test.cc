// What `weft trace` says of routes: the same answer as match_route() gives, with the reason for each rule
// before it.
#include "userspace-proxy/config/explain.h"

#include <gmock/gmock.h>

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
                                  .headers = std::move(headers)});
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

TEST_F(ExplainTest, APortDeclaredTcpGoesToItsEndpointsWithoutTheProxy) {
  explainer.build();
  const auto answer =
      explainer.explain({.from_uid = "", .to = "shop/cart:6379", .method = "", .target = "", .headers = {}});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->protocol, "TCP");
  EXPECT_TRUE(answer->direct);
  EXPECT_EQ(answer->dialled.to_string(), "10.0.0.1:6379");
  EXPECT_EQ(answer->targets.at(0).endpoints.at(1).address, "10.1.0.2:6379");
}

TEST_F(ExplainTest, NamesAreThoseThatTheClientMayUse) {
  explainer.build();
  const auto ask_for = [&](const std::string& to) {
    return explainer
        .explain({.from_uid = "cluster/shop/client", .to = to, .method = "GET", .target = "/", .headers = {}})
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
  const auto answer =
      explainer.explain({.from_uid = "", .to = "192.0.2.1:443", .method = "", .target = "", .headers = {}});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->service, "");
  EXPECT_THAT(answer->targets, IsEmpty());
}

TEST_F(ExplainTest, ListsOfTargetsFollowTheRoutes) {
  routes(str_cat("http{matches{uri{prefix:'/api'}} ", kV2, "} http{", kBoth, "}"));
  explainer.build();
  const auto targets = explainer.targets("shop", "cart");
  ASSERT_EQ(targets.size(), 2u);
  EXPECT_EQ(targets[0].size(), 1u);
  EXPECT_EQ(targets[1].size(), 2u);
  EXPECT_THAT(explainer.targets("shop", "other"), IsEmpty());
}

TEST_F(ExplainTest, WhatTheProxyRefusesIsRefusedHere) {
  const auto set = parse<mesh::RouteSet>(
      "name:'bad' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{matches{uri{regex:'('}} "
      "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  EXPECT_THAT(std::string(explainer.add(kRouteSetType, "shop/bad", set.SerializeAsString()).message()),
              HasSubstr("regex"));
}

}  // namespace
}  // namespace weft::proxy
