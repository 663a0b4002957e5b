// Delegation between VirtualServices: what of a root and its delegate becomes one route, by Istio's rules.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/compile/delegates.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using mesh::v1::HttpMatch;

HttpMatch match_of(const char* text) {
  HttpMatch out;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &out)) << text;
  return out;
}

struct Row {
  const char* name;
  const char* root;
  const char* leaf;
  const char* expected;  // null: they exclude each other
};

class MergeMatchTest : public testing::TestWithParam<Row> {};

TEST_P(MergeMatchTest, TakesALeafThatIsAPartOfItsRoot) {
  const Row& row = GetParam();
  HttpMatch merged;
  ASSERT_EQ(merge_match(match_of(row.root), match_of(row.leaf), &merged), row.expected != nullptr);
  if (row.expected == nullptr) return;
  EXPECT_EQ(merged.ShortDebugString(), match_of(row.expected).ShortDebugString());
}

const Row kRows[] = {
    {"EmptyAndEmpty", "", "", ""},
    {"RootAlone", "uri{prefix:'/a'} method{exact:'GET'} port:80", "",
     "uri{prefix:'/a'} method{exact:'GET'} port:80"},
    {"LeafAlone", "", "uri{exact:'/a'}", "uri{exact:'/a'}"},
    {"LongerPrefix", "uri{prefix:'/a'}", "uri{prefix:'/a/b'}", "uri{prefix:'/a/b'}"},
    {"ShorterPrefix", "uri{prefix:'/a/b'}", "uri{prefix:'/a'}", nullptr},
    {"ExactBelowPrefix", "uri{prefix:'/a'}", "uri{exact:'/a/b'}", "uri{exact:'/a/b'}"},
    {"ExactBesidePrefix", "uri{prefix:'/a'}", "uri{exact:'/b'}", nullptr},
    {"SameExact", "uri{exact:'/a'}", "uri{exact:'/a'}", "uri{exact:'/a'}"},
    {"OtherExact", "uri{exact:'/a'}", "uri{exact:'/b'}", nullptr},
    {"PrefixUnderExact", "uri{exact:'/a'}", "uri{prefix:'/a'}", nullptr},
    {"RegexOfTheLeaf", "uri{prefix:'/a'}", "uri{regex:'/a.*'}", nullptr},
    {"RegexOfTheRoot", "uri{regex:'/a.*'}", "uri{exact:'/a'}", nullptr},
    {"TwoRegexes", "uri{regex:'/a.*'}", "uri{regex:'/a.*'}", nullptr},
    {"RegexAlone", "", "uri{regex:'/a.*'}", "uri{regex:'/a.*'}"},
    {"CaseDiffers", "uri{prefix:'/a'} ignore_uri_case:true", "uri{prefix:'/a/b'}", nullptr},
    {"CaseOfTheRoot", "uri{prefix:'/a'} ignore_uri_case:true", "", "uri{prefix:'/a'} ignore_uri_case:true"},
    {"Methods", "method{exact:'GET'}", "method{exact:'PUT'}", nullptr},
    {"Schemes", "scheme{exact:'http'}", "scheme{exact:'https'}", nullptr},
    {"Authorities", "authority{prefix:'cart'}", "authority{exact:'cart:80'}", "authority{exact:'cart:80'}"},
    {"OtherPorts", "port:80", "port:81", nullptr},
    {"HeadersAddUp", "headers{name:'a' value{exact:'1'}}", "headers{name:'b' value{exact:'2'}}",
     "headers{name:'b' value{exact:'2'}} headers{name:'a' value{exact:'1'}}"},
    {"HeaderDiffers", "headers{name:'a' value{exact:'1'}}", "headers{name:'a' value{exact:'2'}}", nullptr},
    {"HeaderPresentThenExact", "headers{name:'a' value{present:true}}", "headers{name:'a' value{exact:'2'}}",
     "headers{name:'a' value{exact:'2'}}"},
    {"HeaderExactThenPresent", "headers{name:'a' value{exact:'1'}}", "headers{name:'a' value{present:true}}",
     nullptr},
    {"WithoutHeadersAddUp", "without_headers{name:'a' value{exact:'1'}}", "",
     "without_headers{name:'a' value{exact:'1'}}"},
    {"QueryParamsDiffer", "query_params{name:'a' value{exact:'1'}}",
     "query_params{name:'a' value{exact:'2'}}", nullptr},
    {"SourceLabelsAddUp", "source_labels{key:'a' value:'1'}", "source_labels{key:'b' value:'2'}",
     "source_labels{key:'a' value:'1'} source_labels{key:'b' value:'2'}"},
    {"SourceLabelsDiffer", "source_labels{key:'a' value:'1'}", "source_labels{key:'a' value:'2'}", nullptr},
    {"SourceNamespacesDiffer", "source_namespace:'a'", "source_namespace:'b'", nullptr},
    {"NamesAreJoined", "name:'root'", "name:'leaf'", "name:'root-leaf'"},
};

INSTANTIATE_TEST_SUITE_P(Rules, MergeMatchTest, testing::ValuesIn(kRows),
                         [](const auto& param) { return std::string(param.param.name); });

