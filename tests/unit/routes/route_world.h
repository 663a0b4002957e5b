// Manifest text to a snapshot, as agent and proxy do it together, and what the snapshot makes of one request:
// the words in which the tests of this folder compare routes. No sockets.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/strings.h"
#include "tests/unit/control-plane/compile_fixture.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/route/cors.h"
#include "userspace-proxy/route/edit_headers.h"
#include "userspace-proxy/route/rewrite_path.h"

namespace weft::proxy {

// Services "cart" (10.96.0.1), "v1" (10.96.0.11), "v2" and "v3" of namespace shop, each with port 80; cart
// has 8080 too. Clients: pod "client" of shop, and of "other".
inline constexpr char kServices[] = R"(
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: http-admin, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: v1, namespace: shop}
spec: {clusterIP: 10.96.0.11, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: v2, namespace: shop}
spec: {clusterIP: 10.96.0.12, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: v3, namespace: shop}
spec: {clusterIP: 10.96.0.13, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node1}
status: {podIP: 10.1.0.1, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: other, labels: {app: client}}
spec: {nodeName: node1}
status: {podIP: 10.1.0.2, phase: Running}
---
)";

class RouteWorld {
 public:
  explicit RouteWorld(const std::string& manifest)
      : compiled_(control_plane::compile_text(str_cat(kServices, manifest))) {
    ResourceStore store;
    for (const auto& [key, resource] : compiled_.resources) {
      envoy::service::discovery::v3::Resource wire;
      wire.set_name(std::string(key.second));
      wire.mutable_resource()->set_type_url(std::string(key.first));
      wire.mutable_resource()->set_value(std::string(resource.body()));
      EXPECT_EQ(store.apply(std::string(key.first), wire), absl::OkStatus()) << key.second;
    }
    snapshot_ = build_snapshot(store.resources(), 1);
  }

  const Snapshot& snapshot() const { return *snapshot_; }
  const std::vector<control_plane::Finding>& findings() const { return compiled_.findings; }
  uint32_t source(std::string_view ns) const {
    return snapshot_->find_source(str_cat("Kubernetes//Pod/", ns, "/client"));
  }

  // What becomes of a request, given as the bytes of its head without the last empty line.
  std::string ask(std::string_view lines, std::string_view dialled = "10.96.0.1:80",
                  std::string_view ns = "shop") const {
    HeadText text;
    RequestHead head;
    if (!read(lines, &text, &head)) return "bad request";
    const SocketAddress address = *SocketAddress::parse(std::string(dialled));
    const VirtualHost* host = snapshot_->find_virtual_host(source(ns), head.authority, address);
    return chosen(host, head, source(ns), address);
  }

  // The same of a client outside the mesh, at a port of the node; its TLS has the host as server name.
  // `token`: that was proved, where the host's rules look for some.
  std::string ask_gateway(std::string_view path, std::string_view host, uint16_t port,
                          const VerifiedToken* token = nullptr) const {
    HeadText text;
    RequestHead head;
    if (!read(str_cat("GET ", path, " HTTP/1.1\r\nHost: ", host), &text, &head)) return "bad request";
    if (snapshot_->find_gateway_port(port) == nullptr) return "no port";
    const SocketAddress address{*IpAddress::parse("192.0.2.1"), port};
    const GatewayServer* server = snapshot_->find_gateway_server(head.authority, port);
    const VirtualHost* found = snapshot_->find_gateway_host(head.authority, port, server);
    const GatewayRules* rules = found == nullptr ? nullptr : snapshot_->find_gateway_rules(*found);
    const bool proves = rules != nullptr && rules->authentication != nullptr;
    return chosen(found, head, kNone, address, proves ? token : nullptr);
  }

  // The workload that has the request of such a client, whose gateway proves tokens.
  std::string ask_gateway_workload(std::string_view path, std::string_view host, uint16_t port,
                                   const VerifiedToken* token) const {
    HeadText text;
    RequestHead head;
    if (!read(str_cat("GET ", path, " HTTP/1.1\r\nHost: ", host), &text, &head)) return "bad request";
    const GatewayServer* server = snapshot_->find_gateway_server(head.authority, port);
    const VirtualHost* found = snapshot_->find_gateway_host(head.authority, port, server);
    const GatewayRules* rules = found == nullptr ? nullptr : snapshot_->find_gateway_rules(*found);
    if (rules == nullptr || rules->authentication == nullptr) return "no tokens";
    SourceView view = source_view(*snapshot_, kNone);
    view.token = token;
    const RouteMatch match = match_route(*found, head, view, port);
    if (match.route == nullptr || match.route->clusters.size() != 1) return "no such route";
    const auto& endpoints = snapshot_->clusters[match.route->clusters.front().cluster].endpoints;
    return endpoints.size() == 1 ? endpoints.front().workload : "several";
  }

 private:
  // `text` keeps what `head` refers to.
  static bool read(std::string_view lines, HeadText* text, RequestHead* head) {
    size_t consumed = 0;
    return text->feed(str_cat(lines, "\r\n\r\n"), 64 * 1024, &consumed) == ParseResult::kComplete &&
           parse_request(text->text(), head) == ParseResult::kComplete &&
           normalise_target(PathNormalisation::kBase, &head->rewritten, head);
  }

  std::string chosen(const VirtualHost* host, const RequestHead& head, uint32_t source,
                     const SocketAddress& dialled, const VerifiedToken* token = nullptr) const {
    if (host == nullptr) return "no host";
    SourceView view = source_view(*snapshot_, source);
    view.token = token;
    const RouteMatch match = match_route(*host, head, view, dialled.port);
    return match.route == nullptr ? "404" : described(*match.route, match.matcher, head, dialled);
  }

