// JSON to trees and streams to objects: values keep their types, fields nobody reads leave no trace, limits
// hold, and cuts anywhere in the stream make no difference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "base/strings.h"
#include "control-plane/kubernetes/json_identity.h"
#include "control-plane/kubernetes/json_splitter.h"
#include "control-plane/kubernetes/json_tree.h"

namespace weft::control_plane {
namespace {

using testing::ElementsAre;

TEST(JsonTreeTest, TextsAreStringsAndNumbersAreNot) {
  const auto tree = parse_json(R"({"a":"80","b":80,"c":true,"d":null,"e":[1.5,"x"],"f":{"g":-1}})");
  ASSERT_TRUE(tree.ok());
  EXPECT_FALSE(tree->find("a")->plain);
  EXPECT_TRUE(tree->find("b")->plain);
  EXPECT_EQ(tree->find("b")->scalar, "80");
  EXPECT_EQ(tree->find("c")->scalar, "true");
  EXPECT_EQ(tree->find("d")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(tree->find("e")->items.front().scalar, "1.5");
  EXPECT_EQ(json_text(*tree, "f.g"), "-1");
  EXPECT_EQ(json_text(*tree, "f.missing.g"), "");
}

TEST(JsonTreeTest, FieldsThatNobodyReadsAreLeftOutAtAnyDepth) {
  static constexpr std::array<std::string_view, 3> kOut = {"metadata.managedFields", "spec.items.env",
                                                           "metadata.annotations.a.b/c"};
  const auto tree = parse_json(
      R"({"metadata":{"managedFields":[{"x":{"managedFields":[1]}}],"name":"n","annotations":{"a.b/c":"1","k":"2"}},)"
      R"("spec":{"items":[{"env":{"y":1},"name":"i"}],"managedFields":1}})",
      kOut);
  ASSERT_TRUE(tree.ok());
  EXPECT_EQ(tree->find("metadata")->fields.size(), 2U);
  EXPECT_EQ(json_text(*tree, "metadata.name"), "n");
  EXPECT_EQ(json_text(*tree, "metadata.annotations.k"), "2");
  EXPECT_EQ(tree->find("spec")->find("items")->items.front().fields.size(), 1U);
  EXPECT_EQ(json_text(*tree, "spec.managedFields"), "1");
}

TEST(JsonTreeTest, WhatIsNoJsonOrOverALimitIsAnError) {
  for (const char* text : {"", "{", "{\"a\":}", "nonsense", "{}{}", "[1,]", "\"\xff\""})
    EXPECT_EQ(parse_json(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  const std::string deep(100, '[');
  EXPECT_EQ(parse_json(deep).status().code(), absl::StatusCode::kResourceExhausted);
  std::string many = "[0";
  for (size_t i = 0; i < kMaxNodes; ++i) many += ",0";
  EXPECT_EQ(parse_json(many + "]").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(parse_json(std::string(kMaxObjectBytes + 1, ' ')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(JsonTreeTest, ADigestTellsValuesNamesAndTypesApart) {
  const auto digest = [](const char* text) { return digest_of(*parse_json(text)); };
  EXPECT_EQ(digest(R"({"a":1})"), digest(R"({ "a" : 1 })"));
  for (const char* other :
       {R"({"a":2})", R"({"b":1})", R"({"a":"1"})", R"({"a":[1]})", R"({"a":1,"b":null})"})
    EXPECT_NE(digest(R"({"a":1})"), digest(other)) << other;
  EXPECT_NE(digest(R"(["ab","c"])"), digest(R"(["a","bc"])"));
  EXPECT_NE(digest(R"([["a"],"b"])"), digest(R"([["a","b"]])"));
}

std::vector<std::string> split(JsonSplitter::Form form, std::string_view text, size_t piece,
                               std::string* rest, size_t limit = 1000) {
  std::vector<std::string> out;
  JsonSplitter splitter(form, limit, [&out](std::string_view object) { out.emplace_back(object); });
  for (size_t at = 0; at < text.size(); at += piece) splitter.feed(text.substr(at, piece));
  if (rest != nullptr) *rest = splitter.broken() ? "broken" : std::string(splitter.rest());
  return out;
}

TEST(JsonSplitterTest, AListGivesItsItemsAndItsRestWhereverItIsCut) {
  const std::string text =
      R"({"kind":"items","metadata":{"continue":"a]}\"{","items":["no"]}, "items": [ {"a":{"items":[{}]}}, )"
      R"({"b":"]}\\"} ],"after":1})";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    std::string rest;
    EXPECT_THAT(split(JsonSplitter::Form::kList, text, piece, &rest),
                ElementsAre(R"({"a":{"items":[{}]}})", R"({"b":"]}\\"})"));
    EXPECT_EQ(rest,
              R"({"kind":"items","metadata":{"continue":"a]}\"{","items":["no"]},"items":[],"after":1})");
  }
}

