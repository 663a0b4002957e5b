// VirtualService of Istio's networking API: hosts and HTTP routes with their destinations. Matches are in
// parse_http_match.cc, what a route does besides in parse_http_action.cc and parse_header_edits.cc. The
// result is final: hosts expanded, weights cleaned, routes behind a catch-all gone.
#include <algorithm>
#include <array>
#include <set>

#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_header_edits.h"
#include "control-plane/resource/parse_http_action.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_rate_limit.h"
#include "control-plane/resource/parse_route_target.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 6> kSpecRead = {"hosts", "gateways", "exportTo", "http", "tls", "tcp"};
constexpr std::array<Names, 17> kHttpRead = {
    "name",          "match",         "route",   "redirect", "directResponse",
    "rewrite",       "fault",         "timeout", "headers",  "delegate",
    "corsPolicy",    "retries",       "mirror",  "mirrors",  "mirrorPercentage",
    "mirrorPercent", "mirror_percent"};
constexpr std::array<Names, 1> kHttpKnown = {"websocketUpgrade"};
constexpr std::array<Names, 3> kRouteRead = {"destination", "weight", "headers"};
constexpr std::array<Names, 2> kMirrorRead = {"destination", "percentage"};
constexpr std::array<Names, 2> kDelegateRead = {"name", "namespace"};

void parse_hosts(const FieldReader& spec, VirtualService& out) {
  const std::vector<FieldReader> items = spec.items("hosts");
  const bool on_mesh = std::find(out.gateways.begin(), out.gateways.end(), "mesh") != out.gateways.end();
  for (const FieldReader& item : items) {
    const bool any = !on_mesh && item.node().scalar == "*";
    const std::string host = any ? "*" : parse_host(item, out.meta.ns);
    if (host.empty()) continue;
    for (const std::string& other : out.routes->hosts()) {
      if (other == "*" || any || host_covers(other, host) || host_covers(host, other)) {
        item.error(kValueRejected, str_cat("overlaps with host \"", other, "\" of the same VirtualService"),
                   "remove one of the two");
      }
    }
    out.routes->add_hosts(host);
  }
}

// The destination of another mirror.
mesh::v1::Destination& add_mirror(mesh::v1::HttpRoute& route) {
  return *route.add_mirrors()->mutable_destination();
}

void end_mirror(uint32_t ppm, mesh::v1::HttpRoute& route) {
  // Switched off.
  if (ppm == 0) return route.mutable_mirrors()->RemoveLast();
  mesh::v1::Mirror& mirror = *route.mutable_mirrors(route.mirrors_size() - 1);
  mirror.mutable_destination()->set_weight(1);
  mirror.set_ppm(ppm);
}

