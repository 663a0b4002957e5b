// VirtualService of Istio's networking API: hosts and HTTP routes with their destinations. Matches are in
// parse_http_match.cc. The result is final: hosts expanded, weights cleaned, routes behind a catch-all gone.
#include <array>
#include <limits>

#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 4> kSpecRead = {"hosts", "gateways", "exportTo", "http"};
constexpr std::array<Names, 2> kSpecKnown = {"tls", "tcp"};
constexpr std::array<Names, 3> kHttpRead = {"name", "match", "route"};
constexpr std::array<Names, 15> kHttpKnown = {
    "redirect",      "directResponse", "delegate",   "rewrite", "timeout",
    "retries",       "fault",          "mirror",     "mirrors", "mirrorPercentage",
    "mirrorPercent", "mirror_percent", "corsPolicy", "headers", "websocketUpgrade"};
constexpr std::array<Names, 2> kRouteRead = {"destination", "weight"};
constexpr std::array<Names, 1> kRouteKnown = {"headers"};
constexpr std::array<Names, 3> kDestinationRead = {"host", "subset", "port"};
constexpr std::array<Names, 1> kPortRead = {"number"};

void parse_hosts(const FieldReader& spec, VirtualService& out) {
  const std::vector<FieldReader> items = spec.items("hosts");
  if (items.empty()) {
    spec.error_at("hosts", kFieldMissing, "at least one host is required",
                  "name the services whose requests are routed");
  }
  for (const FieldReader& item : items) {
    const std::string host = parse_host(item, out.meta.ns);
    if (host.empty()) continue;
    for (const std::string& other : out.routes.hosts()) {
      if (host_covers(other, host) || host_covers(host, other)) {
        item.error(kValueRejected, str_cat("overlaps with host \"", other, "\" of the same VirtualService"),
                   "remove one of the two");
      }
    }
    out.routes.add_hosts(host);
  }
}

void check_gateways(const FieldReader& spec) {
  for (const FieldReader& item : spec.items("gateways")) {
    const auto text = item.as_text();
    if (text && *text != "mesh") {
      item.error(kNotSupportedYet,
                 str_cat("gateway \"", text->substr(0, 64), "\": gateways are not supported yet"),
                 "use \"mesh\", or leave the field out");
    }
  }
}

struct ParsedDestination {
  mesh::v1::Destination destination;
  HostReference reference;
};

ParsedDestination parse_destination(const FieldReader& item, const std::string& ns) {
  ParsedDestination out;
  out.destination.set_weight(
      static_cast<uint32_t>(item.integer("weight", 0, std::numeric_limits<int32_t>::max()).value_or(0)));
  const auto destination = item.child("destination");
  if (!destination) {
    item.error_at("destination", kFieldMissing, "the field is required", "give destination.host");
    return out;
  }
  if (!destination->expect_map({.read = kDestinationRead, .known = {}})) return out;
  const auto host = destination->child("host");
  if (!host) {
    destination->error_at("host", kFieldMissing, "the field is required", "name a service");
    return out;
  }
  out.destination.set_host(parse_host(*host, ns));
  if (out.destination.host().starts_with("*")) {
    host->error(kValueRejected, "a destination cannot be a wildcard", "name one service");
  }
  out.destination.set_subset(destination->text("subset").value_or(""));
  const auto port = destination->child("port");
  if (port && port->expect_map({.read = kPortRead, .known = {}})) {
    if (!port->has("number"))
      port->error_at("number", kFieldMissing, "the field is required", "give the port's number");
    out.destination.set_port(static_cast<uint32_t>(port->integer("number", 1, 65535).value_or(0)));
  }
  const bool subset = !out.destination.subset().empty();
  out.reference = {.host = out.destination.host(),
                   .subset = out.destination.subset(),
                   .line = subset ? destination->line_of("subset") : host->line(),
                   .field = subset ? str_cat(destination->path(), ".subset") : host->path()};
  return out;
}

// Istio: a single destination takes everything; of several those with weight 0 are dropped, and a sum of 0 is
// refused.
void parse_route(const FieldReader& http, VirtualService& out, mesh::v1::HttpRoute& route) {
  const std::vector<FieldReader> items = http.items("route");
  if (items.empty()) {
    http.error_at("route", kFieldMissing, "a route needs at least one destination",
                  "add route: with a destination");
    return;
  }
  uint64_t sum = 0;
  for (const FieldReader& item : items) {
    if (!item.expect_map({.read = kRouteRead, .known = kRouteKnown})) continue;
    ParsedDestination parsed = parse_destination(item, out.meta.ns);
    if (items.size() == 1) parsed.destination.set_weight(1);
    sum += parsed.destination.weight();
    out.references.push_back(std::move(parsed.reference));
    if (parsed.destination.weight() > 0) *route.add_destinations() = std::move(parsed.destination);
  }
  if (sum == 0) {
    http.error_at("route", kWeightsAllZero, "the weights of all destinations are 0",
                  "give at least one destination a weight above 0");
  }
  if (sum > std::numeric_limits<uint32_t>::max()) {
    http.error_at("route", kValueRejected, "the sum of the weights is too large",
                  "use weights that add up to 100");
  }
}

bool parse_http(const FieldReader& item, VirtualService& out, mesh::v1::HttpRoute& route) {
  if (!item.expect_map({.read = kHttpRead, .known = kHttpKnown})) return false;
  route.set_name(item.text("name").value_or(""));
  *route.mutable_origin() = origin_of(out.meta);
  route.mutable_origin()->set_line(item.line());
  bool catch_all = true;
  const std::vector<FieldReader> matches = item.items("match");
  if (!matches.empty()) catch_all = false;
  for (const FieldReader& match : matches) {
    mesh::v1::HttpMatch& parsed = *route.add_matches();
    parse_http_match(match, parsed);
    if (is_catch_all(parsed)) catch_all = true;
  }
  parse_route(item, out, route);
  return catch_all;
}

void parse_http_routes(const FieldReader& spec, VirtualService& out) {
  const std::vector<FieldReader> items = spec.items("http");
  if (items.empty()) {
    spec.error_at("http", kFieldMissing, "at least one route is required", "add http: with a route");
  }
  int ended_by = -1;
  for (size_t i = 0; i < items.size(); ++i) {
    mesh::v1::HttpRoute route;
    const bool catch_all = parse_http(items[i], out, route);
    if (ended_by >= 0) {
      items[i].warning(kRouteUnreachable,
                       str_cat("never reached: http[", ended_by, "] matches every request"),
                       "move it before that route, or remove it");
      continue;
    }
    *out.routes.add_http() = std::move(route);
    if (catch_all) ended_by = static_cast<int>(i);
  }
}

}  // namespace

VirtualService parse_virtual_service(const FieldReader& root, ObjectMeta meta) {
  VirtualService out{.meta = std::move(meta)};
  out.routes.set_name(out.meta.name);
  out.routes.set_namespace_(out.meta.ns);
  out.routes.set_created_unix(out.meta.created_unix);
  *out.routes.mutable_origin() = origin_of(out.meta);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give hosts and http");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = kSpecKnown})) return out;
  parse_hosts(*spec, out);
  check_gateways(*spec);
  for (std::string& ns : parse_export_to(*spec, out.meta.ns, out.hidden))
    out.routes.add_export_to(std::move(ns));
  parse_http_routes(*spec, out);
  return out;
}

}  // namespace weft::control_plane
