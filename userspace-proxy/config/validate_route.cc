// Checks and compiles RouteSets (weft.mesh.v1). Called through validate.h; whether a host or subset exists is
// not its question: that may change without the resource changing.
#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "base/claim_name.h"
#include "base/courtesy.h"
#include "base/status_macros.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/config/validate_action.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;

constexpr uint32_t kMaxPort = 65535;
constexpr size_t kMaxHostBytes = 253;

template <typename... T>
absl::Status invalid(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts...));
}

// Of headers and of query parameters. The former may name claims.
template <typename List>
absl::StatusOr<std::vector<NamedMatcher>> compile_named(const List& list, std::string_view field,
                                                        bool headers) {
  std::vector<NamedMatcher> out;
  for (const mesh::HeaderMatch& h : list) {
    if (h.name().empty()) return invalid(field, ": a name is empty");
    auto value = compile_string(h.value(), StringMatcher::Kind::kPresent);
    if (!value.ok()) return annotate(str_cat(field, "[", h.name(), "]"), value.status());
    NamedMatcher named{.name = h.name(), .value = *std::move(value)};
    if (headers && names_claim(h.name())) {
      const auto path = claim_path(h.name());
      if (!path) return invalid(field, "[", h.name(), "]: names no claim");
      named.claim = claim_key(*path);
    }
    out.push_back(std::move(named));
  }
  return out;
}

// Null: none is named.
absl::StatusOr<DialIdentityPtr> compile_identity(std::string_view field, std::string_view text,
                                                 DialIdentityTable& identities) {
  if (text.empty()) return nullptr;
  const std::optional<SpiffeId> id = SpiffeId::parse(text);
  if (!id) return invalid(field, ": \"", text, "\", expected an identity of the mesh");
  return identities.of(*id);
}

absl::StatusOr<GatewayPolicyNames> compile_policies(const mesh::GatewayPolicies& policies,
                                                    DialIdentityTable& identities) {
  GatewayPolicyNames out{
      .authorizations = {policies.authorizations().begin(), policies.authorizations().end()},
      .authentications = {policies.request_authentications().begin(),
                          policies.request_authentications().end()}};
  ASSIGN_OR_RETURN(out.asks_as, compile_identity("policies.asks_as", policies.asks_as(), identities));
  return out;
}

absl::StatusOr<DestinationSpec> compile_destination(const mesh::Destination& d) {
  DestinationSpec spec;
  if (d.invalid()) {
    spec.invalid = true;
    spec.weight = d.weight();
    return spec;
  }
  ASSIGN_OR_RETURN(spec.host, normalise_host(d.host(), false));
  if (d.port() > kMaxPort)
    return invalid("destination ", d.host(), ": port ", d.port(), ", expected 0-65535");
  spec.port = static_cast<uint16_t>(d.port());
  spec.subset = d.subset();
  spec.weight = d.weight();
  auto action = compile_action(d);
  if (!action.ok()) return annotate(str_cat("destination ", d.host()), action.status());
  spec.action = *std::move(action);
  return spec;
}

template <typename Route>
absl::StatusOr<std::vector<DestinationSpec>> compile_destinations(const Route& route) {
  std::vector<DestinationSpec> out;
  out.reserve(static_cast<size_t>(route.destinations_size()));
  uint64_t total = 0;
  for (const mesh::Destination& d : route.destinations()) {
    ASSIGN_OR_RETURN(DestinationSpec spec, compile_destination(d));
    total += d.weight();
    if (d.weight() != 0) out.push_back(std::move(spec));
  }
  if (total == 0) return invalid("destinations: the weights add up to 0, expected at least one above 0");
  if (total > std::numeric_limits<uint32_t>::max())
    return invalid("destinations: the weights add up to ", total);
  return out;
}

absl::StatusOr<std::vector<MirrorSpec>> compile_mirrors(const mesh::HttpRoute& route) {
  constexpr uint32_t kMillion = 1'000'000;
  std::vector<MirrorSpec> out;
  for (const mesh::Mirror& mirror : route.mirrors()) {
    if (mirror.ppm() == 0 || mirror.ppm() > kMillion)
      return invalid("mirrors: a share of ", mirror.ppm(), " ppm");
    auto destination = compile_destination(mirror.destination());
    if (!destination.ok()) return annotate("mirrors", destination.status());
    out.push_back(MirrorSpec{*std::move(destination), mirror.ppm()});
  }
  return out;
}

