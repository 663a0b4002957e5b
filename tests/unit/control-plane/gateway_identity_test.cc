// Whom gateways are in the mesh: the identities of a port, and the one of the gateway that each route is
// attached to, of both APIs and whatever a listener speaks.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kEdge[] = "spiffe://cluster.local/ns/front/sa/edge-weft";
constexpr char kApi[] = "spiffe://cluster.local/ns/front/sa/api-weft";

std::string object(const char* api, const char* kind, const std::string& name, const std::string& ns,
                   const std::string& spec) {
  return str_cat("apiVersion: ", api, "\nkind: ", kind, "\nmetadata: {name: ", name, ", namespace: ", ns,
                 "}\nspec: {", spec, "}\n---\n");
}
std::string istio_gateway(const std::string& name, const std::string& ns, const std::string& servers) {
  return object("networking.istio.io/v1", "Gateway", name, ns, str_cat("servers: [", servers, "]"));
}
std::string api_gateway(const std::string& listeners) {
  return object("gateway.networking.k8s.io/v1", "Gateway", "api", "front",
                str_cat("gatewayClassName: weft, listeners: [", listeners, "]"));
}
std::string service(const std::string& name, const std::string& ns, const std::string& gateway,
                    const std::string& rest) {
  return object("networking.istio.io/v1", "VirtualService", name, ns,
                str_cat("gateways: [", gateway, "], ", rest));
}
std::string route(const char* kind, const std::string& section, const std::string& rest) {
  return object(
      str_cat("gateway.networking.k8s.io/", std::string_view(kind) == "HTTPRoute" ? "v1" : "v1alpha2")
          .c_str(),
      kind, section, "front",
      str_cat("parentRefs: [{name: api, sectionName: ", section, "}], ", rest,
              "rules: [{backendRefs: [{name: x, port: 80}]}]"));
}
constexpr char kHttpServer[] = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*/*']}";
constexpr char kHttp[] = "hosts: [a.example], http: [{route: [{destination: {host: x}}]}]";

mesh::v1::RouteSet set_of(const std::string& text, const std::string& name) {
  return resource<mesh::v1::RouteSet>(compile_text(text), kRouteSetType, name);
}
// Of the findings about what takes tunnels.
std::vector<std::string> tunnel_findings(const std::string& text) {
  std::vector<std::string> out;
  for (const Finding& finding : compile_text(text).findings) {
    if (finding.message.find("tunnels") != std::string::npos)
      out.push_back(str_cat(finding.object, ": ", finding.message));
  }
  return out;
}
// x.front takes tunnels.
constexpr char kTunnelled[] = R"(
apiVersion: v1
kind: Service
metadata: {name: x, namespace: front}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}], selector: {app: x}}
---
apiVersion: v1
kind: Pod
metadata: {name: x, namespace: front, labels: {app: x}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: far}
status: {podIP: 10.1.0.9, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
)";

TEST(GatewayIdentityTest, RoutesOfBothApisDialAsTheirOwnGateway) {
  const std::string all =
      str_cat(istio_gateway("edge", "front", kHttpServer), service("a", "front", "edge", kHttp),
              api_gateway("{name: web, port: 80, protocol: HTTP}"),
              route("HTTPRoute", "web", "hostnames: [b.example], "));
  const auto port = set_of(all, "gateway/80/*");
  EXPECT_THAT(port.gateway().identities(), ElementsAre(kApi, kEdge)) << "whatever their listeners speak";
  const auto a = set_of(all, "gateway/80/a.example"), b = set_of(all, "gateway/80/b.example");
  ASSERT_EQ(a.http_size(), 1);
  EXPECT_EQ(a.http(0).dials_as(), kEdge);
  ASSERT_EQ(b.http_size(), 1);
  EXPECT_EQ(b.http(0).dials_as(), kApi);
  EXPECT_THAT(a.gateway().identities(), IsEmpty()) << "once for a port";
}

// Who may write routes for one of them is not the other.
TEST(GatewayIdentityTest, GatewaysThatShareAHostShareNoIdentity) {
  const std::string all = str_cat(
      istio_gateway("edge", "front", kHttpServer), istio_gateway("edge", "shop", kHttpServer),
      service(
          "a", "front", "edge",
          "hosts: [a.example], http: [{match: [{uri: {prefix: /f}}], route: [{destination: {host: x}}]}]"),
      service(
          "a", "shop", "edge",
          "hosts: [a.example], http: [{match: [{uri: {prefix: /s}}], route: [{destination: {host: x}}]}]"));
  const auto set = set_of(all, "gateway/80/a.example");
  ASSERT_EQ(set.http_size(), 2);
  for (const auto& each : set.http())
    EXPECT_EQ(each.dials_as(),
              each.matches(0).uri().prefix() == "/f" ? kEdge : "spiffe://cluster.local/ns/shop/sa/edge-weft");
  EXPECT_EQ(set_of(all, "gateway/80/*").gateway().identities_size(), 2);
}

TEST(GatewayIdentityTest, ConnectionsDialAsTheirGateway) {
  const std::string to_x = "route: [{destination: {host: x, port: {number: 80}}}]}]";
  const std::string istio = str_cat(
      istio_gateway("edge", "front",
                    "{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*/a.example'], tls: {mode: "
                    "PASSTHROUGH}}, {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*/*']}"),
      service("t", "front", "edge",
              str_cat("hosts: [a.example], tls: [{match: [{port: 443, sniHosts: [a.example]}], ", to_x,
                      ", tcp: [{match: [{port: 9000}], ", to_x)));
  const auto tls = set_of(istio, "gateway/443/*"), tcp = set_of(istio, "gateway/9000/*");
  ASSERT_EQ(tls.tls_size(), 1);
  EXPECT_EQ(tls.tls(0).dials_as(), kEdge);
  ASSERT_EQ(tcp.tcp_size(), 1);
  EXPECT_EQ(tcp.tcp(0).dials_as(), kEdge);
  for (const auto* set : {&tls, &tcp}) EXPECT_THAT(set->gateway().identities(), ElementsAre(kEdge));
  const std::string api = str_cat(
      api_gateway("{name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}, {name: tcp, port: "
                  "9000, protocol: TCP}"),
      route("TLSRoute", "tls", "hostnames: [b.example], "), route("TCPRoute", "tcp", ""));
  const auto tls_route = set_of(api, "gateway/443/*"), tcp_route = set_of(api, "gateway/9000/*");
  ASSERT_EQ(tls_route.tls_size(), 1);
  EXPECT_EQ(tls_route.tls(0).dials_as(), kApi);
  ASSERT_EQ(tcp_route.tcp_size(), 1);
  EXPECT_EQ(tcp_route.tcp(0).dials_as(), kApi);
}

