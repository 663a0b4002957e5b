// Objects of one kind on their way to the store: whose last good version an object that is refused keeps, and
// how a finding about the kind says where to look.
#include "control-plane/kubernetes/kind_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/strings.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;

const KubernetesKind& kind_called(std::string_view name) {
  const auto kinds = kubernetes_kinds();
  return *std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.name == name; });
}

class KindObjectsTest : public testing::Test {
 protected:
  static YamlNode service(std::string_view uid, std::string_view type) {
    auto parsed = parse_json(str_cat(R"({"metadata":{"namespace":"shop","name":"web","uid":")", uid,
                                     R"("},"spec":{"clusterIP":"10.0.0.1","type":")", type,
                                     R"(","ports":[{"port":80}]}})"));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return *std::move(parsed);
  }
  static YamlNode good(std::string_view uid) { return service(uid, "ClusterIP"); }
  static YamlNode wrong(std::string_view uid, std::string_view type = "Nonsense") {
    return service(uid, type);
  }
  void put(YamlNode object) { EXPECT_TRUE(objects_.put(std::move(object), "v1")); }
  // Of one step.
  size_t in_force() {
    store_.update(objects_.take());
    return store_.objects().size();
  }

  KindObjects objects_{kind_called("Service")};
  Store store_;
};

TEST_F(KindObjectsTest, AnObjectThatIsRefusedKeepsItsLastGoodVersion) {
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  put(wrong("a"));
  EXPECT_EQ(in_force(), 1U);
  EXPECT_EQ(store_.findings().size(), 1U);
}

// `more`: of its route, after the destinations.
YamlNode routes_to(std::initializer_list<std::string_view> subsets, std::string_view more = "") {
  std::string destinations;
  for (const std::string_view subset : subsets)
    str_append(&destinations, destinations.empty() ? "" : ",", R"({"weight":1,"destination":{"host":"web")",
               subset.empty() ? "" : R"(,"subset":")", subset, subset.empty() ? "" : R"(")", "}}");
  auto parsed = parse_json(
      str_cat(R"({"metadata":{"namespace":"shop","name":"web","uid":"a"},"spec":{"hosts":["web"],)",
              R"("http":[{"route":[)", destinations, "]", more, "}]}}"));
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

// The DestinationRule may stand behind it in the file that it came from.
TEST(KindObjectsOfRoutesTest, OtherSubsetsThanBeforeMayBeLacking) {
  KindObjects objects(kind_called("VirtualService"));
  const auto lacking = [&objects](YamlNode routes) {
    EXPECT_TRUE(objects.put(std::move(routes), "networking.istio.io/v1"));
    EXPECT_TRUE(objects.changed());
    const bool out = objects.may_lack_subsets();
    objects.take();
    EXPECT_FALSE(objects.may_lack_subsets());
    return out;
  };
  EXPECT_FALSE(lacking(routes_to({""}))) << "the whole service needs no rule";
  EXPECT_TRUE(lacking(routes_to({"v1"})));
  EXPECT_FALSE(lacking(routes_to({"v1"}, R"(,"timeout":"1s")")));
  EXPECT_TRUE(lacking(routes_to({"v1", "v2"})));
  EXPECT_FALSE(lacking(routes_to({"v2", "v1"})));
  EXPECT_FALSE(lacking(routes_to({}))) << "it is refused";
  EXPECT_FALSE(lacking(routes_to({"v1", "v2"}, R"(,"timeout":"2s")"))) << "the last good version has them";
  objects.remove(routes_to({}));
  EXPECT_TRUE(lacking(routes_to({"v1", "v2"})));
}

TEST_F(KindObjectsTest, OneThatWasDeletedInTheSameStepDoesNotComeBack) {
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  objects_.remove(good("a"));
  put(wrong("b"));
  EXPECT_EQ(in_force(), 0U);
  EXPECT_EQ(store_.findings().size(), 1U);
  put(good("b"));
  EXPECT_EQ(in_force(), 1U);
  put(wrong("b"));
  EXPECT_EQ(in_force(), 1U) << "from now on the new one has a last good version of its own";
}

TEST_F(KindObjectsTest, NorWhenTheNewOneIsWrittenAgainInThatStep) {
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  objects_.remove(good("a"));
  put(wrong("b"));
  put(wrong("b", "Other"));
  EXPECT_EQ(in_force(), 0U);
}

TEST_F(KindObjectsTest, NorWhenAListShowsAnotherObjectOfTheSameName) {
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  objects_.begin_list();
  put(wrong("b"));
  objects_.end_list();
  EXPECT_EQ(in_force(), 0U);
}

TEST_F(KindObjectsTest, AnObjectThatIsTooLargeKeepsItsLastGoodVersionAndNobodyElses) {
  const auto too_large = [this](const char* uid) {
    return objects_.put_too_large({.type = "", .ns = "shop", .name = "web", .uid = uid, .version = "7"},
                                  "large");
  };
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  EXPECT_TRUE(too_large("a"));
  EXPECT_EQ(in_force(), 1U);
  EXPECT_EQ(store_.findings().size(), 1U);
  EXPECT_TRUE(too_large("b"));
  EXPECT_EQ(in_force(), 0U) << "another object of the same name";
  put(good("b"));
  EXPECT_EQ(in_force(), 1U);
  EXPECT_TRUE(store_.findings().empty());
}

TEST_F(KindObjectsTest, AListWithAnObjectThatIsTooLargeSaysWhatIsGone) {
  put(good("a"));
  EXPECT_EQ(in_force(), 1U);
  objects_.begin_list();
  EXPECT_TRUE(objects_.put_too_large({.type = "", .ns = "shop", .name = "other", .uid = "c", .version = ""},
                                     "large"));
  objects_.end_list();
  EXPECT_EQ(in_force(), 0U);
  EXPECT_EQ(store_.findings().size(), 1U);
  EXPECT_FALSE(objects_.put_too_large({}, "large")) << "nobody knows which one it is";
}

TEST_F(KindObjectsTest, WhatToAskKubectlForHasItsGroup) {
  KindObjects gateways(kind_called("IstioGateway"));
  gateways.unreadable(kYamlSyntax, "an object could not be read");
  const Store::Changes changes = gateways.take();
  EXPECT_THAT(to_string(changes.at("IstioGateway")->findings.front()),
              HasSubstr("kubectl get gateways.networking.istio.io -A"));
  objects_.unreadable(kYamlSyntax, "an object could not be read");
  EXPECT_THAT(to_string(objects_.take().at("Service")->findings.front()),
              HasSubstr("kubectl get services -A"));
}

}  // namespace
}  // namespace weft::control_plane
