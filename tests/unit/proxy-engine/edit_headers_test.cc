// Header edits of routes and what their variables stand for, one row per fact.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/route/edit_headers.h"

namespace weft::proxy {
namespace {

using Kind = ValuePart::Kind;

HeaderEdit set(std::string name, std::vector<ValuePart> value) {
  return HeaderEdit{.name = std::move(name), .value = std::move(value), .append = false};
}
HeaderEdit add(std::string name, std::string value) {
  return HeaderEdit{.name = std::move(name), .value = {ValuePart{.text = std::move(value)}}, .append = true};
}
std::vector<ValuePart> text(std::string value) { return {ValuePart{.text = std::move(value)}}; }

class EditHeadersTest : public testing::Test {
 protected:
  EditHeadersTest() {
    request_.method = "GET";
    request_.target = request_.path = "/a";
    request_.authority = "cart";
    request_.headers = {{"Host", "cart"}, {"X-User", "jason"}, {"X-Long", "one two"}};
    response_.status = 404;
    response_.headers = {{"X-Version", "v2"}};
  }
  // "name=value;" of what becomes of `headers`.
  std::string edited(const HeaderEdits& edits, std::vector<Header> headers) {
    const EditFacts facts{.request = request_,
                          .downstream_remote = *SocketAddress::parse("10.1.0.20:4321"),
                          .downstream_local = *SocketAddress::parse("[fd00::10]:80"),
                          .route_name = "r.m",
                          .cluster = "cart|80|v1",
                          .upstream_remote = *SocketAddress::parse("10.1.0.11:8080"),
                          .response = &response_};
    text_.clear();
    const size_t bytes = rendered_bytes(edits, facts);
    text_.reserve(bytes);
    edit_headers(edits, facts, &text_, &headers);
    EXPECT_LE(text_.size(), bytes);
    std::string out;
    for (const Header& header : headers) str_append(&out, header.name, "=", header.value, ";");
    return out;
  }
  std::string value_of(ValuePart part) {
    return edited(HeaderEdits{.remove = {}, .edits = {set("x", {std::move(part)})}}, {});
  }

  RequestHead request_;
  ResponseHead response_;
  std::string text_;
};

TEST_F(EditHeadersTest, SetReplacesEveryValueOfTheName) {
  EXPECT_EQ(
      edited({.remove = {}, .edits = {set("x-a", text("new"))}}, {{"X-A", "1"}, {"b", "2"}, {"x-a", "3"}}),
      "X-A=new;b=2;");
  EXPECT_EQ(edited({.remove = {}, .edits = {set("x-a", text("new"))}}, {}), "x-a=new;");
}

TEST_F(EditHeadersTest, AddKeepsWhatIsThere) {
  EXPECT_EQ(edited({.remove = {}, .edits = {add("x-a", "2")}}, {{"x-a", "1"}}), "x-a=1;x-a=2;");
}

TEST_F(EditHeadersTest, RemovalsComeFirstWhateverTheirCase) {
  EXPECT_EQ(edited({.remove = {"x-a"}, .edits = {add("x-a", "2")}}, {{"X-A", "1"}, {"X-a", "0"}}), "x-a=2;");
}

TEST_F(EditHeadersTest, AnEmptyValueIsLeftOut) {
  EXPECT_EQ(
      edited({.remove = {}, .edits = {set("x-a", {ValuePart{.kind = Kind::kRequestHeader, .text = "none"}})}},
             {{"x-a", "1"}}),
      "x-a=1;");
}

TEST_F(EditHeadersTest, PartsFollowOneAnother) {
  EXPECT_EQ(edited({.remove = {},
                    .edits = {set("x-a", {ValuePart{.text = "user "},
                                          ValuePart{.kind = Kind::kRequestHeader, .text = "x-user"},
                                          ValuePart{.text = " at 100%"}})}},
                   {}),
            "x-a=user jason at 100%;");
}

TEST_F(EditHeadersTest, ValuesAreNotTakenFromEditedFields) {
  const HeaderEdits edits{.remove = {"x-user"},
                          .edits = {set("x-b", {ValuePart{.kind = Kind::kRequestHeader, .text = "x-user"}})}};
  EXPECT_EQ(edited(edits, {{"X-User", "jason"}}), "x-b=jason;");
}

TEST_F(EditHeadersTest, VariablesStandForFacts) {
  const std::vector<std::pair<Kind, std::string>> rows = {
      {Kind::kDownstreamRemoteAddress, "10.1.0.20:4321"},
      {Kind::kDownstreamRemoteHost, "10.1.0.20"},
      {Kind::kDownstreamRemotePort, "4321"},
      {Kind::kDownstreamLocalAddress, "[fd00::10]:80"},
      {Kind::kDownstreamLocalHost, "fd00::10"},
      {Kind::kDownstreamLocalPort, "80"},
      {Kind::kProtocol, "HTTP/1.1"},
      {Kind::kRouteName, "r.m"},
      {Kind::kUpstreamCluster, "cart|80|v1"},
      {Kind::kUpstreamRemoteAddress, "10.1.0.11:8080"},
      {Kind::kResponseCode, "404"},
  };
  for (const auto& [kind, expected] : rows)
    EXPECT_EQ(value_of(ValuePart{.kind = kind}), str_cat("x=", expected, ";"));
}

TEST_F(EditHeadersTest, HeadersOfBothMessagesCanBeNamed) {
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = "x-user"}), "x=jason;");
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = ":path"}), "x=/a;");
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = ":authority"}), "x=cart;");
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = "none", .alternative = ":method"}), "x=GET;");
  EXPECT_EQ(value_of({.kind = Kind::kResponseHeader, .text = "x-version"}), "x=v2;");
}

TEST_F(EditHeadersTest, ALengthCutsAndLeavesNoSpaceAtTheEnd) {
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = "x-user", .max_length = 3}), "x=jas;");
  EXPECT_EQ(value_of({.kind = Kind::kRequestHeader, .text = "x-long", .max_length = 4}), "x=one;");
}

}  // namespace
}  // namespace weft::proxy
