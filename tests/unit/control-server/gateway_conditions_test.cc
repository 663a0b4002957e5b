// The status of objects of the Gateway API: what is written, what of others stays, and that nothing is
// written that is there already.
#include "control-plane/status/gateway_conditions.h"

#include <gtest/gtest.h>

#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr char kNow[] = "2026-01-01T00:00:00Z";
constexpr char kThen[] = "2025-01-01T00:00:00Z";
const ObjectKey kRoute{"HTTPRoute", "shop", "cart"};
const ObjectKey kEdge{"Gateway", "shop", "edge"};
const Json kForeignParent = {{"controllerName", "example.com/other"}, {"parentRef", {{"name", "theirs"}}}};

Json route(int generation = 2) {
  return {
      {"metadata", {{"namespace", "shop"}, {"name", "cart"}, {"generation", generation}}},
      {"spec",
       {{"parentRefs",
         {{{"group", "gateway.networking.k8s.io"}, {"kind", "Gateway"}, {"name", "theirs"}},
          {{"group", "gateway.networking.k8s.io"}, {"kind", "Gateway"}, {"name", "edge"}, {"port", 80}}}}}},
      {"status", {{"parents", {kForeignParent}}}}};
}

Json gateway(int generation = 2) {
  return {
      {"metadata", {{"namespace", "shop"}, {"name", "edge"}, {"generation", generation}}},
      {"spec", {{"gatewayClassName", "weft"}}},
      {"status",
       {{"conditions",
         {{{"type", "Accepted"}, {"status", "Unknown"}, {"reason", "Pending"}, {"lastTransitionTime", kThen}},
          {{"type", "Theirs"}, {"status", "True"}}}}}}};
}

GatewayApiStatus told() {
  GatewayApiStatus out;
  out.routes[kRoute] = {.generation = 2,
                        .parents = {{.index = 1,
                                     .conditions = {{"Accepted", true, "Accepted", ""},
                                                    {"ResolvedRefs", false, "BackendNotFound", "no db"}}}}};
  out.gateways[kEdge] = {.generation = 2,
                         .conditions = {{"Accepted", true, "Accepted", ""}},
                         .listeners = {{.name = "web",
                                        .attached_routes = 3,
                                        .kinds = {"HTTPRoute"},
                                        .conditions = {{"Programmed", true, "Programmed", ""}}}}};
  return out;
}

Finding error() {
  return {.code = "WF0002",
          .level = Finding::Level::kError,
          .field = "spec.rules[0]",
          .message = "no",
          .remedy = "do"};
}

class ConditionsTest : public testing::Test {
 protected:
  std::optional<Json> of_route(const Json& object, const std::vector<Finding>& errors = {}) const {
    return route_status_for(object, kRoute, errors, words_);
  }
  std::optional<Json> of_gateway(const Json& object, const std::vector<Finding>& errors = {}) const {
    return gateway_status_for(object, kEdge, errors, words_);
  }

  GatewayApiStatus api_ = told();
  GatewayApiWords words_{.api = &api_, .addresses = {"192.0.2.1"}, .now = kNow};
};

TEST_F(ConditionsTest, ARouteIsToldAboutOurParentAndThoseOfOthersStay) {
  Json object = route();
  const auto patch = of_route(object);
  ASSERT_TRUE(patch.has_value());
  ASSERT_EQ((*patch)["parents"].size(), 2U);
  EXPECT_EQ((*patch)["parents"][0], kForeignParent);
  const Json& ours = (*patch)["parents"][1];
  EXPECT_EQ(ours["controllerName"], kControllerName);
  EXPECT_EQ(ours["parentRef"], object["spec"]["parentRefs"][1]) << "as it is written";
  EXPECT_EQ(ours["conditions"][0]["status"], "True");
  EXPECT_EQ(ours["conditions"][0]["observedGeneration"], 2);
  EXPECT_EQ(ours["conditions"][1]["reason"], "BackendNotFound");
  EXPECT_EQ(ours["conditions"][1]["lastTransitionTime"], kNow);
  object["status"].merge_patch(*patch);
  EXPECT_FALSE(of_route(object).has_value()) << "it says so already";
}

TEST_F(ConditionsTest, TheTimeOfAConditionIsThatOfItsLastChange) {
  Json object = route();
  object["status"].merge_patch(*of_route(object));
  words_.now = "2026-02-02T00:00:00Z";
  api_.routes[kRoute].parents[0].conditions[1] = {"ResolvedRefs", true, "ResolvedRefs", ""};
  const auto patch = of_route(object);
  ASSERT_TRUE(patch.has_value());
  const Json conditions = (*patch)["parents"][1]["conditions"];
  EXPECT_EQ(conditions[0]["lastTransitionTime"], kNow);
  EXPECT_EQ(conditions[1]["lastTransitionTime"], words_.now);
}