  std::string described(const Route& route, const HttpMatcher* matcher, const RequestHead& head,
                        const SocketAddress& dialled) const {
    static const RouteAction kNothing;
    const RouteAction& action = route.action != nullptr ? *route.action : kNothing;
    std::string out, target;
    if (action.redirect) {
      EXPECT_TRUE(append_location(*action.redirect, matcher, head, dialled.port, &target));
      return str_cat(action.redirect->code, " ", target);
    }
    for (const WeightedCluster& cluster : route.clusters)
      str_append(&out, out.empty() ? "" : ", ", share_of(cluster, route));
    EXPECT_TRUE(append_rewritten(action.path_rewrite, matcher, head, &target));
    if (target != head.target) str_append(&out, " ", target);
    if (!action.authority_rewrite.empty()) str_append(&out, " host=", action.authority_rewrite);
    const EditFacts facts{.request = head,
                          .downstream_remote = {},
                          .downstream_local = dialled,
                          .route_name = "",
                          .cluster = "",
                          .upstream_remote = {}};
    str_append(&out, edited(" >", action.request_headers, facts),
               edited(" <", action.response_headers, facts));
    for (const RouteMirror& mirror : route.mirrors)
      str_append(&out, " mirror ", service_of(mirror.cluster), " ", mirror.ppm);
    str_append(&out, patience_of(action), cors_of(action, head));
    return out;
  }

  std::string service_of(uint32_t cluster) const {
    return cluster == kNone ? "none" : snapshot_->clusters[cluster].service;
  }

  std::string share_of(const WeightedCluster& cluster, const Route& route) const {
    std::string out = cluster.invalid ? "500" : service_of(cluster.cluster);
    if (route.clusters.size() > 1) str_append(&out, " ", cluster.weight, "/", route.total_weight);
    if (cluster.action == nullptr) return out;
    const RequestHead none;
    const EditFacts facts{.request = none,
                          .downstream_remote = {},
                          .downstream_local = {},
                          .route_name = "",
                          .cluster = "",
                          .upstream_remote = {}};
    str_append(&out, edited(" >>", cluster.action->request_headers, facts),
               edited(" <<", cluster.action->response_headers, facts));
    return out;
  }

  // The header that is left of three, and what was added.
  static std::string edited(std::string_view mark, const HeaderEdits& edits, const EditFacts& facts) {
    if (edits.empty()) return "";
    std::vector<Header> headers = {{"x-old", "1"}, {"x-keep", "1"}};
    std::string text, out;
    text.reserve(rendered_bytes(edits, facts));
    edit_headers(edits, facts, &text, &headers);
    for (const Header& header : headers) str_append(&out, mark, header.name, "=", header.value);
    return out;
  }

  static std::string patience_of(const RouteAction& action) {
    std::string out;
    if (action.timeout_ms != 0) str_append(&out, " timeout ", action.timeout_ms);
    if (!action.retries) return out;
    str_append(&out, " retries ", action.retries->attempts, " try ", action.retries->per_try_timeout_ms,
               " wait ", action.retries->base_interval_ms);
    for (const uint16_t code : {500, 502, 503, 504}) {
      ResponseHead response;
      response.status = code;
      if (retries_response(*action.retries, response, true)) str_append(&out, " ", code);
    }
    return out;
  }

  static std::string cors_of(const RouteAction& action, const RequestHead& head) {
    if (!action.cors || judge(*action.cors, head) == CorsVerdict::kForward) return "";
    if (judge(*action.cors, head) == CorsVerdict::kRefusedPreflight) return " cors refused";
    std::vector<Header> headers;
    const bool preflight = judge(*action.cors, head) == CorsVerdict::kPreflight;
    add_cors_fields(*action.cors, *head.find("origin"), preflight, &headers);
    std::string out = " cors";
    for (const Header& header : headers)
      str_append(&out, " ", header.name.substr(header.name.rfind('-') + 1), "=", header.value);
    return out;
  }

  control_plane::Compiled compiled_;
  SnapshotPtr snapshot_;
};

// The two forms of one intent, as what stands in "http" and in "rules".
inline std::string virtual_service(std::string_view http) {
  return str_cat(
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: shop}\n",
      "spec:\n  hosts: [cart]\n  http: [", http, "]\n");
}
inline std::string http_route(std::string_view rules,
                              std::string_view metadata = "name: cart, namespace: shop") {
  return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {", metadata, "}\n",
                 "spec:\n  parentRefs: [{group: '', kind: Service, name: cart, namespace: shop}]\n  rules: [",
                 rules, "]\n");
}

// One intent in both forms. `expected`: of each request, in its order.
struct BothForms {
  const char* name;
  const char* http;
  const char* rules;
  std::vector<std::pair<const char*, const char*>> requests;
};

inline void expect_same(const BothForms& row) {
  const RouteWorld istio(virtual_service(row.http));
  const RouteWorld gateway_api(http_route(row.rules));
  for (const auto& [request, expected] : row.requests) {
    const std::string lines = str_cat(request, "\r\nHost: cart");
    EXPECT_EQ(istio.ask(lines), expected) << "VirtualService, " << request;
    EXPECT_EQ(gateway_api.ask(lines), expected) << "HTTPRoute, " << request;
  }
}

}  // namespace weft::proxy
