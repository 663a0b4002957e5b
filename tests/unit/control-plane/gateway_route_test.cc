// What is refused in routes of the Gateway API and in connection routes of VirtualServices, and with which
// finding: the place and the code of each. What they do when they are good is in tests/unit/routes.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/strings.h"
#include "control-plane/control_plane.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {
namespace {

struct Refused {
  const char* name;
  const char* text;
  const char* code;
  const char* field;
};

void expect_refused(const Refused& row, const std::string& text) {
  const ParsedFile parsed = parse_file("f", text);
  const bool found = std::any_of(parsed.findings.begin(), parsed.findings.end(), [&](const Finding& f) {
    return f.code == row.code && f.field == row.field && !f.remedy.empty() && f.line > 0;
  });
  std::string all;
  for (const Finding& f : parsed.findings) str_append(&all, to_string(f), "\n");
  EXPECT_TRUE(found) << text << all;
}

// A redirect is not TLS of the server's own.
TEST(GatewayServerTest, ARedirectOfAPlainServerIsNot) {
  const ParsedFile parsed = parse_file(
      "f",
      "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {servers: [{port: "
      "{number: 8080, name: p, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}]}\n");
  EXPECT_TRUE(parsed.findings.empty());
}

class RefusedRuleTest : public testing::TestWithParam<Refused> {};

TEST_P(RefusedRuleTest, IsAFindingAtItsPlace) {
  expect_refused(
      GetParam(),
      str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n",
              "  parentRefs: [{group: '', kind: Service, name: s}]\n  rules:\n  - ", GetParam().text, "\n"));
}

