// Lists and watches of the Kubernetes source as a server in good health answers them: what is asked for, what
// is told, and what is not parsed again.
#include <atomic>

#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

using ReflectTest = SourceTest;

TEST_F(ReflectTest, AStreamedListIsOneRequestAndGoesOnAsTheWatch) {
  server_.put(kServices, service("web"));
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/web"), 80);
  EXPECT_EQ(told(), 1U) << "the first change is everything at once";
  server_.put(kServices, service("web", 81));
  EXPECT_TRUE(has_port("Service shop/web", 81));
  server_.put(kServices, service("cart"));
  EXPECT_TRUE(holds("Service shop/cart"));
  server_.remove(kServices, "shop", "web");
  EXPECT_TRUE(lost("Service shop/web"));
  EXPECT_EQ(server_.requests(kServices).size(), 1U);
  const Request request = server_.requests(kServices).front();
  EXPECT_EQ(request.value("resourceVersionMatch"), "NotOlderThan");
  EXPECT_EQ(request.value("allowWatchBookmarks"), "true");
  EXPECT_FALSE(request.query.contains("resourceVersion"));
  EXPECT_EQ(counts("Service").lists, 1U);
  EXPECT_EQ(counts("Service").watches, 1U);
  EXPECT_EQ(counts("Service").errors, 0U);
}

TEST_F(ReflectTest, AServerThatRefusesToStreamListsIsAskedOnceAndThenListsInPages) {
  server_.set_streams_lists(false);
  server_.set_page(2);
  for (const char* name : {"a", "b", "c", "d", "e"}) server_.put(kServices, service(name));
  start_and_wait();
  for (const char* name : {"a", "b", "c", "d", "e"}) EXPECT_EQ(port_of(str_cat("Service shop/", name)), 80);
  const std::vector<Request> requests = server_.requests(kServices);
  ASSERT_GE(requests.size(), 4U);
  EXPECT_TRUE(requests[0].streams_list());
  for (size_t page = 1; page <= 3; ++page) {
    EXPECT_FALSE(requests[page].is_watch());
    EXPECT_EQ(requests[page].value("limit"), "500");
    EXPECT_EQ(requests[page].value("continue"), page == 1 ? "" : std::to_string(2 * page - 2));
  }
  ASSERT_TRUE(server_.wait_for(kServices, 1, is_plain_watch));
  EXPECT_EQ(server_.requests(kServices)[4].value("resourceVersion"), "105");
  server_.put(kServices, service("a", 81));
  EXPECT_TRUE(has_port("Service shop/a", 81));
  // Told to list anew, it does not ask for a stream again.
  server_.compact();
  ASSERT_TRUE(server_.wait_for(kServices, 6, is_list));
  EXPECT_EQ(server_.count(kServices, is_streamed), 1U);
}

TEST_F(ReflectTest, AWatchThatEndsGoesOnWhereTheLastBookmarkWas) {
  start_and_wait();
  const int version = server_.bookmark(kServices);
  server_.put(kPods, pod("marker"));
  ASSERT_TRUE(holds("Pod shop/marker"));
  server_.end_watches();
  const std::string wanted = std::to_string(version);
  ASSERT_TRUE(
      server_.wait_for(kServices, 1, [&](const Request& r) { return r.value("resourceVersion") == wanted; }));
  EXPECT_EQ(server_.count(kServices, is_list), 0U);
  server_.put(kServices, service("web"));
  EXPECT_TRUE(holds("Service shop/web"));
}

TEST_F(ReflectTest, AfterACompactionOnlyWhatChangedMeanwhileIsParsed) {
  server_.put(kServices, service("stays"));
  server_.put(kServices, service("changes"));
  server_.put(kServices, service("goes"));
  start_and_wait();
  EXPECT_EQ(counts("Service").parsed, 3U);
  // The server is deaf while the world changes, and has forgotten the way there afterwards.
  server_.set_script([](const Request&) { return std::optional<Reply>(Reply{.status = 503}); });
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 2, is_plain_watch));
  server_.remove(kServices, "shop", "goes");
  server_.put(kServices, service("changes", 81));
  server_.compact();
  server_.set_script({});
  EXPECT_TRUE(lost("Service shop/goes"));
  EXPECT_TRUE(has_port("Service shop/changes", 81));
  EXPECT_EQ(port_of("Service shop/stays"), 80);
  ASSERT_TRUE(report_says([this](const SourceReport&) { return counts("Service").relists == 1; }));
  EXPECT_EQ(counts("Service").parsed, 4U);
}

