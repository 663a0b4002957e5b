// spec.tls and spec.tcp of a VirtualService: connections that are not HTTP, told apart by server name,
// dialled address and client. Semantics: Istio's TLSRoute and TCPRoute.
#include <algorithm>
#include <array>

#include "base/ip_range.h"
#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_route_target.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 2> kRouteRead = {"match", "route"};
constexpr std::array<Names, 6> kTlsMatchRead = {"sniHosts",     "destinationSubnets", "port",
                                                "sourceLabels", "sourceNamespace",    "gateways"};
constexpr std::array<Names, 5> kTcpMatchRead = {"destinationSubnets", "port", "sourceLabels",
                                                "sourceNamespace", "gateways"};
constexpr std::array<Names, 1> kTcpMatchKnown = {"sourceSubnet"};
constexpr std::array<Names, 2> kDestinationRead = {"destination", "weight"};

void parse_server_names(const FieldReader& match, const VirtualService& service, mesh::v1::L4Match& out) {
  const std::vector<FieldReader> items = match.items("sniHosts");
  if (items.empty())
    match.error_at("sniHosts", kFieldMissing, "a TLS match names at least one server", "give sniHosts");
  for (const FieldReader& item : items) {
    const std::string host = parse_host(item, service.meta.ns);
    if (host.empty()) continue;
    const auto& hosts = service.routes->hosts();
    if (std::none_of(hosts.begin(), hosts.end(), [&](const std::string& h) { return host_covers(h, host); }))
      item.error(kValueRejected, str_cat("\"", host, "\" is none of the VirtualService's hosts"),
                 "add it to hosts, or match a name that is there");
    out.add_sni_hosts(host);
  }
}

void parse_match(const FieldReader& match, bool tls, const VirtualService& service, mesh::v1::L4Match& out) {
  const bool map = tls ? match.expect_map({.read = kTlsMatchRead, .known = {}})
                       : match.expect_map({.read = kTcpMatchRead, .known = kTcpMatchKnown});
  if (!map) return;
  for (std::string& gateway : parse_gateways(match, service.meta.ns)) out.add_gateways(std::move(gateway));
  if (tls) parse_server_names(match, service, out);
  for (const FieldReader& item : match.items("destinationSubnets")) {
    const auto text = item.as_text();
    if (!text) continue;
    if (!IpRange::parse(*text))
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no address or prefix"),
                 "write it as 10.0.0.0/8 or fd00::/8");
    out.add_destination_subnets(*text);
  }
  out.set_port(static_cast<uint32_t>(match.integer("port", 1, 65535).value_or(0)));
  for (const auto& [key, value] : match.text_map("sourceLabels")) (*out.mutable_source_labels())[key] = value;
  out.set_source_namespace(match.text("sourceNamespace").value_or(""));
}

// As of HTTP routes: a single destination takes everything, of several those with weight 0 are dropped.
void parse_route(const FieldReader& item, VirtualService& out, mesh::v1::L4Route& route) {
  const std::vector<FieldReader> items = item.items("route");
  if (items.empty()) {
    item.error_at("route", kFieldMissing, "a route needs at least one destination",
                  "add route: with a destination");
    return;
  }
  uint64_t sum = 0;
  for (const FieldReader& target : items) {
    if (!target.expect_map({.read = kDestinationRead, .known = {}})) continue;
    mesh::v1::Destination& parsed = *route.add_destinations();
    parse_destination(target, out.meta.ns, parsed, out.references);
    if (items.size() == 1) parsed.set_weight(1);
    sum += parsed.weight();
    if (parsed.weight() == 0) route.mutable_destinations()->RemoveLast();
  }
  check_weight_sum(item, sum);
}

template <typename List>
void parse_list(const FieldReader& spec, Names field, VirtualService& out, List& list) {
  const bool tls = field == "tls";
  for (const FieldReader& item : spec.items(field)) {
    if (!item.expect_map({.read = kRouteRead, .known = {}})) continue;
    mesh::v1::L4Route& route = *list.Add();
    *route.mutable_origin() = origin_of(out.meta);
    route.mutable_origin()->set_line(item.line());
    route.set_name(str_cat(out.meta.ns, "/", out.meta.name, ".", field, "[", list.size() - 1, "]"));
    const std::vector<FieldReader> matches = item.items("match");
    if (tls && matches.empty())
      item.error_at("match", kFieldMissing, "a TLS route needs a match", "give match: with sniHosts");
    for (const FieldReader& match : matches) parse_match(match, tls, out, *route.add_matches());
    parse_route(item, out, route);
  }
}

}  // namespace

void parse_layer4_routes(const FieldReader& spec, VirtualService& out) {
  parse_list(spec, "tls", out, *out.routes->mutable_tls());
  parse_list(spec, "tcp", out, *out.routes->mutable_tcp());
}

}  // namespace weft::control_plane
