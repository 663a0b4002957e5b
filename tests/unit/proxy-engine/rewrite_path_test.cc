// What rewrites and redirects make of a request's target: one row per fact of Istio's HTTPRewrite and
// HTTPRedirect. Actions are written as text, compiled as a RouteSet's are.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/route/rewrite_path.h"

namespace weft::proxy {
namespace {

struct Row {
  const char* name;
  const char* match;  // HttpMatch, or null for a route without one
  const char* action;
  const char* target;
  const char* expected;  // "" when it is refused
};

RouteSpec compile(const Row& row) {
  weft::mesh::v1::RouteSet set;
  const std::string match = row.match == nullptr ? "" : str_cat("matches{", row.match, "}");
  const bool answers = std::string_view(row.action).starts_with("redirect");
  const std::string text = str_cat("name:'r' namespace:'n' hosts:'h' http{", match, " ", row.action,
                                   answers ? "" : " destinations{host:'h' weight:1}", "}");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &set)) << text;
  const auto spec = validate(set);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? spec->routes.front() : RouteSpec{.action = std::make_shared<RouteAction>()};
}

std::string rewritten(const Row& row) {
  const RouteSpec route = compile(row);
  RequestHead head;
  head.method = "GET";
  head.authority = "cart.shop:8080";
  head.target = row.target;
  if (head.target != "*") {
    EXPECT_TRUE(split_origin_form(head.target, &head)) << row.target;
  } else {
    head.path = "*";
  }
  const HttpMatcher* matcher = route.matches.empty() ? nullptr : &route.matches.front();
  std::string out;
  const bool good = route.action->redirect
                        ? append_location(*route.action->redirect, matcher, head, 8080, &out)
                        : append_rewritten(route.action->path_rewrite, matcher, head, &out);
  return good ? out : "";
}

class RewritePathTest : public testing::TestWithParam<Row> {};

TEST_P(RewritePathTest, MakesWhatIstioSays) { EXPECT_EQ(rewritten(GetParam()), GetParam().expected); }

const Row kRewrites[] = {
    {"PrefixIsReplaced", "uri{prefix:'/old'}", "path_rewrite{matched:'/new'}", "/old/item", "/new/item"},
    {"PrefixIsRawText", "uri{prefix:'/foo'}", "path_rewrite{matched:'/bar'}", "/foobell", "/barbell"},
    {"PrefixKeepsTheQuery", "uri{prefix:'/old'}", "path_rewrite{matched:'/new'}", "/old?a=/old",
     "/new?a=/old"},
    {"PrefixIgnoringCase", "uri{prefix:'/OLD'} ignore_uri_case:true", "path_rewrite{matched:'/new'}",
     "/Old/x", "/new/x"},
    {"PrefixToRootKeepsBothSlashes", "uri{prefix:'/old'}", "path_rewrite{matched:'/'}", "/old/x", "//x"},
    {"ExactReplacesThePath", "uri{exact:'/old'}", "path_rewrite{matched:'/new'}", "/old?q", "/new?q"},
    {"RegexMatchReplacesThePath", "uri{regex:'/v[0-9]/.*'}", "path_rewrite{matched:'/new'}", "/v1/x?q",
     "/new?q"},
    {"WithoutMatchTheRootIsReplaced", nullptr, "path_rewrite{matched:'/v2/'}", "/item", "/v2/item"},
    {"MatchOfSomethingElseIsNoMatchOfThePath", "method{exact:'GET'}", "path_rewrite{matched:'/v2/'}", "/item",
     "/v2/item"},
    {"AnEmptyQueryStays", "uri{prefix:'/old'}", "path_rewrite{matched:'/new'}", "/old?", "/new?"},
    {"AsteriskHasNoPath", nullptr, "path_rewrite{matched:'/new'}", "*", "*"},
    {"RegexReplacesEveryOccurrence", nullptr, "path_rewrite{regex{pattern:'o' substitution:'0'}}", "/foo/o",
     "/f00/0"},
    {"RegexSwapsGroups", nullptr,
     "path_rewrite{regex{pattern:'^/([^/]+)/([^/]+)' substitution:'/\\\\2/\\\\1'}}", "/a/b/c?x=1",
     "/b/a/c?x=1"},
    {"RegexSparesTheQuery", nullptr, "path_rewrite{regex{pattern:'a' substitution:'b'}}", "/a?a=a", "/b?a=a"},
    {"RegexWithoutOccurrence", nullptr, "path_rewrite{regex{pattern:'z' substitution:'b'}}", "/a", "/a"},
    {"RegexOfNothingEndsToo", nullptr, "path_rewrite{regex{pattern:'x*' substitution:'-'}}", "/ab", ""},
    {"RegexThatLosesTheSlashIsRefused", nullptr, "path_rewrite{regex{pattern:'^/a' substitution:'b'}}",
     "/a/c", ""},
    {"RegexThatMakesASpaceIsRefused", nullptr, "path_rewrite{regex{pattern:'-' substitution:' '}}", "/a-b",
     ""},
    {"RegexThatMakesAQueryIsRefused", nullptr, "path_rewrite{regex{pattern:'-' substitution:'?'}}", "/a-b",
     ""},
};