TEST(JsonSplitterTest, AWatchGivesOneObjectAfterTheOther) {
  const std::string text = "{\"a\":1}\n{\"b\":{\"c\":\"}\\\"\"}}\n\n{\"d\":";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    EXPECT_THAT(split(JsonSplitter::Form::kStream, text, piece, nullptr),
                ElementsAre("{\"a\":1}", "{\"b\":{\"c\":\"}\\\"\"}}"));
  }
}

TEST(JsonSplitterTest, AnObjectOverTheLimitIsEmptyAndTheNextIsWhole) {
  const std::string large = "{\"a\":\"" + std::string(50, 'x') + "\"}";
  EXPECT_THAT(split(JsonSplitter::Form::kStream, large + "{\"b\":1}", 7, nullptr, 20),
              ElementsAre("", "{\"b\":1}"));
  std::string rest;
  EXPECT_THAT(split(JsonSplitter::Form::kList, "{\"items\":[" + large + ",{\"b\":1}]}", 7, &rest, 20),
              ElementsAre("", "{\"b\":1}"));
  EXPECT_EQ(rest, "{\"items\":[]}");
}

ObjectIdentity identity_of(std::string_view text, bool event, size_t piece = 3) {
  JsonIdentity identity(event);
  for (size_t at = 0; at < text.size(); at += piece) identity.feed(text.substr(at, piece));
  return identity.found();
}

TEST(JsonIdentityTest, AnObjectIsNamedByItsMetadataAndNothingElse) {
  constexpr std::string_view kObject =
      R"({"spec":{"metadata":{"name":"no"},"name":"no"},"kind":"Service","name":"no",)"
      R"("metadata":{"labels":{"name":"no","x":"}"},"finalizers":["name","namespace"],"name":"web",)"
      R"("uid":"7","namespace":"shop","resourceVersion":"12"},"list":[{"metadata":{"name":"no"}}]})";
  const ObjectIdentity object = identity_of(kObject, false);
  EXPECT_EQ(object.name, "web");
  EXPECT_EQ(object.ns, "shop");
  EXPECT_EQ(object.uid, "7");
  EXPECT_EQ(object.version, "12");
  const ObjectIdentity event = identity_of(str_cat(R"({"type":"DELETED","object":)", kObject, "}"), true);
  EXPECT_EQ(event.type, "DELETED");
  EXPECT_EQ(event.name, "web");
  EXPECT_EQ(identity_of(kObject, true).name, "") << "the object of an event is a level deeper";
}

TEST(JsonIdentityTest, HalfANameIsNone) {
  EXPECT_EQ(identity_of(str_cat(R"({"metadata":{"name":")", std::string(300, 'x'), R"("}})"), false).name,
            "");
  EXPECT_EQ(identity_of(R"({"metadata":{"name":"w\u0065b"}})", false).name, "");
  EXPECT_EQ(identity_of(R"({"metadata":{"name":"we)", false).name, "");
}

TEST(JsonSplitterTest, AnObjectOverTheLimitIsNamed) {
  std::string name;
  JsonSplitter splitter(JsonSplitter::Form::kList, 20, [&](std::string_view text) {
    if (text.empty()) name = splitter.too_large().name;
  });
  splitter.feed(str_cat(R"({"items":[{"metadata":{"x":")", std::string(50, 'x'), R"(","name":"web"}}]})"));
  EXPECT_EQ(name, "web");
}

TEST(JsonSplitterTest, AListThatIsCutOffOrNoListHasNoRest) {
  std::string rest = "x";
  split(JsonSplitter::Form::kList, R"({"items":[{"a":1},)", 3, &rest);
  EXPECT_EQ(rest, "");
  split(JsonSplitter::Form::kList, "<html>{}</html>", 3, &rest);
  EXPECT_NE(rest, "{}");
  split(JsonSplitter::Form::kStream, "<html>", 3, &rest);
  EXPECT_EQ(rest, "broken");
  split(JsonSplitter::Form::kList, "]", 3, &rest);
  EXPECT_EQ(rest, "broken");
}

}  // namespace
}  // namespace weft::control_plane