const Refused kRules[] = {
    {"SessionPersistence", "sessionPersistence: {sessionName: a}", "WF0025",
     "spec.rules[0].sessionPersistence"},
    {"UnknownField", "backendRef: []", "WF0024", "spec.rules[0].backendRef"},
    {"PathWithoutSlash", "matches: [{path: {value: a}}]", "WF0002", "spec.rules[0].matches[0].path.value"},
    {"PathWithDots", "matches: [{path: {value: /a/../b}}]", "WF0002", "spec.rules[0].matches[0].path.value"},
    {"PathType", "matches: [{path: {type: Prefix, value: /a}}]", "WF0002",
     "spec.rules[0].matches[0].path.type"},
    {"PathRegex", "matches: [{path: {type: RegularExpression, value: '('}}]", "WF0002",
     "spec.rules[0].matches[0].path.value"},
    {"Method", "matches: [{method: get}]", "WF0002", "spec.rules[0].matches[0].method"},
    {"HeaderTwice", "matches: [{headers: [{name: a, value: '1'}, {name: A, value: '2'}]}]", "WF0036",
     "spec.rules[0].matches[0].headers[1]"},
    {"HeaderType", "matches: [{headers: [{name: a, type: Prefix, value: b}]}]", "WF0002",
     "spec.rules[0].matches[0].headers[0].type"},
    {"BackendWithoutPort", "backendRefs: [{name: v}]", "WF0026", "spec.rules[0].backendRefs[0].port"},
    {"WeightTooLarge", "backendRefs: [{name: v, port: 80, weight: 1000001}]", "WF0002",
     "spec.rules[0].backendRefs[0].weight"},
    {"RedirectOfOneBackend",
     "backendRefs: [{name: v, port: 80, filters: [{type: RequestRedirect, requestRedirect: {}}]}]", "WF0025",
     "spec.rules[0].backendRefs[0].filters[0].type"},
    {"RewriteOfOneBackend",
     "backendRefs: [{name: v, port: 80, filters: [{type: URLRewrite, urlRewrite: {}}]}]", "WF0025",
     "spec.rules[0].backendRefs[0].filters[0].type"},
    {"MirrorOfOneBackendOfSeveral",
     "backendRefs: [{name: v, port: 80, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: "
     "w, "
     "port: 80}}}]}, {name: x, port: 80}]",
     "WF0025", "spec.rules[0].backendRefs[0].filters[0].type"},
    {"ExtensionRef", "filters: [{type: ExtensionRef, extensionRef: {name: a}}]", "WF0025",
     "spec.rules[0].filters[0].extensionRef"},
    {"FilterType", "filters: [{type: Magic}]", "WF0025", "spec.rules[0].filters[0].type"},
    {"FilterOfAnotherType", "filters: [{type: CORS, urlRewrite: {}}]", "WF0002",
     "spec.rules[0].filters[0].urlRewrite"},
    {"FilterWithoutContent", "filters: [{type: URLRewrite}]", "WF0026",
     "spec.rules[0].filters[0].urlRewrite"},
    {"FilterTwice",
     "filters: [{type: CORS, cors: {allowOrigins: ['*']}}, {type: CORS, cors: {allowOrigins: ['*']}}]",
     "WF0002", "spec.rules[0].filters[1]"},
    {"RedirectAndRewrite",
     "filters: [{type: URLRewrite, urlRewrite: {hostname: a}}, {type: RequestRedirect, requestRedirect: "
     "{port: 81}}]",
     "WF0002", "spec.rules[0].filters[1]"},
    {"RedirectWithBackends",
     "{filters: [{type: RequestRedirect, requestRedirect: {port: 81}}], backendRefs: [{name: v, port: 80}]}",
     "WF0002", "spec.rules[0].backendRefs"},
    {"RedirectCode", "filters: [{type: RequestRedirect, requestRedirect: {statusCode: 305}}]", "WF0002",
     "spec.rules[0].filters[0].requestRedirect.statusCode"},
    {"RedirectScheme", "filters: [{type: RequestRedirect, requestRedirect: {scheme: ftp}}]", "WF0002",
     "spec.rules[0].filters[0].requestRedirect.scheme"},
    {"PrefixOfAnExactMatch",
     "{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
     "ReplacePrefixMatch, replacePrefixMatch: /b}}}]}",
     "WF0002", "spec.rules[0].filters[0].urlRewrite.path.type"},
    {"FramingHeader",
     "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Content-Length, value: "
     "'1'}]}}]",
     "WF0002", "spec.rules[0].filters[0].requestHeaderModifier.set[0]"},
    {"MirrorShareTwice",
     "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v, port: 80}, percent: 1, fraction: "
     "{numerator: 1}}}]",
     "WF0002", "spec.rules[0].filters[0].requestMirror.fraction"},
    {"MirrorAboveOne",
     "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v, port: 80}, fraction: {numerator: "
     "101}}}]",
     "WF0002", "spec.rules[0].filters[0].requestMirror.fraction.numerator"},
    {"DurationWithADot", "timeouts: {request: 1.5s}", "WF0002", "spec.rules[0].timeouts.request"},
    {"TryLongerThanAll", "timeouts: {request: 1s, backendRequest: 2s}", "WF0002",
     "spec.rules[0].timeouts.backendRequest"},
    {"RetryCode", "retry: {codes: [200]}", "WF0002", "spec.rules[0].retry.codes[0]"},
};

INSTANTIATE_TEST_SUITE_P(HttpRoute, RefusedRuleTest, testing::ValuesIn(kRules),
                         [](const auto& info) { return std::string(info.param.name); });

class RefusedSpecTest : public testing::TestWithParam<Refused> {};

TEST_P(RefusedSpecTest, IsAFindingAtItsPlace) { expect_refused(GetParam(), GetParam().text); }

#define GATEWAY_API(kind) "apiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\nmetadata: {name: r}\n"
#define ISTIO "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r}\n"

#define SERVER(protocol, port, tls)                                                                  \
  "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {servers: [{port: " \
  "{number: " port ", name: p, protocol: " protocol "}, hosts: ['*'], tls: " tls "}]}\n"
#define LISTENER(protocol, port, tls)                                                                      \
  GATEWAY_API("Gateway")                                                                                   \
  "spec: {gatewayClassName: weft, listeners: [{name: l, port: " port ", protocol: " protocol ", tls: " tls \
  "}]}\n"