TEST_F(ConditionsTest, TheOrderOfSeveralControllersIsNobodysBusiness) {
  Json object = route();
  object["status"].merge_patch(*of_route(object));
  std::swap(object["status"]["parents"][0], object["status"]["parents"][1]);
  EXPECT_FALSE(of_route(object).has_value());
}

TEST_F(ConditionsTest, AFormThatWasNotJudgedYetIsLeftAlone) {
  EXPECT_FALSE(of_route(route(3)).has_value());
  EXPECT_FALSE(of_gateway(gateway(3)).has_value());
}

TEST_F(ConditionsTest, ARouteThatIsNoLongerOursLosesOurEntryOnly) {
  Json object = route();
  object["status"].merge_patch(*of_route(object));
  api_.routes.clear();
  const auto patch = of_route(object);
  ASSERT_TRUE(patch.has_value());
  EXPECT_EQ((*patch)["parents"], Json::array({kForeignParent}));
}

TEST_F(ConditionsTest, ARefusedRouteIsToldWhyAtParentsOfOurs) {
  const auto patch = of_route(route(9), {error(), error()});
  ASSERT_TRUE(patch.has_value());
  ASSERT_EQ((*patch)["parents"].size(), 2U) << "not about the Gateway of somebody else";
  const Json condition = (*patch)["parents"][1]["conditions"][0];
  EXPECT_EQ(condition["status"], "False");
  EXPECT_EQ(condition["reason"], "UnsupportedValue");
  EXPECT_EQ(condition["message"], "spec.rules[0]: no (next: do) (and 1 more)");
  EXPECT_EQ(condition["observedGeneration"], 9);
}

TEST_F(ConditionsTest, AGatewayHasConditionsListenersAndAddresses) {
  Json object = gateway();
  const auto patch = of_gateway(object);
  ASSERT_TRUE(patch.has_value());
  EXPECT_EQ((*patch)["conditions"][0]["type"], "Theirs");
  EXPECT_EQ((*patch)["conditions"][1]["lastTransitionTime"], kNow) << "it was Unknown before";
  const Json listener = (*patch)["listeners"][0];
  EXPECT_EQ(listener["attachedRoutes"], 3);
  EXPECT_EQ(listener["supportedKinds"][0]["kind"], "HTTPRoute");
  EXPECT_EQ(listener["conditions"][0]["type"], "Programmed");
  EXPECT_EQ((*patch)["addresses"][0]["value"], "192.0.2.1");
  object["status"].merge_patch(*patch);
  EXPECT_FALSE(of_gateway(object).has_value());
  api_.gateways[kEdge].listeners[0].attached_routes = 4;
  const auto more = of_gateway(object);
  ASSERT_TRUE(more.has_value());
  EXPECT_FALSE(more->contains("conditions")) << "only what is another";
  EXPECT_EQ((*more)["listeners"][0]["attachedRoutes"], 4);
}

TEST_F(ConditionsTest, ARefusedGatewayIsNotAcceptedAndOneOfAnotherClassIsNotOurs) {
  Json object = gateway(9);
  const auto patch = of_gateway(object, {error()});
  ASSERT_TRUE(patch.has_value());
  EXPECT_EQ((*patch)["conditions"][1]["reason"], "Invalid");
  object["spec"]["gatewayClassName"] = "istio";
  EXPECT_FALSE(of_gateway(object, {error()}).has_value());
}

TEST_F(ConditionsTest, WhatIsNoObjectIsNoReasonToWrite) {
  for (const Json& strange :
       {Json(), Json(1), Json::array(), Json{{"status", 1}, {"spec", "x"}, {"metadata", 0}}}) {
    EXPECT_FALSE(of_gateway(strange).has_value());
    api_.routes.clear();
    EXPECT_FALSE(of_route(strange).has_value());
    EXPECT_FALSE(class_status_for(strange, kNow).has_value());
  }
}

TEST(ClassTest, OursIsAcceptedAnotherNameOfOursIsNotAndThoseOfOthersAreTheirs) {
  Json object{{"metadata", {{"name", "weft"}, {"generation", 1}}},
              {"spec", {{"controllerName", kControllerName}}}};
  const auto patch = class_status_for(object, kNow);
  ASSERT_TRUE(patch.has_value());
  EXPECT_EQ((*patch)["conditions"][0]["status"], "True");
  object["status"] = *patch;
  EXPECT_FALSE(class_status_for(object, kNow).has_value());
  object["metadata"]["name"] = "edge";
  EXPECT_EQ((*class_status_for(object, kNow))["conditions"][0]["status"], "False");
  object["spec"]["controllerName"] = "example.com/other";
  EXPECT_FALSE(class_status_for(object, kNow).has_value());
}

}  // namespace
}  // namespace weft::control_plane