constexpr char kServices[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: "
    "80}]}\n---\n"
    "apiVersion: v1\nkind: Service\nmetadata: {name: item, namespace: shop}\nspec: {ports: [{port: "
    "80}]}\n---\n";

std::string virtual_service(const std::string& ns, const std::string& name, const std::string& spec) {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec:\n", spec, "---\n");
}

const std::string kRoot = virtual_service("shop", "root", R"(  hosts: [cart]
  http:
  - name: items
    match: [{uri: {prefix: /items}}]
    timeout: 5s
    rewrite: {uri: /root}
    headers: {request: {set: {x-a: root}}}
    delegate: {name: leaf, namespace: teams}
  - name: rest
    route: [{destination: {host: cart}}]
)");

std::string codes(const Compiled& compiled) {
  std::string out;
  for (const Finding& finding : compiled.findings) {
    if (finding.code != "WF0005" || finding.field.find("delegate") != std::string::npos)
      str_append(&out, finding.code, " ", finding.object, " ", finding.line, "\n");
  }
  return out;
}

TEST(DelegateTest, TheDelegatesRoutesStandInPlaceOfTheRoots) {
  const Compiled compiled = compile_text(str_cat(kServices, kRoot, virtual_service("teams", "leaf", R"(  http:
  - name: one
    match: [{uri: {exact: /items/1}}, {uri: {prefix: /other}}]
    timeout: 1s
    route: [{destination: {host: item.shop.svc.cluster.local}}]
  - name: all
    headers: {request: {set: {x-b: leaf}}}
    route: [{destination: {host: item.shop.svc.cluster.local}}]
)")));
  const auto routes = resource<mesh::v1::RouteSet>(compiled, kRouteSetType, "shop/root");
  ASSERT_EQ(routes.http_size(), 3);
  EXPECT_EQ(routes.http(0).name(), "items-one");
  ASSERT_EQ(routes.http(0).matches_size(), 1) << "what is outside of the root's match is left out";
  EXPECT_EQ(routes.http(0).matches(0).uri().exact(), "/items/1");
  EXPECT_EQ(routes.http(0).timeout_ms(), 1000U);
  EXPECT_EQ(routes.http(0).path_rewrite().matched(), "/root");
  EXPECT_EQ(routes.http(1).name(), "items-all");
  EXPECT_EQ(routes.http(1).matches(0).uri().prefix(), "/items");
  EXPECT_EQ(routes.http(1).timeout_ms(), 5000U);
  EXPECT_EQ(routes.http(1).request_headers().edits(0).name(), "x-b");
  EXPECT_EQ(routes.http(2).name(), "rest");
  EXPECT_FALSE(compiled.resources.contains({kRouteSetType, "teams/leaf"}));
  EXPECT_EQ(codes(compiled), "");
}

TEST(DelegateTest, RoutesThatMatchNothingOfTheRootAreNamed) {
  const Compiled compiled = compile_text(str_cat(kServices, kRoot, virtual_service("teams", "leaf", R"(  http:
  - name: outside
    match: [{uri: {prefix: /other}}]
    route: [{destination: {host: item.shop.svc.cluster.local}}]
)")));
  EXPECT_EQ(resource<mesh::v1::RouteSet>(compiled, kRouteSetType, "shop/root").http_size(), 1);
  EXPECT_EQ(codes(compiled), "WF0007 VirtualService shop/root 22\n");
}

TEST(DelegateTest, AMissingHiddenOrHostedDelegateIsNamed) {
  const std::string route = "  http: [{route: [{destination: {host: item.shop.svc.cluster.local}}]}]\n";
  for (const std::string& leaf :
       {std::string(), virtual_service("teams", "leaf", str_cat("  exportTo: [\".\"]\n", route)),
        virtual_service("teams", "leaf", str_cat("  hosts: [item.shop.svc.cluster.local]\n", route))}) {
    const Compiled compiled = compile_text(str_cat(kServices, kRoot, leaf));
    EXPECT_EQ(resource<mesh::v1::RouteSet>(compiled, kRouteSetType, "shop/root").http_size(), 1) << leaf;
    EXPECT_EQ(codes(compiled), "WF0005 VirtualService shop/root 22\n") << leaf;
  }
}

TEST(DelegateTest, ADelegateThatNobodyUsesIsNamed) {
  const Compiled compiled = compile_text(str_cat(
      kServices, virtual_service("shop", "lonely", "  http: [{route: [{destination: {host: cart}}]}]\n")));
  EXPECT_EQ(codes(compiled), "WF0036 VirtualService shop/lonely 11\n");
  EXPECT_FALSE(compiled.resources.contains({kRouteSetType, "shop/lonely"}));
}

TEST(DelegateTest, ACatchAllThatDelegatesEndsTheListOnlyIfItsDelegateDoes) {
  const std::string root = virtual_service("shop", "root", R"(  hosts: [cart]
  http:
  - delegate: {name: leaf}
  - route: [{destination: {host: cart}}]
)");
  const std::string to_item = "    route: [{destination: {host: item}}]\n";
  const Compiled open = compile_text(
      str_cat(kServices, root,
              virtual_service("shop", "leaf", str_cat("  http:\n  - match: [{port: 81}]\n", to_item))));
  EXPECT_EQ(resource<mesh::v1::RouteSet>(open, kRouteSetType, "shop/root").http_size(), 2);
  const Compiled closed = compile_text(str_cat(
      kServices, root, virtual_service("shop", "leaf", str_cat("  http:\n  - name: all\n", to_item))));
  EXPECT_EQ(resource<mesh::v1::RouteSet>(closed, kRouteSetType, "shop/root").http_size(), 1);
}

}  // namespace
}  // namespace weft::control_plane
