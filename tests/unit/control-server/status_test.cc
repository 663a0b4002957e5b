// What weft-control writes to the API server: who of several writes, what an object's status becomes, and
// that nothing is written that is there already.
#include <gtest/gtest.h>

#include <memory>
#include <mutex>

#include "base/strings.h"
#include "control-plane/kubernetes/json_fields.h"
#include "control-plane/status/lease.h"
#include "control-plane/status/object_messages.h"
#include "control-plane/status/status_writer.h"
#include "tests/harness/wait.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {
namespace {

constexpr std::chrono::seconds kLimit{30};
constexpr char kLeases[] = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases";
constexpr char kCarts[] = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/cart";
constexpr char kAllCarts[] = "/apis/networking.istio.io/v1/virtualservices";
constexpr char kEvents[] = "/api/v1/namespaces/shop/events";

// The objects of an API server by path, as far as these tests write: merge patches with versions, creation,
// and lists of what is there.
class Objects {
 public:
  explicit Objects(FakeApiServer& server) {
    server.set_script([this](const FakeApiServer::Request& request) { return answer(request); });
  }
  void put(const std::string& path, Json object) {
    const std::lock_guard lock(mutex_);
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    objects_[path] = std::move(object);
  }
  Json get(const std::string& path) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(path);
    return found == objects_.end() ? Json() : found->second;
  }
  size_t writes(const std::string& prefix) {
    const std::lock_guard lock(mutex_);
    size_t out = 0;
    for (const std::string& path : written_) out += path.starts_with(prefix) ? 1 : 0;
    return out;
  }
  size_t reads(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return read_[path];
  }
  // So many of the next writes under a path are refused, after `meanwhile` was done.
  void refuse_writes(const std::string& prefix, int status, size_t many,
                     std::function<void(Json&)> meanwhile = {}) {
    const std::lock_guard lock(mutex_);
    refused_ = prefix;
    refusal_ = status;
    refusals_ = many;
    meanwhile_ = std::move(meanwhile);
  }

 private:
  using Reply = FakeApiServer::Reply;
  static Reply refuse(int status) {
    return {.status = status, .body = R"({"kind":"Status","message":"no"})"};
  }

  std::optional<Reply> answer(const FakeApiServer::Request& request) {
    const std::lock_guard lock(mutex_);
    if (request.method == "GET") {
      ++read_[request.path];
      const auto found = objects_.find(request.path);
      if (found == objects_.end()) return list(request.path);
      return Reply{.body = found->second.dump()};
    }
    Json body = Json::parse(request.body);
    std::string path = request.path;
    if (refusals_ > 0 && path.starts_with(refused_)) {
      --refusals_;
      if (path.ends_with("/status")) path.resize(path.size() - 7);
      if (meanwhile_) meanwhile_(objects_[path]);
      if (meanwhile_) objects_[path]["metadata"]["resourceVersion"] = std::to_string(++version_);
      return refuse(refusal_);
    }
    if (request.method == "POST") {
      path += "/" + body["metadata"]["name"].get<std::string>();
      if (objects_.contains(path)) return refuse(409);
      objects_[path] = body;
    } else {
      if (path.ends_with("/status")) path.resize(path.size() - 7);
      if (!objects_.contains(path)) return refuse(404);
      const Json version = body["metadata"].value("resourceVersion", Json());
      if (version != objects_[path]["metadata"]["resourceVersion"]) return refuse(409);
      objects_[path].merge_patch(body);
    }
    objects_[path]["metadata"]["resourceVersion"] = std::to_string(++version_);
    written_.push_back(path);
    return Reply{.body = objects_[path].dump()};
  }

  // Of what is in any namespace, or cluster-wide; a kind of which nothing is there is not installed.
  Reply list(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string group = path.substr(0, slash), plural = path.substr(slash);
    Json items = Json::array();
    for (const auto& [place, object] : objects_) {
      const std::string rest = place.starts_with(group) ? place.substr(group.size()) : "";
      const size_t at = rest.find(plural + "/");
      const bool of_namespace = rest.starts_with("/namespaces/") && at == rest.find('/', 12);
      if (at != std::string::npos && (at == 0 || of_namespace)) items.push_back(object);
    }
    if (items.empty()) return refuse(404);
    return Reply{.body = Json{{"kind", "List"}, {"metadata", Json::object()}, {"items", items}}.dump()};
  }

  std::mutex mutex_;
  std::string refused_;
  int refusal_ = 0;
  size_t refusals_ = 0;
  std::function<void(Json&)> meanwhile_;
  std::map<std::string, Json> objects_;
  std::vector<std::string> written_;
  std::map<std::string, size_t> read_;
  int version_ = 0;
};