TEST_F(ReflectTest, GoneAsAnHttpStatusMeansTheSame) {
  server_.put(kServices, service("web"));
  start_and_wait();
  server_.set_script([](const Request& r) -> std::optional<Reply> {
    if (r.path == kServices && is_plain_watch(r)) return Reply{.status = 410};
    return std::nullopt;
  });
  server_.end_watches();
  ASSERT_TRUE(server_.wait_for(kServices, 2, is_streamed));
  server_.set_script({});
  server_.put(kServices, service("web", 81));
  EXPECT_TRUE(has_port("Service shop/web", 81));
}

TEST_F(ReflectTest, AContinueTokenThatExpiredBeginsTheListAnew) {
  server_.set_streams_lists(false);
  server_.set_page(1);
  server_.put(kServices, service("a"));
  server_.put(kServices, service("b"));
  const auto refused = std::make_shared<std::atomic<bool>>(false);
  server_.set_script([refused](const Request& r) -> std::optional<Reply> {
    if (r.path != kServices || r.value("continue").empty() || refused->exchange(true)) return std::nullopt;
    return Reply{.status = 410, .body = R"({"kind":"Status","code":410,"message":"expired"})"};
  });
  start_and_wait();
  EXPECT_EQ(port_of("Service shop/a"), 80);
  EXPECT_EQ(port_of("Service shop/b"), 80);
  EXPECT_EQ(
      server_.count(kServices, [](const Request& r) { return is_list(r) && r.value("continue").empty(); }),
      2U);
  EXPECT_EQ(counts("Service").relists, 1U);
}

TEST_F(ReflectTest, WhatNobodyReadsIsNoChange) {
  Json web = service("web");
  server_.put(kServices, web);
  start_and_wait();
  web["metadata"]["managedFields"] = {{{"manager", "kubectl"}}};
  web["status"] = {{"loadBalancer", {{"ingress", {{{"ip", "192.0.2.1"}}}}}}};
  server_.put(kServices, web);
  server_.put(kServices, service("marker"));
  ASSERT_TRUE(holds("Service shop/marker"));
  ASSERT_TRUE(report_says([this](const SourceReport&) { return counts("Service").parsed >= 2; }));
  EXPECT_EQ(counts("Service").parsed, 2U);
}

