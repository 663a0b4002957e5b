// Parsing of single files: what is accepted, how it is normalised, and the limits.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_file.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {
namespace {

std::string findings_of(const ParsedFile& parsed) {
  std::string out;
  for (const Finding& finding : parsed.findings) str_append(&out, to_string(finding), "\n");
  return out;
}

std::string virtual_service(std::string_view spec) {
  return str_cat(
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: "
      "shop}\nspec:\n",
      spec);
}

const VirtualService& only_route(const ParsedFile& parsed) {
  return std::get<VirtualService>(parsed.objects.at(0));
}

TEST(YamlTest, ABrokenDocumentDoesNotHideTheNext) {
  const auto documents = parse_yaml("a: [\n---\nb: 1\n");
  ASSERT_EQ(documents.size(), 2U);
  EXPECT_FALSE(documents[0].error.empty());
  EXPECT_TRUE(documents[1].error.empty());
  EXPECT_EQ(documents[1].root.line, 3U);
}

TEST(YamlTest, LinesCountFromTheFileNotTheDocument) {
  const auto documents = parse_yaml("# one\n---\n# three\na:\n  b: x\n");
  ASSERT_EQ(documents.size(), 1U);
  EXPECT_EQ(documents[0].root.fields.at(0).value.fields.at(0).line, 5U);
}

TEST(YamlTest, DeepNestingIsRefused) {
  const auto documents = parse_yaml(std::string(100, '[') + std::string(100, ']'));
  ASSERT_EQ(documents.size(), 1U);
  EXPECT_TRUE(documents[0].over_limit);
}

TEST(YamlTest, VeryDeepNestingIsRefusedBeforeTheParserRunsOutOfStack) {
  const auto documents = parse_yaml(std::string(100'000, '['));
  ASSERT_EQ(documents.size(), 1U);
  EXPECT_FALSE(documents[0].error.empty());
}

// libyaml's work grows with the square of the levels: whoever reads on finds out how long that takes.
TEST(YamlTest, NothingIsReadPastTheDeepestLevel) {
  const std::string levels(200'000, '['), ends(200'000, ']');
  for (const std::string& deep : {levels, levels + ends}) {
    const auto documents = parse_yaml(str_cat("kind: Service\nspec: ", deep, "\nmetadata: {name: late}\n"));
    ASSERT_EQ(documents.size(), 1U);
    EXPECT_TRUE(documents[0].over_limit);
    EXPECT_EQ(documents[0].error, "nesting deeper than 64 levels");
    ASSERT_NE(documents[0].root.find("kind"), nullptr);
    EXPECT_EQ(documents[0].root.find("kind")->scalar, "Service");
    EXPECT_EQ(documents[0].root.find("metadata"), nullptr);
  }
}

TEST(YamlTest, AnOversizedDocumentIsRefusedAlone) {
  const auto documents =
      parse_yaml(str_cat("a: 1\n---\nb: ", std::string(kMaxDocumentBytes, 'x'), "\n---\nc: 1\n"));
  ASSERT_EQ(documents.size(), 3U);
  EXPECT_TRUE(documents[0].error.empty());
  EXPECT_TRUE(documents[1].over_limit);
  EXPECT_TRUE(documents[2].error.empty());
}

TEST(YamlTest, ADocumentBehindDotsIsNotIgnored) {
  const auto documents = parse_yaml("a: 1\n...\nb: 2\n");
  ASSERT_EQ(documents.size(), 1U);
  EXPECT_FALSE(documents[0].error.empty());
}

TEST(YamlTest, ADocumentThatIsTooLargeSaysWhatItIs) {
  const auto documents = parse_yaml(str_cat(
      "metadata: {labels: {name: no}, name: web, namespace: shop}\nspec: {kind: no, metadata: {name: no}}\n"
      "kind: Service\napiVersion: v1\nx: ",
      std::string(kMaxDocumentBytes, 'x')));
  ASSERT_EQ(documents.size(), 1U);
  ASSERT_TRUE(documents[0].over_limit);
  const YamlNode& root = documents[0].root;
  EXPECT_EQ(root.find("kind")->scalar, "Service");
  EXPECT_EQ(root.find("apiVersion")->scalar, "v1");
  EXPECT_EQ(root.find("metadata")->find("name")->scalar, "web");
  EXPECT_EQ(root.find("metadata")->find("namespace")->scalar, "shop");
  EXPECT_EQ(root.fields.size(), 3U);
}

TEST(YamlTest, TextsAreWhatKubectlReads) {
  const auto documents = parse_yaml(
      "plain: 80\nquoted: \"80\"\nempty:\nnothing: ~\ntag: !!str 80\nfolded: >\n  a\n  b\nkept: |\n  a\n\n  "
      "---x\n"
      "flow: {a: [http://x:80, 'b''c'], \"d\":\"e\\u00e9\"}\n");
  ASSERT_EQ(documents.size(), 1U);
  ASSERT_EQ(documents[0].error, "");
  const YamlNode& root = documents[0].root;
  EXPECT_TRUE(root.find("plain")->plain);
  EXPECT_FALSE(root.find("quoted")->plain);
  EXPECT_EQ(root.find("empty")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("empty")->line, 3U);
  EXPECT_FALSE(root.find("tag")->plain);
  EXPECT_EQ(root.find("folded")->scalar, "a b\n");
  EXPECT_EQ(root.find("kept")->scalar, "a\n\n---x\n");
  EXPECT_EQ(root.find("flow")->find("a")->items.at(0).scalar, "http://x:80");
  EXPECT_EQ(root.find("flow")->find("a")->items.at(1).scalar, "b'c");
  EXPECT_EQ(root.find("flow")->find("d")->scalar, "e\xc3\xa9");
}

TEST(YamlTest, ErrorsNameTheirLine) {
  struct Row {
    const char* text;
    uint32_t line;
    const char* part;
  };
  for (const Row& row :
       {Row{"a: 1\nb: c: d\n", 2, "mapping values"},
        Row{"# x\n---\na:\n\t- b\n", 4, "cannot start any token"}, Row{"a: \"b\n\nc", 3, "unexpected end"},
        Row{"a: 1\nb: \x01\n", 2, "control characters"}, Row{"a: 1\nb: \xff\n", 2, "UTF-8"},
        Row{"a: 1\n\nb: *none\n", 3, "no anchor above it"},
        Row{"a: 1\nb: &x [*x]\n", 2, "refers to itself"}}) {
    const auto documents = parse_yaml(row.text);
    ASSERT_EQ(documents.size(), 1U) << row.text;
    EXPECT_EQ(documents[0].error_line, row.line) << row.text << documents[0].error;
    EXPECT_NE(documents[0].error.find(row.part), std::string::npos) << row.text << documents[0].error;
  }
}

TEST(YamlTest, AliasesExpand) {
  const auto documents = parse_yaml("a: &x {k: v}\nb: *x\n");
  ASSERT_EQ(documents.size(), 1U);
  EXPECT_EQ(documents[0].root.find("b")->find("k")->scalar, "v");
}

TEST(ScalarTest, PlainNumbersAndBooleansAreNoStrings) {
  for (const char* text : {"1", "-1.5", "1e3", "0x1F", "true", "No", "~", ""}) {
    EXPECT_FALSE(resolves_to_string({.kind = YamlNode::Kind::kScalar, .plain = true, .scalar = text}))
        << text;
    EXPECT_TRUE(resolves_to_string({.kind = YamlNode::Kind::kScalar, .plain = false, .scalar = text}))
        << text;
  }
  for (const char* text : {"v1", "10.0.0.1", "1s", "-", "a b", "2026-01-01"}) {
    EXPECT_TRUE(resolves_to_string({.kind = YamlNode::Kind::kScalar, .plain = true, .scalar = text})) << text;
  }
}

TEST(HostNameTest, ShortNamesExpandInTheObjectsNamespace) {
  EXPECT_EQ(expand_host("Cart", "shop"), "cart.shop.svc.cluster.local");
  EXPECT_EQ(expand_host("cart.other", "shop"), "cart.other");
  EXPECT_EQ(expand_host("*.example.com", "shop"), "*.example.com");
}

TEST(HostNameTest, OnlyDnsNamesAreHosts) {
  for (const char* host : {"a", "a.b", "*.a.b", "A-1.example.com", "_dmarc.example.com"})
    EXPECT_TRUE(is_host_name(host)) << host;
  for (const char* host : {"", "*", "a..b", "-a", "a/b", "a.*.b", "a:80"})
    EXPECT_FALSE(is_host_name(host)) << host;
}

TEST(HostNameTest, AWildcardCoversOnlyBelowItsSuffix) {
  EXPECT_TRUE(host_covers("*.b.c", "a.b.c"));
  EXPECT_FALSE(host_covers("*.b.c", "b.c"));
  EXPECT_FALSE(host_covers("*.b.c", "ab.c"));
}

TEST(VirtualServiceTest, ASingleDestinationTakesEverything) {
  const auto parsed = parse_file(
      "f", virtual_service("  hosts: [cart]\n  http:\n  - route:\n    - destination: {host: cart}\n"
                           "      weight: 0\n"));
  ASSERT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
  ASSERT_EQ(only_route(parsed).routes->http(0).destinations_size(), 1);
  EXPECT_EQ(only_route(parsed).routes->http(0).destinations(0).weight(), 1U);
}

TEST(VirtualServiceTest, ZeroWeightsOfSeveralAreDropped) {
  const auto parsed = parse_file("f", virtual_service("  hosts: [cart]\n  http:\n  - route:\n"
                                                      "    - {destination: {host: a}, weight: 0}\n"
                                                      "    - {destination: {host: b}, weight: 7}\n"));
  ASSERT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
  ASSERT_EQ(only_route(parsed).routes->http(0).destinations_size(), 1);
  EXPECT_EQ(only_route(parsed).routes->http(0).destinations(0).host(), "b.shop.svc.cluster.local");
}

TEST(VirtualServiceTest, ACatchAllEndsTheListWithAWarning) {
  const auto parsed = parse_file(
      "f", virtual_service("  hosts: [cart]\n  http:\n"
                           "  - match: [{uri: {prefix: /}}]\n    route: [{destination: {host: a}}]\n"
                           "  - route: [{destination: {host: b}}]\n"));
  ASSERT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
  EXPECT_EQ(only_route(parsed).routes->http_size(), 1);
  ASSERT_EQ(parsed.findings.size(), 1U);
  EXPECT_EQ(parsed.findings[0].code, "WF0007");
  EXPECT_EQ(parsed.findings[0].field, "spec.http[1]");
  EXPECT_EQ(parsed.findings[0].line, 9U);
}

TEST(VirtualServiceTest, AMatchWithASourceIsNoCatchAll) {
  const auto parsed = parse_file(
      "f", virtual_service("  hosts: [cart]\n  http:\n"
                           "  - match: [{sourceLabels: {app: web}}]\n    route: [{destination: {host: a}}]\n"
                           "  - route: [{destination: {host: b}}]\n"));
  EXPECT_TRUE(parsed.findings.empty()) << findings_of(parsed);
  EXPECT_EQ(only_route(parsed).routes->http_size(), 2);
}

TEST(VirtualServiceTest, EveryMatchFieldIsRead) {
  const auto parsed = parse_file("f", virtual_service(R"(  hosts: [cart]
  gateways: [mesh]
  exportTo: [".", other]
  http:
  - name: full
    match:
    - name: m
      uri: {prefix: /Api}
      ignoreUriCase: true
      method: {exact: GET}
      authority: {regex: "cart.*"}
      headers: {X-User: {exact: jason}, x-any: {}}
      withoutHeaders: {x-debug: {prefix: "on"}}
      queryParams: {Q: {regex: "*"}}
      port: 80
      sourceLabels: {app: web}
      sourceNamespace: shop
    route:
    - destination: {host: cart, port: {number: 8080}, subset: v1}
)"));
  ASSERT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
  const mesh::v1::RouteSet& routes = *only_route(parsed).routes;
  EXPECT_EQ(routes.export_to(0), "shop");
  EXPECT_EQ(routes.export_to(1), "other");
  const mesh::v1::HttpMatch& match = routes.http(0).matches(0);
  EXPECT_EQ(match.uri().prefix(), "/Api");
  EXPECT_TRUE(match.ignore_uri_case());
  EXPECT_EQ(match.method().exact(), "GET");
  EXPECT_EQ(match.authority().regex(), "cart.*");
  EXPECT_EQ(match.headers(0).name(), "x-user");
  EXPECT_TRUE(match.headers(1).value().present());
  EXPECT_EQ(match.without_headers(0).value().prefix(), "on");
  EXPECT_EQ(match.query_params(0).name(), "Q");
  EXPECT_TRUE(match.query_params(0).value().present());
  EXPECT_EQ(match.port(), 80U);
  EXPECT_EQ(match.source_labels().at("app"), "web");
  EXPECT_EQ(match.source_namespace(), "shop");
  EXPECT_EQ(routes.http(0).destinations(0).port(), 8080U);
}

TEST(ParseFileTest, UnknownKindsAreAWarningOnly) {
  const auto parsed = parse_file("f", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
  ASSERT_EQ(parsed.findings.size(), 1U);
  EXPECT_EQ(parsed.findings[0].code, "WF0023");
  EXPECT_EQ(parsed.findings[0].level, Finding::Level::kWarning);
  EXPECT_FALSE(parsed.unknown_documents);
}

TEST(ParseFileTest, ListsAreTakenApart) {
  const auto parsed = parse_file(
      "f",
      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n"
      "- {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n");
  EXPECT_EQ(parsed.objects.size(), 2U) << findings_of(parsed);
}

TEST(ParseFileTest, JsonIsRead) {
  const auto parsed = parse_file(
      "f.json",
      "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Namespace\",\n\t\"metadata\": {\"name\": \"a\"}\n}\n");
  EXPECT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
}

TEST(ParseFileTest, FieldsOfKubernetesThatWeDoNotReadAreTolerated) {
  const auto parsed = parse_file("f", R"(apiVersion: v1
kind: Pod
metadata:
  name: web
  creationTimestamp: "2026-01-02T03:04:05Z"
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, controller: true, uid: x}]
spec:
  containers: [{name: c, image: nginx, env: [{name: A, value: b}], ports: [{containerPort: 80}]}]
  tolerations: []
  someFieldOfTheFuture: 1
status: {phase: Running, podIP: 10.0.0.1, hostIP: 192.168.0.1, startTime: "2026-01-02T03:04:05Z"}
)");
  ASSERT_EQ(parsed.objects.size(), 1U) << findings_of(parsed);
  EXPECT_TRUE(parsed.findings.empty()) << findings_of(parsed);
  EXPECT_EQ(meta_of(parsed.objects[0]).created_unix, 1767323045);
}

TEST(ParseFileTest, AnUnknownWeftAnnotationIsAWarningWithAGuess) {
  const auto parsed = parse_file(
      "f", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {weft.dev/netn: /run/netns/a}\n");
  ASSERT_EQ(parsed.findings.size(), 1U);
  EXPECT_EQ(parsed.findings[0].code, "WF0001");
  EXPECT_NE(parsed.findings[0].remedy.find("weft.dev/netns"), std::string::npos);
}

}  // namespace
}  // namespace weft::control_plane