Lease::Options lease(const std::string& holder) {
  return {.ns = "weft-system", .name = "writer", .holder = holder};
}

Json cart(const Json& messages = Json::array()) {
  return {{"apiVersion", "networking.istio.io/v1"},
          {"kind", "VirtualService"},
          {"metadata", {{"namespace", "shop"}, {"name", "cart"}, {"uid", "u1"}, {"generation", 3}}},
          {"status", {{"validationMessages", messages}}}};
}

Finding finding(const std::string& message = "weights are all zero") {
  return {.code = "WF0008",
          .level = Finding::Level::kError,
          .file = "VirtualService shop/cart",
          .object = "VirtualService shop/cart",
          .field = "spec.http[0]",
          .message = message,
          .remedy = "give one a weight"};
}

const Json kForeign = {{"level", "WARNING"},
                       {"type", {{"code", "IST0101"}, {"name", "ReferencedResourceNotFound"}}}};

class LeaseTest : public testing::Test {
 protected:
  FakeApiServer server_;
  Objects objects_{server_};
  ApiCaller api_{ApiAccess{.server = server_.url()}};
  Lease first_{api_, lease("first")};
  Lease second_{api_, lease("second")};
  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(LeaseTest, TheFirstHasItAsLongAsItRenews) {
  EXPECT_TRUE(first_.hold(now_));
  for (int i = 0; i < 10; ++i) {
    const absl::Time then = now_ + absl::Seconds(5 * i);
    EXPECT_TRUE(first_.hold(then));
    EXPECT_FALSE(second_.hold(then));
  }
  EXPECT_EQ(objects_.get(str_cat(kLeases, "/writer"))["spec"]["holderIdentity"], "first");
}

TEST_F(LeaseTest, AnotherTakesItWhenNothingWasRenewedForItsDuration) {
  ASSERT_TRUE(first_.hold(now_));
  EXPECT_FALSE(second_.hold(now_ + absl::Seconds(100))) << "how long it has been so nobody knows yet";
  EXPECT_FALSE(second_.hold(now_ + absl::Seconds(114)));
  EXPECT_TRUE(second_.hold(now_ + absl::Seconds(115)));
  EXPECT_FALSE(first_.hold(now_ + absl::Seconds(116)));
  EXPECT_EQ(objects_.get(str_cat(kLeases, "/writer"))["spec"]["leaseTransitions"], 1);
}

TEST_F(LeaseTest, WhatIsGivenBackIsTakenAtOnce) {
  ASSERT_TRUE(first_.hold(now_));
  ASSERT_FALSE(second_.hold(now_));
  first_.release();
  EXPECT_TRUE(second_.hold(now_));
}

TEST_F(LeaseTest, AServerThatIsAwayEndsItBeforeAnotherCouldTakeIt) {
  ASSERT_TRUE(first_.hold(now_));
  server_.stop();
  EXPECT_TRUE(first_.hold(now_ + absl::Seconds(9)));
  EXPECT_FALSE(first_.problem().empty());
  EXPECT_FALSE(first_.hold(now_ + absl::Seconds(10)));
}

TEST(MessagesTest, OursAreReplacedAndThoseOfOthersStay) {
  const Json status{{"validationMessages", {kForeign, {{"level", "ERROR"}, {"type", {{"code", "WF0001"}}}}}}};
  const auto after = messages_for(status, {finding()});
  ASSERT_TRUE(after.has_value());
  ASSERT_EQ(after->size(), 2U);
  EXPECT_EQ((*after)[0], kForeign);
  EXPECT_EQ((*after)[1]["type"]["code"], "WF0008");
  EXPECT_EQ((*after)[1]["type"]["name"], "spec.http[0]: weights are all zero (next: give one a weight)");
  EXPECT_EQ((*after)[1]["level"], "ERROR");
  EXPECT_FALSE(messages_for({{"validationMessages", *after}}, {finding()}).has_value());
  EXPECT_FALSE(messages_for(Json(), {}).has_value());
}

TEST(MessagesTest, ObjectsOfIstioAndOfTheGatewayApiHaveAStatus) {
  Finding about = finding();
  EXPECT_EQ(object_of(about)->path(0), kCarts);
  about.object = "HTTPRoute shop/cart";
  EXPECT_EQ(object_of(about)->path(0), "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/cart");
  about.object = "ReferenceGrant shop/cart";
  EXPECT_FALSE(object_of(about).has_value());
  about.object = "Service shop/cart";
  EXPECT_FALSE(object_of(about).has_value());
  about.object = "";
  EXPECT_FALSE(object_of(about).has_value());
}

class StatusWriterTest : public testing::Test {
 protected:
  std::unique_ptr<StatusWriter> writer(const std::string& holder) {
    return std::make_unique<StatusWriter>(
        ApiAccess{.server = server_.url()},
        StatusWriter::Options{.lease = lease(holder),
                              .look = std::chrono::milliseconds(20),
                              .retry = std::chrono::milliseconds(5),
                              .longest_retry = std::chrono::milliseconds(20),
                              .unwatched = std::chrono::milliseconds(20),
                              .webhook_configuration = "weft"});
  }
  std::string first_message() {
    const Json object = objects_.get(kCarts);
    const Json messages = object["status"].value("validationMessages", Json::array());
    return messages.empty() ? "" : messages[0]["type"].value("name", "");
  }
  bool says(const std::string& text) {
    return harness::wait_until(kLimit, [&] {
      return text.empty() ? first_message().empty() : first_message().find(text) != std::string::npos;
    });
  }