absl::StatusOr<RouteSpec> compile_route(const mesh::HttpRoute& route, LimiterTable& limiters,
                                        DialIdentityTable& identities) {
  RouteSpec out;
  out.name = route.name();
  out.matches.reserve(static_cast<size_t>(route.matches_size()));
  for (int i = 0; i < route.matches_size(); ++i) {
    auto match = compile_match(route.matches(i));
    if (!match.ok()) return annotate(str_cat("matches[", i, "]"), match.status());
    out.matches.push_back(*std::move(match));
  }
  ASSIGN_OR_RETURN(out.action, compile_action(route, limiters));
  if (out.action != nullptr && out.action->answers()) {
    if (route.destinations_size() > 0) return invalid("destinations: the route answers by itself");
    return out;
  }
  ASSIGN_OR_RETURN(out.destinations, compile_destinations(route));
  ASSIGN_OR_RETURN(out.mirrors, compile_mirrors(route));
  ASSIGN_OR_RETURN(out.dials_as, compile_identity("dials_as", route.dials_as(), identities));
  return out;
}

absl::StatusOr<L4Matcher> compile_l4_match(const mesh::L4Match& match) {
  L4Matcher out;
  for (const std::string& host : match.sni_hosts()) {
    if (host == "*") {
      out.sni_hosts.emplace_back();
      continue;
    }
    ASSIGN_OR_RETURN(std::string normal, normalise_host(host, true));
    out.sni_hosts.push_back(std::move(normal));
  }
  for (const std::string& subnet : match.destination_subnets()) {
    const auto range = IpRange::parse(subnet);
    if (!range) return invalid("destination_subnets: \"", subnet, "\" is no prefix of addresses");
    out.subnets.push_back(*range);
  }
  if (match.port() > kMaxPort) return invalid("port: ", match.port(), ", expected 0-65535");
  out.port = static_cast<uint16_t>(match.port());
  out.source_ns = match.source_namespace();
  out.source_labels.assign(match.source_labels().begin(), match.source_labels().end());
  std::sort(out.source_labels.begin(), out.source_labels.end());
  return out;
}

template <typename List>
absl::StatusOr<std::vector<L4RouteSpec>> compile_l4(std::string_view field, const List& list,
                                                    const RouteSetSpec& set, DialIdentityTable& identities) {
  std::vector<L4RouteSpec> out;
  for (const mesh::L4Route& route : list) {
    const std::string place = str_cat(field, "[", out.size(), "]");
    L4RouteSpec spec;
    spec.name = route.name().empty() ? str_cat(set.ns, "/", set.name, ".", place) : route.name();
    for (const mesh::L4Match& match : route.matches()) {
      auto matcher = compile_l4_match(match);
      if (!matcher.ok()) return annotate(str_cat(place, ".matches"), matcher.status());
      spec.matches.push_back(*std::move(matcher));
    }
    auto destinations = compile_destinations(route);
    if (!destinations.ok()) return annotate(place, destinations.status());
    spec.destinations = *std::move(destinations);
    auto dials_as = compile_identity("dials_as", route.dials_as(), identities);
    if (!dials_as.ok()) return annotate(place, dials_as.status());
    spec.dials_as = *std::move(dials_as);
    out.push_back(std::move(spec));
  }
  return out;
}

absl::StatusOr<TlsVersion> compile_version(mesh::TlsServer::Version version) {
  switch (version) {
    case mesh::TlsServer::TLS_AUTO:
      return TlsVersion::kAuto;
    case mesh::TlsServer::TLS_1_2:
      return TlsVersion::k12;
    case mesh::TlsServer::TLS_1_3:
      return TlsVersion::k13;
    default:
      return invalid("version ", static_cast<int>(version), " is unknown");
  }
}

absl::StatusOr<RouteSetSpec::Gateway::Server> compile_server(const mesh::TlsServer& server,
                                                             const RouteSetSpec& set,
                                                             DialIdentityTable& identities) {
  RouteSetSpec::Gateway::Server out;
  ASSIGN_OR_RETURN(out.policies, compile_policies(server.policies(), identities));
  for (const std::string& host : server.hosts()) {
    if (host == "*") {
      out.hosts.emplace_back();
      continue;
    }
    ASSIGN_OR_RETURN(std::string normal, normalise_host(host, true));
    out.hosts.push_back(std::move(normal));
  }
  using Server = mesh::TlsServer;
  if (server.mode() == Server::PASSTHROUGH) return out;
  if (server.mode() != Server::SIMPLE && server.mode() != Server::MUTUAL)
    return invalid("mode ", static_cast<int>(server.mode()), " is unknown");
  const bool mutual = server.mode() == Server::MUTUAL;
  if (mutual && server.client_roots().empty() && server.identity().empty() && server.problem().empty())
    return invalid("mode MUTUAL without client_roots");
  if (server.name().empty()) return invalid("name: empty, expected one that no other server of the port has");
  auto terms = std::make_shared<ServerTerms>();
  terms->name = server.name();
  terms->mutual = mutual;
  terms->optional = mutual && server.client_certificate_optional();
  if (!server.identity().empty() && server.problem().empty()) {
    terms->identity = SpiffeId::parse(server.identity());
    if (!mutual || !terms->identity) return invalid("identity: expected one of the mesh, with mode MUTUAL");
  }
  terms->client_names.assign(server.client_names().begin(), server.client_names().end());
  terms->ciphers.assign(server.cipher_suites().begin(), server.cipher_suites().end());
  terms->opaque = server.opaque();
  terms->problem = server.problem();
  ASSIGN_OR_RETURN(terms->min, compile_version(server.min_version()));
  ASSIGN_OR_RETURN(terms->max, compile_version(server.max_version()));
  out.terms = std::move(terms);
  out.certificates.assign(server.certificates().begin(), server.certificates().end());
  out.roots = server.client_roots();
  ASSIGN_OR_RETURN(out.tcp, compile_l4("tcp", server.tcp(), set, identities));
  return out;
}