// Without a percentage every request is copied.
uint32_t mirror_ppm(const FieldReader& http) {
  for (const Names old : {"mirrorPercent", "mirror_percent"}) {
    const auto percent = http.integer(old, 0, 100);
    if (percent && !http.has("mirrorPercentage")) return static_cast<uint32_t>(*percent * 10'000);
  }
  return share_ppm(http, "mirrorPercentage").value_or(1'000'000);
}

void parse_mirrors(const FieldReader& http, VirtualService& out, mesh::v1::HttpRoute& route) {
  if (http.has("mirror") && http.has("mirrors"))
    http.error_at("mirrors", kValueRejected, "\"mirror\" and \"mirrors\" exclude each other",
                  "keep one of the two");
  for (const Names mirror : {"mirror", "mirrors"}) {
    if (http.has(mirror) && answers_itself(route))
      http.error_at(mirror, kValueRejected, "a route that answers by itself has nothing to mirror",
                    "remove it");
  }
  if (const auto mirror = http.child("mirror")) {
    parse_target(*mirror, out.meta.ns, add_mirror(route), out.references);
    end_mirror(mirror_ppm(http), route);
  }
  for (const FieldReader& item : http.items("mirrors")) {
    if (!item.expect_map({.read = kMirrorRead, .known = {}})) continue;
    parse_destination(item, out.meta.ns, add_mirror(route), out.references);
    end_mirror(share_ppm(item, "percentage").value_or(1'000'000), route);
  }
}

// Istio: a single destination takes everything; of several those with weight 0 are dropped, and a sum of 0 is
// refused.
void parse_route(const FieldReader& http, VirtualService& out, mesh::v1::HttpRoute& route) {
  const std::vector<FieldReader> items = http.items("route");
  if (items.empty()) {
    http.error_at("route", kFieldMissing, "a route needs at least one destination",
                  "add route: with a destination, or redirect or directResponse");
    return;
  }
  uint64_t sum = 0;
  for (const FieldReader& item : items) {
    if (!item.expect_map({.read = kRouteRead, .known = {}})) continue;
    mesh::v1::Destination& parsed = *route.add_destinations();
    parse_destination(item, out.meta.ns, parsed, out.references);
    if (item.has("headers")) {
      ParsedHeaders headers = parse_header_edits(item);
      if (says_something(headers.request)) *parsed.mutable_request_headers() = std::move(headers.request);
      if (says_something(headers.response)) *parsed.mutable_response_headers() = std::move(headers.response);
      parsed.set_authority(std::move(headers.authority));
    }
    if (items.size() == 1) parsed.set_weight(1);
    sum += parsed.weight();
    if (parsed.weight() == 0) route.mutable_destinations()->RemoveLast();
  }
  check_weight_sum(http, sum);
}

VirtualService::Delegate parse_delegate(const FieldReader& http, VirtualService& out) {
  const auto delegate = http.child("delegate");
  if (!delegate || !delegate->expect_map({.read = kDelegateRead, .known = {}})) return {};
  for (const Names other : {"route", "redirect", "directResponse"}) {
    if (!http.has(other)) continue;
    http.error_at(other, kValueRejected, str_cat("\"delegate\" and \"", other, "\" exclude each other"),
                  "keep one of the two");
  }
  if (out.is_delegate()) {
    delegate->error(kValueRejected, "a VirtualService without hosts is a delegate itself",
                    "delegate once only, or give it hosts");
  }
  out.has_delegates = true;
  return {.ns = delegate->text("namespace").value_or(out.meta.ns),
          .name = delegate->required_text("name", "the name of a VirtualService without hosts"),
          .line = delegate->line(),
          .field = delegate->path()};
}

bool is_for_mesh(const mesh::v1::HttpMatch& match, const VirtualService& service) {
  const auto is_mesh = [](const std::string& place) { return place == "mesh"; };
  return match.gateways().empty() ? std::any_of(service.gateways.begin(), service.gateways.end(), is_mesh)
                                  : std::any_of(match.gateways().begin(), match.gateways().end(), is_mesh);
}

// True when no later route can be reached.
bool parse_http(const FieldReader& item, VirtualService& out, mesh::v1::HttpRoute& route,
                VirtualService::Delegate& delegate) {
  if (!item.expect_map({.read = kHttpRead, .known = kHttpKnown})) return false;
  if (auto name = item.text("name")) route.set_name(*std::move(name));
  *route.mutable_origin() = out.routes->origin();
  route.mutable_origin()->set_line(item.line());
  bool catch_all = true;
  const std::vector<FieldReader> matches = item.items("match");
  if (!matches.empty()) catch_all = false;
  for (const FieldReader& match : matches) {
    mesh::v1::HttpMatch& parsed = *route.add_matches();
    parse_http_match(match, out.meta.ns, parsed);
    if (is_catch_all(parsed)) catch_all = true;
    if (asks_for_claims(parsed) && !out.is_delegate() && is_for_mesh(parsed, out))
      match.warning(kWithoutEffect,
                    "claims of tokens are compared at gateways only: clients in the mesh have none",
                    "give gateways to the match or to the VirtualService, without \"mesh\"");
  }
  parse_http_action(item, route);
  if (item.has("headers")) {
    ParsedHeaders headers = parse_header_edits(item);
    if (says_something(headers.request)) *route.mutable_request_headers() = std::move(headers.request);
    if (says_something(headers.response)) *route.mutable_response_headers() = std::move(headers.response);
    // rewrite.authority beats a Host that is set as a header.
    if (route.authority_rewrite().empty()) route.set_authority_rewrite(std::move(headers.authority));
  }
  parse_mirrors(item, out, route);
  delegate = parse_delegate(item, out);
  if (item.has("delegate")) return false;
  if (!answers_itself(route)) parse_route(item, out, route);
  return catch_all;
}

void parse_http_routes(const FieldReader& spec, VirtualService& out) {
  const std::vector<FieldReader> items = spec.items("http");
  if (items.empty() && !spec.has("tls") && !spec.has("tcp")) {
    spec.error_at("http", kFieldMissing, "at least one route is required",
                  "add http:, tls: or tcp: with a route");
  }
  int ended_by = -1;
  for (size_t i = 0; i < items.size(); ++i) {
    give_way();
    VirtualService::Delegate delegate;
    const bool catch_all = parse_http(items[i], out, *out.routes->add_http(), delegate);
    if (ended_by >= 0) {
      out.routes->mutable_http()->RemoveLast();
      items[i].warning(kRouteUnreachable,
                       str_cat("never reached: http[", ended_by, "] matches every request"),
                       "move it before that route, or remove it");
      continue;
    }
    out.delegates.push_back(std::move(delegate));
    if (catch_all) ended_by = static_cast<int>(i);
  }
}

// Of the VirtualService and of its matches, without the mesh.
std::vector<std::string> gateways_of(const VirtualService& service) {
  std::set<std::string> out(service.gateways.begin(), service.gateways.end());
  for (const mesh::v1::HttpRoute& route : service.routes->http()) {
    for (const auto& match : route.matches()) out.insert(match.gateways().begin(), match.gateways().end());
  }
  for (const auto* list : {&service.routes->tls(), &service.routes->tcp()}) {
    for (const auto& route : *list) {
      for (const auto& match : route.matches()) out.insert(match.gateways().begin(), match.gateways().end());
    }
  }
  out.erase("mesh");
  return {out.begin(), out.end()};
}

}  // namespace