TEST_F(ReflectTest, PodsWithoutANodeAndThoseThatEndedHaveNoPart) {
  server_.put(kPods, pod("waiting", ""));
  server_.put(kPods, pod("runs"));
  start_and_wait();
  EXPECT_FALSE(state_.contains("Pod shop/waiting"));
  EXPECT_TRUE(state_.contains("Pod shop/runs"));
  EXPECT_EQ(server_.requests(kPods).front().value("fieldSelector"),
            "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
  server_.put(kPods, pod("waiting", "node2"));
  EXPECT_TRUE(holds("Pod shop/waiting"));
  Json ended = pod("runs");
  ended["status"]["phase"] = "Succeeded";
  server_.put(kPods, ended);
  EXPECT_TRUE(lost("Pod shop/runs"));
}

TEST_F(ReflectTest, AKindWhoseDefinitionComesLaterIsFoundThenAndForgottenWhenItGoes) {
  start_and_wait();
  EXPECT_EQ(server_.count("/apis/networking.istio.io/v1beta1/virtualservices", any) > 0, true)
      << "older versions of the API are tried before the kind counts as missing";
  EXPECT_TRUE(source_->report().problems.empty());
  server_.install(kVirtualServices);
  server_.put(
      kVirtualServices,
      {{"apiVersion", "networking.istio.io/v1"},
       {"kind", "VirtualService"},
       {"metadata", {{"namespace", "shop"}, {"name", "web"}}},
       {"spec", {{"hosts", {"web"}}, {"http", {{{"route", {{{"destination", {{"host", "web"}}}}}}}}}}}});
  EXPECT_TRUE(holds("VirtualService shop/web"));
  server_.uninstall(kVirtualServices);
  EXPECT_TRUE(lost("VirtualService shop/web"));
}

// kubectl sends the objects of a file one after the other: routes to subsets that nobody has defined yet
// would answer 503.
TEST_F(ReflectTest, ANewVirtualServiceIsToldWithTheSubsetsThatComeBehindIt) {
  options_.gather = std::chrono::milliseconds(0);
  options_.gather_subsets = std::chrono::seconds(3);
  server_.install(kVirtualServices);
  server_.install(kDestinationRules);
  start_and_wait();
  const size_t before = told();
  const Json routes{{"apiVersion", "networking.istio.io/v1"},
                    {"kind", "VirtualService"},
                    {"metadata", {{"namespace", "shop"}, {"name", "web"}}},
                    {"spec",
                     {{"hosts", {"web"}},
                      {"http", {{{"route", {{{"destination", {{"host", "web"}, {"subset", "v1"}}}}}}}}}}}};
  server_.put(kVirtualServices, routes);
  ASSERT_TRUE(report_says([&](const SourceReport& report) {
    return std::any_of(report.kinds.begin(), report.kinds.end(), [](const SourceReport::Kind& kind) {
      return kind.kind == "VirtualService" && kind.parsed == 1;
    });
  }));
  EXPECT_EQ(told(), before);
  server_.put(
      kDestinationRules,
      {{"apiVersion", "networking.istio.io/v1"},
       {"kind", "DestinationRule"},
       {"metadata", {{"namespace", "shop"}, {"name", "web"}}},
       {"spec", {{"host", "web"}, {"subsets", {{{"name", "v1"}, {"labels", {{"version", "v1"}}}}}}}}});
  EXPECT_TRUE(holds("VirtualService shop/web"));
  EXPECT_TRUE(holds("DestinationRule shop/web"));
  EXPECT_EQ(told(), before + 1);
}

TEST_F(ReflectTest, AnOlderVersionOfAnApiIsReadWhereTheServerHasNoNewer) {
  const std::string path = "/apis/security.istio.io/v1beta1/authorizationpolicies";
  server_.install(path);
  server_.put(path, {{"apiVersion", "security.istio.io/v1beta1"},
                     {"kind", "AuthorizationPolicy"},
                     {"metadata", {{"namespace", "shop"}, {"name", "deny"}}},
                     {"spec", Json::object()}});
  start_and_wait();
  EXPECT_TRUE(holds("AuthorizationPolicy shop/deny"));
}

TEST_F(ReflectTest, BothKindsOfGatewayKeepTheirNamesApart) {
  server_.install("/apis/networking.istio.io/v1/gateways");
  server_.install("/apis/gateway.networking.k8s.io/v1/gateways");
  server_.put(
      "/apis/networking.istio.io/v1/gateways",
      {{"apiVersion", "networking.istio.io/v1"},
       {"kind", "Gateway"},
       {"metadata", {{"namespace", "shop"}, {"name", "front"}}},
       {"spec",
        {{"servers",
          {{{"port", {{"number", 80}, {"name", "http"}, {"protocol", "HTTP"}}}, {"hosts", {"*"}}}}}}}});
  server_.put("/apis/gateway.networking.k8s.io/v1/gateways",
              {{"apiVersion", "gateway.networking.k8s.io/v1"},
               {"kind", "Gateway"},
               {"metadata", {{"namespace", "shop"}, {"name", "front"}}},
               {"spec",
                {{"gatewayClassName", "weft"},
                 {"listeners", {{{"name", "http"}, {"port", 80}, {"protocol", "HTTP"}}}}}}});
  start_and_wait();
  EXPECT_TRUE(holds("IstioGateway shop/front"));
  EXPECT_TRUE(holds("Gateway shop/front"));
}

}  // namespace
}  // namespace weft::control_plane::test