  FakeApiServer server_;
  Objects objects_{server_};
};

TEST_F(StatusWriterTest, ARefusedObjectSaysWhyOnceAndIsCleanWhenItIsGood) {
  objects_.put(kCarts, cart());
  const auto writing = writer("a");
  writing->tell({finding()}, nullptr);
  ASSERT_TRUE(says("weights are all zero"));
  EXPECT_EQ(objects_.get(kCarts)["status"]["observedGeneration"], 3);
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return writing->counts().events == 1; }));
  EXPECT_EQ(objects_.writes(kEvents), 1U);
  // The same findings again, and looks at the lease meanwhile: nothing is written.
  writing->tell({finding()}, nullptr);
  const size_t renewals = objects_.writes(kLeases);
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return objects_.writes(kLeases) >= renewals + 3; }));
  EXPECT_EQ(objects_.writes(kCarts), 1U);
  writing->tell({}, nullptr);
  ASSERT_TRUE(says(""));
  EXPECT_EQ(objects_.writes(kCarts), 2U);
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return writing->counts().written == 2; }));
  EXPECT_EQ(objects_.writes(kEvents), 1U);
}

TEST_F(StatusWriterTest, OfTwoOneWritesAndItsSuccessorWritesOnlyWhatDiffers) {
  objects_.put(kCarts, cart());
  auto first = writer("a");
  first->tell({finding()}, nullptr);
  ASSERT_TRUE(says("weights are all zero"));
  const auto second = writer("b");
  second->tell({finding()}, nullptr);
  EXPECT_FALSE(second->counts().leads);
  const size_t before = objects_.reads(kAllCarts);
  first.reset();
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return second->counts().leads; }));
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return objects_.reads(kAllCarts) > before; }));
  EXPECT_EQ(objects_.writes(kCarts), 1U);
  second->tell({finding("something else")}, nullptr);
  ASSERT_TRUE(says("something else"));
  EXPECT_EQ(objects_.writes(kCarts), 2U);
}

TEST_F(StatusWriterTest, WhatAnEarlierWriterLeftIsTakenBack) {
  objects_.put(kCarts, cart({{{"level", "ERROR"}, {"type", {{"code", "WF0008"}, {"name", "old"}}}}}));
  const auto writing = writer("a");
  writing->tell({}, nullptr);
  EXPECT_TRUE(says(""));
}

TEST_F(StatusWriterTest, AServerThatHasAnOlderVersionOnlyIsSearchedToo) {
  constexpr char kOld[] = "/apis/networking.istio.io/v1beta1/namespaces/shop/virtualservices/cart";
  objects_.put(kOld, cart({{{"level", "ERROR"}, {"type", {{"code", "WF0008"}, {"name", "old"}}}}}));
  const auto writing = writer("a");
  writing->tell({}, nullptr);
  EXPECT_TRUE(harness::wait_until(
      kLimit, [&] { return objects_.get(kOld)["status"]["validationMessages"].empty(); }));
}

TEST_F(StatusWriterTest, WhoDoesNotLeadKeepsNothingToWrite) {
  objects_.put(str_cat(kLeases, "/writer"), {{"metadata", {{"name", "writer"}}},
                                             {"spec", {{"holderIdentity", "other"}, {"renewTime", "1"}}}});
  objects_.put(kCarts, cart());
  const auto writing = writer("a");
  writing->tell({finding()}, nullptr);
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return objects_.reads(str_cat(kLeases, "/writer")) >= 3; }));
  EXPECT_EQ(objects_.reads(kAllCarts), 0U);
  // What was told meanwhile is found when the lease is ours.
  objects_.put(str_cat(kLeases, "/writer"), {{"metadata", {{"name", "writer"}}}, {"spec", Json::object()}});
  EXPECT_TRUE(says("weights are all zero"));
}

