// The meaning of every match field, one row per fact. Matches are written as text-format HttpMatch, compiled
// as a RouteSet's are.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "userspace-proxy/config/validate.h"

namespace weft::proxy {
namespace {

struct Request {
  std::string_view method = "GET";
  std::string_view path = "/";
  std::string_view query;
  std::string_view authority = "cart";
  std::vector<Header> headers;
  std::string_view ns = "shop";
  uint16_t port = 80;
  std::string_view scheme = "http";
};

struct Row {
  const char* name;
  const char* match;
  Request request;
  bool expected;
};

const std::vector<std::pair<std::string, std::string>> kLabels = {{"app", "web"}, {"version", "v2"}};

bool matches(const Row& row) {
  weft::mesh::v1::HttpMatch message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(row.match, &message)) << row.name;
  const auto matcher = compile_match(message);
  EXPECT_TRUE(matcher.ok()) << row.name << ": " << matcher.status();
  if (!matcher.ok()) return !row.expected;
  RequestHead head;
  head.method = row.request.method;
  head.path = row.request.path;
  head.query = row.request.query;
  head.authority = row.request.authority;
  head.headers = row.request.headers;
  head.scheme = row.request.scheme;
  return matcher->matches(head, SourceView{row.request.ns, &kLabels}, row.request.port);
}

class MatcherTest : public testing::TestWithParam<Row> {};

TEST_P(MatcherTest, MatchesAsIstioSays) {
  EXPECT_EQ(matches(GetParam()), GetParam().expected) << GetParam().match;
}

const Row kPathRows[] = {
    {"EmptyMatchHolds", "", {}, true},
    {"ExactPath", "uri{exact:'/a'}", {.path = "/a"}, true},
    {"ExactPathIsWhole", "uri{exact:'/a'}", {.path = "/ab"}, false},
    {"ExactPathHasCase", "uri{exact:'/a'}", {.path = "/A"}, false},
    {"ExactPathIgnoringCase", "uri{exact:'/a'} ignore_uri_case:true", {.path = "/A"}, true},
    {"PathComesWithoutQuery", "uri{exact:'/a'}", {.path = "/a", .query = "x=1"}, true},
    {"PrefixIsRaw", "uri{prefix:'/foo'}", {.path = "/foobar"}, true},
    {"PrefixItself", "uri{prefix:'/foo'}", {.path = "/foo"}, true},
    {"PrefixLongerThanPath", "uri{prefix:'/foo'}", {.path = "/fo"}, false},
    {"PrefixHasCase", "uri{prefix:'/foo'}", {.path = "/FOO/x"}, false},
    {"PrefixIgnoringCase", "uri{prefix:'/foo'} ignore_uri_case:true", {.path = "/FOO/x"}, true},
    {"PrefixIsNotDecoded", "uri{prefix:'/a b'}", {.path = "/a%20b"}, false},
    {"RegexWholePath", "uri{regex:'/v[0-9]+'}", {.path = "/v12"}, true},
    {"RegexIsAnchoredAtEnd", "uri{regex:'/v[0-9]+'}", {.path = "/v12/x"}, false},
    {"RegexIsAnchoredAtStart", "uri{regex:'v1'}", {.path = "/v1"}, false},
    {"RegexKeepsCaseThoughIgnored", "uri{regex:'/a'} ignore_uri_case:true", {.path = "/A"}, false},
    {"RegexAlternation", "uri{regex:'/a|/b'}", {.path = "/b"}, true},
    {"MethodExact", "method{exact:'POST'}", {.method = "POST"}, true},
    {"MethodHasCase", "method{exact:'post'}", {.method = "POST"}, false},
    {"MethodOther", "method{exact:'POST'}", {}, false},
    {"MethodRegex", "method{regex:'GET|HEAD'}", {.method = "HEAD"}, true},
    {"AuthorityExact", "authority{exact:'cart'}", {}, true},
    {"AuthorityKeepsPort", "authority{exact:'cart'}", {.authority = "cart:80"}, false},
    {"AuthorityPrefix", "authority{prefix:'ca'}", {}, true},
    {"SchemeExact", "scheme{exact:'http'}", {}, true},
    {"SchemeOther", "scheme{exact:'https'}", {}, false},
    {"SchemeHasCase", "scheme{exact:'HTTP'}", {}, false},
    {"SchemePrefix", "scheme{prefix:'http'}", {.scheme = "https"}, true},
    {"PortEqual", "port:80", {}, true},
    {"PortOther", "port:8080", {}, false},
    {"AllFieldsMustHold", "uri{prefix:'/a'} method{exact:'PUT'}", {.path = "/a"}, false},
    {"AllFieldsHold", "uri{prefix:'/a'} method{exact:'GET'} port:80", {.path = "/a"}, true},
};

const Row kHeaderRows[] = {
    {"HeaderExact", "headers{name:'x-user' value{exact:'jason'}}", {.headers = {{"x-user", "jason"}}}, true},
    {"HeaderNameHasNoCase", "headers{name:'x-user' value{exact:'j'}}", {.headers = {{"X-User", "j"}}}, true},
    {"HeaderValueHasCase", "headers{name:'x-user' value{exact:'j'}}", {.headers = {{"x-user", "J"}}}, false},
    {"HeaderAbsent", "headers{name:'x-user' value{exact:'j'}}", {}, false},
    {"HeaderOther", "headers{name:'x-user' value{exact:'j'}}", {.headers = {{"x-users", "j"}}}, false},
    {"HeaderPrefix", "headers{name:'x' value{prefix:'ab'}}", {.headers = {{"x", "abc"}}}, true},
    {"HeaderRegex", "headers{name:'x' value{regex:'a.c'}}", {.headers = {{"x", "abc"}}}, true},
    {"HeaderRegexIsWhole", "headers{name:'x' value{regex:'a.'}}", {.headers = {{"x", "abc"}}}, false},
    {"HeaderPresent", "headers{name:'x' value{present:true}}", {.headers = {{"x", ""}}}, true},
    {"HeaderEmptyMatchIsPresence", "headers{name:'x'}", {.headers = {{"x", "1"}}}, true},
    {"HeaderPresenceFailsWhenAbsent", "headers{name:'x'}", {}, false},
    {"AnyValueOfARepeatedHeader",
     "headers{name:'x' value{exact:'2'}}",
     {.headers = {{"x", "1"}, {"x", "2"}}},
     true},
    {"NoValueOfARepeatedHeader",
     "headers{name:'x' value{exact:'3'}}",
     {.headers = {{"x", "1"}, {"x", "2"}}},
     false},
    {"TwoHeadersBothNeeded", "headers{name:'a'} headers{name:'b'}", {.headers = {{"a", "1"}}}, false},
    {"TwoHeadersBothThere",
     "headers{name:'a'} headers{name:'b'}",
     {.headers = {{"b", "1"}, {"a", "1"}}},
     true},
    {"EmptyExactNeedsTheHeader", "headers{name:'x' value{exact:''}}", {}, false},
    {"WithoutHolds", "without_headers{name:'x' value{exact:'1'}}", {.headers = {{"x", "2"}}}, true},
    {"WithoutFails", "without_headers{name:'x' value{exact:'1'}}", {.headers = {{"x", "1"}}}, false},
    {"WithoutAbsentHolds", "without_headers{name:'x' value{exact:'1'}}", {}, true},
    {"WithoutAbsentIsEmptyString", "without_headers{name:'x' value{exact:''}}", {}, false},
    {"WithoutAbsentMatchesRegexOfEmpty", "without_headers{name:'x' value{regex:'.*'}}", {}, false},
    {"WithoutPresenceAbsentHolds", "without_headers{name:'x' value{present:true}}", {}, true},
    {"WithoutPresenceFails",
     "without_headers{name:'x' value{present:true}}",
     {.headers = {{"x", "1"}}},
     false},
    {"WithoutAnyOfRepeatedFails",
     "without_headers{name:'x' value{exact:'2'}}",
     {.headers = {{"x", "1"}, {"x", "2"}}},
     false},
};

const Row kQueryRows[] = {
    {"QueryExact", "query_params{name:'a' value{exact:'1'}}", {.query = "a=1"}, true},
    {"QuerySecond", "query_params{name:'b' value{exact:'2'}}", {.query = "a=1&b=2"}, true},
    {"QueryOtherValue", "query_params{name:'a' value{exact:'1'}}", {.query = "a=2"}, false},
    {"QueryNameHasCase", "query_params{name:'a' value{exact:'1'}}", {.query = "A=1"}, false},
    {"QueryNameIsWhole", "query_params{name:'a' value{exact:'1'}}", {.query = "aa=1"}, false},
    {"QueryFirstOfRepeatedCounts", "query_params{name:'a' value{exact:'2'}}", {.query = "a=1&a=2"}, false},
    {"QueryPresent", "query_params{name:'a'}", {.query = "x&a&y"}, true},
    {"QueryPresentWithValue", "query_params{name:'a' value{present:true}}", {.query = "a=5"}, true},
    {"QueryAbsent", "query_params{name:'a'}", {.query = "b=a"}, false},
    {"QueryNone", "query_params{name:'a'}", {}, false},
    {"QueryValueMayHoldEquals", "query_params{name:'a' value{exact:'b=c'}}", {.query = "a=b=c"}, true},
    {"QueryBareIsEmptyValue", "query_params{name:'a' value{exact:''}}", {.query = "a"}, true},
    {"QueryEmptyPairsAreSkipped", "query_params{name:'a' value{exact:'1'}}", {.query = "&&a=1&"}, true},
    {"QueryPrefix", "query_params{name:'a' value{prefix:'1'}}", {.query = "a=12"}, true},
    {"QueryRegex", "query_params{name:'a' value{regex:'[0-9]+'}}", {.query = "a=12"}, true},
    {"QueryRegexIsWhole", "query_params{name:'a' value{regex:'[0-9]+'}}", {.query = "a=12x"}, false},
    {"TwoParamsBothNeeded", "query_params{name:'a'} query_params{name:'b'}", {.query = "a=1"}, false},
};

const Row kSourceRows[] = {
    {"SourceNamespace", "source_namespace:'shop'", {}, true},
    {"SourceOtherNamespace", "source_namespace:'other'", {}, false},
    {"SourceLabel", "source_labels{key:'app' value:'web'}", {}, true},
    {"SourceLabelOtherValue", "source_labels{key:'app' value:'api'}", {}, false},
    {"SourceLabelUnknown", "source_labels{key:'tier' value:'web'}", {}, false},
    {"SourceTwoLabels",
     "source_labels{key:'app' value:'web'} source_labels{key:'version' value:'v2'}",
     {},
     true},
    {"SourceTwoLabelsOneOff",
     "source_labels{key:'app' value:'web'} source_labels{key:'version' value:'v1'}",
     {},
     false},
};

std::string row_name(const testing::TestParamInfo<Row>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Path, MatcherTest, testing::ValuesIn(kPathRows), row_name);
INSTANTIATE_TEST_SUITE_P(Header, MatcherTest, testing::ValuesIn(kHeaderRows), row_name);
INSTANTIATE_TEST_SUITE_P(Query, MatcherTest, testing::ValuesIn(kQueryRows), row_name);
INSTANTIATE_TEST_SUITE_P(Source, MatcherTest, testing::ValuesIn(kSourceRows), row_name);

TEST(MatcherTest, UnknownSourceHasNoLabels) {
  HttpMatcher matcher;
  matcher.source_labels = {{"app", "web"}};
  EXPECT_FALSE(matcher.matches(RequestHead{}, SourceView{"default", nullptr}, 80));
}

}  // namespace
}  // namespace weft::proxy
