// Secrets of an API server: those that a gateway names are read, each by its name, and no other.
#include "control-plane/kubernetes/secret_watches.h"

#include <algorithm>
#include <atomic>

#include "base/strings.h"
#include "tests/unit/kubernetes/edge_gateway.h"
#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;

constexpr char kEdge[] = "IstioGateway shop/edge";
constexpr char kCertificate[] = "Secret shop/edge-cert";

// With nothing in it that could be used: what it says is read all the same.
Json secret(const std::string& name, const std::string& annotation = "a") {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"type", "Opaque"},
          {"metadata", {{"namespace", "shop"}, {"name", name}, {"annotations", {{"note", annotation}}}}}};
}

class SecretTest : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    server_.install(kGateways);
    server_.install(kSecretsOfShop);
  }
  std::string note_of(const std::string& place) {
    const auto found = state_.find(place);
    if (found == state_.end() || found->second.objects.empty()) return "";
    return std::get<Secret>(found->second.objects.front()).meta.annotations.at("note");
  }
  bool has_note(const std::string& place, const std::string& note) {
    return wait_until([&] { return note_of(place) == note; });
  }
};

TEST_F(SecretTest, WithoutAGatewayThatNamesOneNoSecretIsAskedFor) {
  server_.put(kSecretsOfShop, secret("edge-cert"));
  start_and_wait();
  EXPECT_EQ(server_.count(kSecretsOfShop, any), 0u);
  EXPECT_EQ(state_.count(kCertificate), 0u);
}

TEST_F(SecretTest, OneThatAGatewayNamesIsWatchedByItsNameAndComesWithTheGateway) {
  server_.put(kSecretsOfShop, secret("edge-cert"));
  server_.put(kGateways, edge_gateway("edge-cert"));
  start_and_wait();
  EXPECT_TRUE(state_.contains(kEdge));
  EXPECT_EQ(note_of(kCertificate), "a") << "told at once";
  EXPECT_EQ(told(), 1u);
  for (const Request& request : server_.requests(kSecretsOfShop))
    EXPECT_EQ(request.value("fieldSelector"), "metadata.name=edge-cert");
  server_.put(kSecretsOfShop, secret("edge-cert", "b"));
  EXPECT_TRUE(has_note(kCertificate, "b"));
  server_.remove(kSecretsOfShop, "shop", "edge-cert");
  EXPECT_TRUE(lost(kCertificate));
}

TEST_F(SecretTest, OneThatNoGatewayNamesAnyMoreIsForgottenAndNotWatched) {
  server_.put(kSecretsOfShop, secret("edge-cert"));
  server_.put(kGateways, edge_gateway("edge-cert"));
  start_and_wait();
  server_.remove(kGateways, "shop", "edge");
  EXPECT_TRUE(lost(kEdge));
  EXPECT_TRUE(lost(kCertificate));
  EXPECT_TRUE(report_says([](const SourceReport& report) {
    return std::none_of(report.kinds.begin(), report.kinds.end(),
                        [](const SourceReport::Kind& kind) { return kind.kind == "Secret"; });
  }));
}

TEST_F(SecretTest, WithoutTheRightToReadThemTheRestIsToldAndTheProblemNamed) {
  server_.set_script([](const Request& request) -> std::optional<Reply> {
    if (request.path != kSecretsOfShop) return std::nullopt;
    return Reply{.status = 403, .body = R"({"kind":"Status","message":"secrets is forbidden"})"};
  });
  server_.put(kGateways, edge_gateway("edge-cert"));
  start_and_wait();
  EXPECT_TRUE(state_.contains(kEdge));
  EXPECT_TRUE(report_says([](const SourceReport& report) { return !report.problems.empty(); }));
  const std::string problem = source_->report().problems.front();
  EXPECT_THAT(problem, HasSubstr("secrets is forbidden"));
  EXPECT_THAT(problem, HasSubstr("allow list and watch of secrets"));
}