TEST(GatewayIdentityTest, RoutesOfPodsHaveNone) {
  const auto made = set_of(service("a", "front", "mesh", kHttp), "front/a");
  ASSERT_EQ(made.http_size(), 1);
  EXPECT_EQ(made.http(0).dials_as(), "");
}

TEST(GatewayIdentityTest, ANameThatIsTooLongHasNoneAndReachesNoPodThatTakesTunnels) {
  const std::string name(252, 'e');
  const std::string all =
      str_cat(kTunnelled, istio_gateway(name, "front", kHttpServer), service("a", "front", name, kHttp));
  EXPECT_THAT(set_of(all, "gateway/80/*").gateway().identities(), IsEmpty());
  const auto set = set_of(all, "gateway/80/a.example");
  ASSERT_EQ(set.http_size(), 1);
  EXPECT_EQ(set.http(0).dials_as(), "");
  EXPECT_THAT(tunnel_findings(all),
              Contains(AllOf(HasSubstr("VirtualService front/a"), HasSubstr("too long for an identity"))));
  const std::string good =
      str_cat(kTunnelled, istio_gateway("edge", "front", kHttpServer), service("a", "front", "edge", kHttp));
  EXPECT_THAT(tunnel_findings(good), IsEmpty());
}

TEST(GatewayIdentityTest, ProvidersAreAskedByTheOldestGatewayThatAPolicyIsFor) {
  const std::string ask =
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ask, namespace: shop}\n"
      "spec: {action: CUSTOM, provider: {name: p}, rules: [{}]}\n---\n";
  const std::string all =
      str_cat(istio_gateway("edge", "front", kHttpServer), istio_gateway("edge", "shop", kHttpServer),
              service("a", "front", "edge", kHttp), ask);
  EXPECT_EQ(set_of(all, "gateway/80/a.example").gateway().policies().asks_as(),
            "spiffe://cluster.local/ns/shop/sa/edge-weft");
  std::string deny = ask;
  deny.replace(deny.find("CUSTOM, provider: {name: p}"), 27, "DENY");
  const std::string others = all.substr(0, all.size() - ask.size());
  EXPECT_EQ(set_of(others + deny, "gateway/80/a.example").gateway().policies().asks_as(), "");
}

}  // namespace
}  // namespace weft::control_plane