TEST_F(StatusWriterTest, AConflictIsReadAgainAndWhatOthersWroteStays) {
  objects_.put(kCarts, cart());
  objects_.refuse_writes(
      kCarts, 409, 1, [](Json& object) { object["status"]["validationMessages"] = Json::array({kForeign}); });
  const auto writing = writer("a");
  writing->tell({finding()}, nullptr);
  ASSERT_TRUE(harness::wait_until(
      kLimit, [&] { return objects_.get(kCarts)["status"]["validationMessages"].size() == 2; }));
  EXPECT_EQ(objects_.get(kCarts)["status"]["validationMessages"][0], kForeign);
  EXPECT_EQ(writing->counts().failed, 0U);
}

TEST_F(StatusWriterTest, AServerThatFailsIsTriedAgainAndTheObjectIsWrittenOnce) {
  objects_.put(kCarts, cart());
  objects_.refuse_writes(kCarts, 500, 3);
  const auto writing = writer("a");
  writing->tell({finding()}, nullptr);
  ASSERT_TRUE(says("weights are all zero"));
  EXPECT_GE(writing->counts().failed, 3U);
  EXPECT_EQ(objects_.writes(kCarts), 1U);
}

TEST_F(StatusWriterTest, ALeaseThatMayNotBeHeldIsShown) {
  objects_.refuse_writes(kLeases, 403, 1'000'000);
  const auto writing = writer("a");
  writing->tell({}, nullptr);
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return !writing->counts().problem.empty(); }));
  EXPECT_NE(writing->counts().problem.find("next: see that weft-control may get, create and patch Lease"),
            std::string::npos)
      << writing->counts().problem;
  objects_.refuse_writes("", 403, 0);
  EXPECT_TRUE(harness::wait_until(
      kLimit, [&] { return writing->counts().leads && writing->counts().problem.empty(); }));
}

TEST_F(StatusWriterTest, ARouteOfTheGatewayApiIsToldWhatBecameOfIt) {
  constexpr char kRoute[] = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/cart";
  const Json ref{{"group", ""}, {"kind", "Service"}, {"name", "web"}};
  objects_.put(kRoute, {{"metadata", {{"namespace", "shop"}, {"name", "cart"}, {"generation", 4}}},
                        {"spec", {{"parentRefs", {ref}}}}});
  auto told = std::make_shared<GatewayApiStatus>();
  const ObjectKey key{"HTTPRoute", "shop", "cart"};
  told->routes[key] = {.generation = 4,
                       .parents = {{.index = 0, .conditions = {{"Accepted", true, "Accepted", ""}}}}};
  const auto writing = writer("a");
  writing->tell({}, told);
  const auto condition = [&] {
    const Json parents = array_at(object_at(objects_.get(kRoute), "status"), "parents");
    return parents.empty() ? Json() : parents[0]["conditions"][0];
  };
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return condition()["status"] == "True"; }));
  EXPECT_EQ(condition()["observedGeneration"], 4);
  auto next = std::make_shared<GatewayApiStatus>(*told);
  next->routes[key].parents[0].conditions[0] = {"Accepted", false, "NoMatchingParent", "no port 81"};
  writing->tell({}, next);
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return condition()["reason"] == "NoMatchingParent"; }));
  EXPECT_EQ(objects_.writes(kRoute), 2U);
}

TEST_F(StatusWriterTest, TheClassOfWeftIsAcceptedAndTheWebhookGetsItsAuthorities) {
  constexpr char kClass[] = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/weft";
  constexpr char kWebhook[] = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/weft";
  objects_.put(kClass, {{"metadata", {{"name", "weft"}, {"generation", 1}}},
                        {"spec", {{"controllerName", kControllerName}}}});
  objects_.put(
      kWebhook,
      {{"metadata", {{"name", "weft"}}},
       {"webhooks", {{{"name", "objects.weft.dev"}, {"clientConfig", {{"service", {{"name", "c"}}}}}}}}});
  const auto writing = writer("a");
  writing->tell_authorities("PEM");
  writing->tell({}, nullptr);
  EXPECT_TRUE(harness::wait_until(
      kLimit, [&] { return objects_.get(kClass)["status"]["conditions"][0]["status"] == "True"; }));
  ASSERT_TRUE(harness::wait_until(
      kLimit, [&] { return objects_.get(kWebhook)["webhooks"][0]["clientConfig"].contains("caBundle"); }));
  const Json client = objects_.get(kWebhook)["webhooks"][0]["clientConfig"];
  EXPECT_EQ(client["caBundle"], "UEVN");
  EXPECT_EQ(client["service"]["name"], "c") << "the rest of it is the chart's";
}

}  // namespace
}  // namespace weft::control_plane::test