bool names_identity(const mesh::RouteSet& set) {
  const auto names = [](const auto& route) { return !route.dials_as().empty(); };
  return std::any_of(set.http().begin(), set.http().end(), names) ||
         std::any_of(set.tls().begin(), set.tls().end(), names) ||
         std::any_of(set.tcp().begin(), set.tcp().end(), names);
}

absl::Status compile_servers(const mesh::RouteSet& set, DialIdentityTable& identities, RouteSetSpec* out) {
  for (const mesh::TlsServer& server : set.gateway().servers()) {
    auto one = compile_server(server, *out, identities);
    if (!one.ok())
      return annotate(str_cat("gateway.servers[", out->gateway->servers.size(), "]"), one.status());
    out->gateway->servers.push_back(*std::move(one));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<RouteSetSpec::Gateway>> compile_gateway(const mesh::RouteSet& set,
                                                                     DialIdentityTable& identities) {
  if (!set.has_gateway()) return std::nullopt;
  const mesh::GatewayBinding& binding = set.gateway();
  if (binding.port() == 0 || binding.port() > kMaxPort)
    return invalid("gateway.port: ", binding.port(), ", expected 1-65535");
  RouteSetSpec::Gateway out{.port = static_cast<uint16_t>(binding.port()),
                            .any_host = binding.any_host(),
                            .server = binding.server(),
                            .policies = {},
                            .identities = {},
                            .servers = {}};
  ASSIGN_OR_RETURN(out.policies, compile_policies(binding.policies(), identities));
  for (const std::string& text : binding.identities()) {
    const std::optional<SpiffeId> id = SpiffeId::parse(text);
    if (!id) return invalid("gateway.identities: \"", text, "\", expected an identity of the mesh");
    out.identities.push_back(*id);
  }
  // Else requests of every listener would have them.
  if (binding.kind() == mesh::GatewayBinding::TLS && out.server.empty() && set.http_size() > 0)
    return invalid("gateway.server: empty, expected the server that decrypts the requests of http");
  switch (binding.kind()) {
    case mesh::GatewayBinding::HTTP:
      out.kind = GatewayPort::Kind::kHttp;
      return out;
    case mesh::GatewayBinding::TLS:
      out.kind = GatewayPort::Kind::kTls;
      return out;
    case mesh::GatewayBinding::TCP:
      out.kind = GatewayPort::Kind::kTcp;
      return out;
    default:
      return invalid("gateway.kind: ", static_cast<int>(binding.kind()), " is unknown");
  }
}

}  // namespace

absl::StatusOr<StringMatcher> compile_string(const mesh::StringMatch& match, StringMatcher::Kind unset,
                                             bool ignore_case) {
  StringMatcher out;
  out.kind = unset;
  switch (match.kind_case()) {
    case mesh::StringMatch::kExact:
      out.kind = StringMatcher::Kind::kExact;
      out.text = match.exact();
      break;
    case mesh::StringMatch::kPrefix:
      out.kind = StringMatcher::Kind::kPrefix;
      out.text = match.prefix();
      break;
    case mesh::StringMatch::kRegex: {
      out.kind = StringMatcher::Kind::kRegex;
      out.text = match.regex();
      ASSIGN_OR_RETURN(out.regex, compile_regex(match.regex()));
      break;
    }
    case mesh::StringMatch::kSegments:
      out.kind = StringMatcher::Kind::kSegments;
      out.text = match.segments();
      if (out.text.ends_with('/')) out.text.pop_back();
      break;
    case mesh::StringMatch::kPresent:
      out.kind = StringMatcher::Kind::kPresent;
      break;
    case mesh::StringMatch::KIND_NOT_SET:
      break;
  }
  // Istio: only for exact and prefix.
  out.ignore_case = ignore_case && out.kind != StringMatcher::Kind::kRegex;
  return out;
}

absl::StatusOr<std::string> normalise_host(std::string_view host, bool wildcard_allowed) {
  std::string out(host);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (!out.empty() && out.back() == '.') out.pop_back();
  const bool wildcard = out.size() > 2 && out.compare(0, 2, "*.") == 0;
  if (wildcard && wildcard_allowed) out.erase(0, 1);
  if (out.empty() || out.size() > kMaxHostBytes)
    return invalid("host \"", host, "\": expected 1-253 characters");
  const bool bad_dot = out.front() == '.' && !(wildcard && wildcard_allowed);
  if (bad_dot || out.find_first_of("*:/ \t\r\n") != std::string::npos) {
    return invalid("host \"", host, "\": expected a host name",
                   wildcard_allowed ? ", or one that begins with \"*.\"" : " without wildcard");
  }
  return out;
}

absl::StatusOr<HttpMatcher> compile_match(const mesh::HttpMatch& match) {
  constexpr StringMatcher::Kind kAny = StringMatcher::Kind::kAny;
  HttpMatcher out;
  auto uri = compile_string(match.uri(), kAny, match.ignore_uri_case());
  if (!uri.ok()) return annotate("uri", uri.status());
  out.uri = *std::move(uri);
  auto method = compile_string(match.method(), kAny);
  if (!method.ok()) return annotate("method", method.status());
  out.method = *std::move(method);
  auto authority = compile_string(match.authority(), kAny);
  if (!authority.ok()) return annotate("authority", authority.status());
  out.authority = *std::move(authority);
  auto scheme = compile_string(match.scheme(), kAny);
  if (!scheme.ok()) return annotate("scheme", scheme.status());
  out.scheme = *std::move(scheme);
  ASSIGN_OR_RETURN(out.headers, compile_named(match.headers(), "headers", true));
  ASSIGN_OR_RETURN(out.without_headers, compile_named(match.without_headers(), "without_headers", true));
  ASSIGN_OR_RETURN(out.query_params, compile_named(match.query_params(), "query_params", false));
  if (match.port() > kMaxPort) return invalid("port: ", match.port(), ", expected 0-65535");
  out.port = static_cast<uint16_t>(match.port());
  out.source_ns = match.source_namespace();
  out.source_labels.assign(match.source_labels().begin(), match.source_labels().end());
  std::sort(out.source_labels.begin(), out.source_labels.end());
  return out;
}

absl::StatusOr<RouteSetSpec> validate(const mesh::RouteSet& set, LimiterTable& limiters,
                                      DialIdentityTable& identities) {
  RouteSetSpec out;
  out.name = set.name();
  out.ns = set.namespace_();
  out.created = set.created_unix();
  if (out.name.empty() || out.ns.empty()) return invalid("name and namespace must not be empty");
  ASSIGN_OR_RETURN(out.gateway, compile_gateway(set, identities));
  if (!out.gateway && names_identity(set)) return invalid("dials_as: pods prove what they are themselves");
  RETURN_IF_ERROR(compile_servers(set, identities, &out));
  const bool any_host =
      out.gateway && (out.gateway->any_host || out.gateway->kind != GatewayPort::Kind::kHttp);
  if (set.hosts().empty() && !any_host) return invalid("hosts: empty, expected at least one host name");
  for (const std::string& host : set.hosts()) {
    ASSIGN_OR_RETURN(std::string normal, normalise_host(host, true));
    out.hosts.push_back(std::move(normal));
  }
  out.export_to.assign(set.export_to().begin(), set.export_to().end());
  if (set.port() > kMaxPort) return invalid("port: ", set.port(), ", expected 0-65535");
  out.by_address = set.by_address();
  out.port = static_cast<uint16_t>(set.port());
  out.consumer = set.consumer();
  ASSIGN_OR_RETURN(out.tls, compile_l4("tls", set.tls(), out, identities));
  ASSIGN_OR_RETURN(out.tcp, compile_l4("tcp", set.tcp(), out, identities));
  out.routes.reserve(static_cast<size_t>(set.http_size()));
  for (int i = 0; i < set.http_size(); ++i) {
    give_way();
    const mesh::HttpRoute& http = set.http(i);
    auto route = compile_route(http, limiters, identities);
    if (!route.ok()) return annotate(str_cat("http[", i, "]"), route.status());
    if (route->name.empty()) route->name = str_cat(out.ns, "/", out.name, "[", i, "]");
    for (int m = 0; m < http.matches_size(); ++m) {
      if (http.matches(m).name().empty()) continue;
      route->matches[static_cast<size_t>(m)].route_name = str_cat(route->name, ".", http.matches(m).name());
    }
    out.routes.push_back(*std::move(route));
  }
  std::vector<std::span<const HttpMatcher>> matches;
  matches.reserve(out.routes.size());
  for (const RouteSpec& route : out.routes) matches.emplace_back(route.matches);
  out.index = index_routes(matches);
  return out;
}

}  // namespace weft::proxy