VirtualService parse_virtual_service(const FieldReader& root, ObjectMeta meta) {
  VirtualService out{.meta = std::move(meta)};
  out.routes->set_name(out.meta.name);
  out.routes->set_namespace_(out.meta.ns);
  out.routes->set_created_unix(out.meta.created_unix);
  *out.routes->mutable_origin() = origin_of(out.meta);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give hosts and http");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = {}})) return out;
  if (std::vector<std::string> gateways = parse_gateways(*spec, out.meta.ns); !gateways.empty())
    out.gateways = std::move(gateways);
  parse_hosts(*spec, out);
  if (spec->has("hosts") && spec->items("hosts").empty())
    spec->error_at("hosts", kFieldMissing, "the list is empty",
                   "name hosts, or leave the field out for a delegate");
  if (!spec->has("hosts") && spec->has("gateways"))
    spec->error_at("gateways", kValueRejected, "a VirtualService without hosts has no gateways",
                   "remove them, or give it hosts");
  for (std::string& ns : parse_export_to(*spec, out.meta.ns, out.hidden))
    out.routes->add_export_to(std::move(ns));
  for (const Names layer4 : {"tls", "tcp"}) {
    if (out.is_delegate() && spec->has(layer4))
      spec->error_at(layer4, kValueRejected, "only HTTP routes are delegated", "remove it, or give hosts");
  }
  parse_http_routes(*spec, out);
  parse_layer4_routes(*spec, out);
  out.bound_to = gateways_of(out);
  std::vector<LimitedRoute> limited;
  for (mesh::v1::HttpRoute& route : *out.routes->mutable_http()) limited.push_back({route.name(), &route});
  parse_rate_limits(root, out.meta, limited);
  return out;
}

}  // namespace weft::control_plane