TEST_F(SecretTest, OneThatIsRefusedIsNotAskedForAllTheTime) {
  server_.set_script([](const Request& request) -> std::optional<Reply> {
    if (request.path != kSecretsOfShop) return std::nullopt;
    return Reply{.status = 403, .body = R"({"kind":"Status","message":"secrets is forbidden"})"};
  });
  server_.put(kGateways, edge_gateway("edge-cert"));
  start_and_wait();
  const auto of_the_certificate = [](const Request& r) {
    return r.value("fieldSelector") == "metadata.name=edge-cert";
  };
  ASSERT_TRUE(server_.wait_for(kSecretsOfShop, 3, of_the_certificate));
  // Other kinds are asked for with the pauses of this test, milliseconds, and have their turns meanwhile.
  for (int turn = 0; turn < 5; ++turn) {
    const std::string name = str_cat("turn-", turn);
    server_.end_watches();
    server_.put(kServices, service(name));
    ASSERT_TRUE(holds(str_cat("Service shop/", name)));
  }
  EXPECT_EQ(server_.count(kSecretsOfShop, of_the_certificate), 3u);
}

TEST_F(SecretTest, OneThatMayBeReadLaterIsReadThen) {
  options_.timing.refused_retry = std::chrono::milliseconds(5);
  const auto allowed = std::make_shared<std::atomic<bool>>(false);
  server_.set_script([allowed](const Request& request) -> std::optional<Reply> {
    if (request.path != kSecretsOfShop || *allowed) return std::nullopt;
    return Reply{.status = 403, .body = R"({"kind":"Status","message":"secrets is forbidden"})"};
  });
  server_.put(kSecretsOfShop, secret("edge-cert"));
  server_.put(kGateways, edge_gateway("edge-cert"));
  start_and_wait();
  ASSERT_TRUE(server_.wait_for(kSecretsOfShop, 5, any));
  *allowed = true;
  EXPECT_TRUE(holds(kCertificate));
}

TEST_F(SecretTest, NoMoreThanAThousandAreWatched) {
  // The watch of each would be a connection to this server.
  std::minstd_rand random(1);
  const ReflectorTiming timing;
  const auto client = ApiClient::create(access_, {});
  ASSERT_TRUE(client.ok()) << client.status();
  SecretWatches watches(**client, timing, random);
  const auto name = [&watches](const char* place, int first, int end) {
    ParsedFile file;
    for (int i = first; i < end; ++i) {
      Gateway edge{.meta = {.ns = "shop"}};
      edge.listeners.emplace_back();
      edge.listeners.back().tls.emplace();
      edge.listeners.back().tls->certificates.push_back({.ns = "shop", .name = str_cat("secret-", i)});
      file.objects.emplace_back(std::move(edge));
    }
    Store::Changes changes;
    changes[place] = std::move(file);
    watches.note({}, &changes);
  };
  name("a", 0, 1000);
  EXPECT_EQ(watches.reflectors().size(), 1000u);
  EXPECT_EQ(watches.problem(), std::nullopt);
  name("b", 1000, 1007);
  EXPECT_EQ(watches.reflectors().size(), 1000u);
  EXPECT_THAT(watches.problem().value_or(""), HasSubstr("1007 Secrets"));
  name("a", 0, 10);
  EXPECT_EQ(watches.reflectors().size(), 17u) << "those of b come into their own";
  EXPECT_EQ(watches.problem(), std::nullopt);
}

TEST_F(SecretTest, WhatIsNoNameOfASecretIsNeverPartOfAPath) {
  server_.put(kGateways, edge_gateway("../../pods?x="));
  start_and_wait();
  server_.put(kServices, service("after"));
  ASSERT_TRUE(holds("Service shop/after"));
  EXPECT_EQ(server_.count(kSecretsOfShop, any), 0u);
  EXPECT_TRUE(report_says([](const SourceReport& report) { return report.problems.empty(); }));
}

}  // namespace
}  // namespace weft::control_plane::test