const Row kRedirects[] = {
    {"RedirectPath", nullptr, "redirect{path:'/new' code:301}", "/old?q=1", "http://cart.shop:8080/new?q=1"},
    {"RedirectPathWithAQueryOfItsOwn", nullptr, "redirect{path:'/new?x' code:301}", "/old?q=1",
     "http://cart.shop:8080/new?x"},
    {"RedirectPrefix", "uri{prefix:'/old'}", "redirect{prefix:'/new' code:301}", "/old/a?q",
     "http://cart.shop:8080/new/a?q"},
    {"RedirectAuthority", nullptr, "redirect{authority:'shop.example.com' code:302}", "/a",
     "http://shop.example.com/a"},
    {"RedirectScheme", nullptr, "redirect{scheme:'https' code:301}", "/a", "https://cart.shop:8080/a"},
    {"RedirectPort", nullptr, "redirect{port:9090 code:301}", "/a", "http://cart.shop:9090/a"},
    {"TheUsualPortOfHttpIsLeftOut", nullptr, "redirect{port:80 code:301}", "/a", "http://cart.shop/a"},
    {"TheUsualPortOfHttpsIsLeftOut", nullptr, "redirect{scheme:'https' port:443 code:301}", "/a",
     "https://cart.shop/a"},
    {"HttpsOnPort80SaysSo", nullptr, "redirect{scheme:'https' port:80 code:301}", "/a",
     "https://cart.shop:80/a"},
    {"PortOfTheRequest", nullptr, "redirect{authority:'other' port_from_request:true code:301}", "/a",
     "http://other:8080/a"},
    {"EverythingAtOnce", nullptr,
     "redirect{path:'/p' authority:'h.example' scheme:'https' port:8443 code:308}", "/a",
     "https://h.example:8443/p"},
};

std::string name_of(const testing::TestParamInfo<Row>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Rewrites, RewritePathTest, testing::ValuesIn(kRewrites), name_of);
INSTANTIATE_TEST_SUITE_P(Redirects, RewritePathTest, testing::ValuesIn(kRedirects), name_of);

TEST(RedirectTest, ThePortOfTheOldSchemeGoesWithIt) {
  RequestHead head;
  head.target = head.path = "/";
  for (const auto& [authority, expected] :
       std::vector<std::pair<const char*, const char*>>{{"cart:80", "https://cart/"},
                                                        {"[fd00::1]:80", "https://[fd00::1]/"},
                                                        {"[fd00::1]", "https://[fd00::1]/"}}) {
    head.authority = authority;
    std::string out;
    ASSERT_TRUE(append_location(Redirect{.scheme = "https"}, nullptr, head, 80, &out));
    EXPECT_EQ(out, expected);
  }
}

}  // namespace
}  // namespace weft::proxy