const Refused kSpecs[] = {
    {"NoSpec", GATEWAY_API("HTTPRoute"), "WF0026", "spec"},
    {"NoParents", GATEWAY_API("HTTPRoute") "spec: {rules: []}\n", "WF0036", "spec"},
    {"ParentKind", GATEWAY_API("HTTPRoute") "spec: {parentRefs: [{kind: Mesh, name: a}]}\n", "WF0025",
     "spec.parentRefs[0].kind"},
    {"SectionOfAService",
     GATEWAY_API("HTTPRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a, sectionName: b}]}\n",
     "WF0025", "spec.parentRefs[0].sectionName"},
    {"Hostname",
     GATEWAY_API(
         "HTTPRoute") "spec: {hostnames: ['a:80'], parentRefs: [{group: '', kind: Service, name: a}]}\n",
     "WF0002", "spec.hostnames[0]"},
    {"GrpcRouteHasNoRewrite",
     GATEWAY_API("GRPCRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{filters: "
                              "[{type: URLRewrite, urlRewrite: {}}]}]}\n",
     "WF0025", "spec.rules[0].filters[0].type"},
    {"GrpcMethodOfNothing",
     GATEWAY_API("GRPCRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{matches: "
                              "[{method: {type: Exact}}]}]}\n",
     "WF0026", "spec.rules[0].matches[0].method"},
    {"GrpcServiceName",
     GATEWAY_API("GRPCRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{matches: "
                              "[{method: {service: a/b}}]}]}\n",
     "WF0002", "spec.rules[0].matches[0].method"},
    {"TlsRouteWithoutNames",
     GATEWAY_API("TLSRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: "
                             "[{backendRefs: [{name: a, port: 1}]}]}\n",
     "WF0026", "spec.hostnames"},
    {"TcpRouteWithNames",
     GATEWAY_API("TCPRoute") "spec: {hostnames: [a], parentRefs: [{group: '', kind: Service, name: a}], "
                             "rules: [{backendRefs: [{name: a, port: 1}]}]}\n",
     "WF0024", "spec.hostnames"},
    {"TcpRouteWithoutRules",
     GATEWAY_API("TCPRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}]}\n", "WF0026",
     "spec.rules"},
    {"TcpRouteWithFilters",
     GATEWAY_API("TCPRoute") "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: "
                             "[{backendRefs: [{name: a, port: 1, filters: []}]}]}\n",
     "WF0024", "spec.rules[0].backendRefs[0].filters"},
    {"GrantWithoutTo", GATEWAY_API("ReferenceGrant") "spec: {from: [{group: a, kind: b, namespace: c}]}\n",
     "WF0026", "spec.to"},
    {"GrantWithoutNamespace",
     GATEWAY_API("ReferenceGrant") "spec: {from: [{group: a, kind: b}], to: [{kind: c}]}\n", "WF0026",
     "spec.from[0].namespace"},
    {"VersionOfHttpRoute",
     "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: r}\n", "WF0031",
     "apiVersion"},
    {"TlsWithoutMatch", ISTIO "spec: {hosts: [a], tls: [{route: [{destination: {host: a}}]}]}\n", "WF0026",
     "spec.tls[0].match"},
    {"TlsWithoutServerNames",
     ISTIO "spec: {hosts: [a], tls: [{match: [{port: 1}], route: [{destination: {host: a}}]}]}\n", "WF0026",
     "spec.tls[0].match[0].sniHosts"},
    {"ServerNameOfNoHost",
     ISTIO
     "spec: {hosts: [a], tls: [{match: [{sniHosts: [b.example]}], route: [{destination: {host: a}}]}]}\n",
     "WF0002", "spec.tls[0].match[0].sniHosts[0]"},
    {"Subnet",
     ISTIO "spec: {hosts: [a], tcp: [{match: [{destinationSubnets: [10.0.0.0/33]}], route: [{destination: "
           "{host: a}}]}]}\n",
     "WF0002", "spec.tcp[0].match[0].destinationSubnets[0]"},
    {"SourceSubnet",
     ISTIO
     "spec: {hosts: [a], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: a}}]}]}\n",
     "WF0025", "spec.tcp[0].match[0].sourceSubnet"},
    {"ServerNameOfTcp",
     ISTIO "spec: {hosts: [a], tcp: [{match: [{sniHosts: [a]}], route: [{destination: {host: a}}]}]}\n",
     "WF0024", "spec.tcp[0].match[0].sniHosts"},
    {"ZeroWeights",
     ISTIO "spec: {hosts: [a], tcp: [{route: [{destination: {host: a}, weight: 0}, {destination: {host: b}, "
           "weight: 0}]}]}\n",
     "WF0008", "spec.tcp[0].route"},
    {"HeadersOfAConnection",
     ISTIO "spec: {hosts: [a], tcp: [{route: [{destination: {host: a}, headers: {}}]}]}\n", "WF0024",
     "spec.tcp[0].route[0].headers"},
    {"DelegatedTcp", ISTIO "spec: {tcp: [{route: [{destination: {host: a}}]}]}\n", "WF0002", "spec.tcp"},
    {"RetryRemoteLocalities",
     ISTIO "spec: {hosts: [a], http: [{retries: {attempts: 1, retryRemoteLocalities: true}, route: "
           "[{destination: {host: a}}]}]}\n",
     "WF0025", "spec.http[0].retries.retryRemoteLocalities"},
    {"TlsOfATcpServer", SERVER("TCP", "9000", "{mode: MUTUAL, credentialName: c}"), "WF0002",
     "spec.servers[0].tls.mode"},
    {"CertificatesOfAPlainServer", SERVER("HTTP", "8080", "{credentialName: c}"), "WF0002",
     "spec.servers[0].tls.credentialName"},
    {"RedirectOfATcpServer", SERVER("TCP", "9000", "{httpsRedirect: true}"), "WF0002",
     "spec.servers[0].tls.httpsRedirect"},
    {"CertificatesOfWhatIsPassedThrough", SERVER("TLS", "8443", "{mode: PASSTHROUGH, credentialName: c}"),
     "WF0036", "spec.servers[0].tls.credentialName"},
    {"AServerAtThePortOfCapture", SERVER("HTTP", "15001", "{}"), "WF0002", "spec.servers[0].port.number"},
    {"TlsOfAnHttpListener", LISTENER("HTTP", "8080", "{mode: Terminate}"), "WF0002", "spec.listeners[0].tls"},
    {"TlsOfATcpListener", LISTENER("TCP", "9000", "{mode: Passthrough}"), "WF0002", "spec.listeners[0].tls"},
    {"CertificatesOfAListenerThatPassesThrough",
     LISTENER("TLS", "8443", "{mode: Passthrough, certificateRefs: [{name: c}]}"), "WF0036",
     "spec.listeners[0].tls.certificateRefs"},
    {"AListenerAtThePortOfMetrics", LISTENER("TCP", "15020", "null"), "WF0002", "spec.listeners[0].port"},
};

INSTANTIATE_TEST_SUITE_P(Specs, RefusedSpecTest, testing::ValuesIn(kSpecs),
                         [](const auto& info) { return std::string(info.param.name); });

// The rule's mirrors when these are its backends; "" for a document that is refused.
std::string mirrors_of(std::string_view backends) {
  const ParsedFile parsed =
      parse_file("f.yaml", str_cat(GATEWAY_API("HTTPRoute") "spec: {parentRefs: [{group: '', kind: Service, "
                                                            "name: s}], rules: [{backendRefs: [",
                                   backends, "]}]}\n"));
  if (parsed.objects.size() != 1) return "";
  std::string out;
  for (const GatewayRoute::Backend& mirror : std::get<GatewayRoute>(parsed.objects[0]).rules.at(0).mirrors)
    str_append(&out, mirror.name, ":", mirror.port, " ", mirror.ppm, ";");
  return out.empty() ? "none" : out;
}

TEST(BackendMirrorTest, OfTheOnlyBackendIsTheRules) {
  const std::string mirror =
      "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 81}, percent: 5}}]";
  EXPECT_EQ(mirrors_of(str_cat("{name: v, port: 80, ", mirror, "}")), "copy:81 50000;");
  EXPECT_EQ(mirrors_of(str_cat("{name: v, port: 80, ", mirror, "}, {name: w, port: 80, weight: 0}")),
            "copy:81 50000;");
}

TEST(BackendMirrorTest, OfABackendThatGetsNothingCopiesNothing) {
  EXPECT_EQ(mirrors_of("{name: v, port: 80}, {name: w, port: 80, weight: 0, filters: [{type: RequestMirror, "
                       "requestMirror: {backendRef: {name: copy, port: 81}}}]}"),
            "none");
}

}  // namespace
}  // namespace weft::control_plane
