// HTTPRoute, GRPCRoute, TLSRoute and TCPRoute of the Gateway API: parents, host names, rules. Matches are in
// parse_route_match.cc, filters in parse_route_filters.cc, backends in parse_route_backends.cc.
#include <array>

#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/resource/gateway_route_parts.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_rate_limit.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 3> kSpecRead = {"parentRefs", "hostnames", "rules"};
constexpr std::array<Names, 2> kTcpSpecRead = {"parentRefs", "rules"};
constexpr std::array<Names, 1> kSpecKnown = {"useDefaultGateways"};
constexpr std::array<Names, 6> kParentRead = {"group", "kind", "namespace", "name", "sectionName", "port"};
constexpr std::array<Names, 6> kHttpRuleRead = {"name",        "matches",  "filters",
                                                "backendRefs", "timeouts", "retry"};
constexpr std::array<Names, 4> kGrpcRuleRead = {"name", "matches", "filters", "backendRefs"};
constexpr std::array<Names, 2> kLayer4RuleRead = {"name", "backendRefs"};
constexpr std::array<Names, 1> kRuleKnown = {"sessionPersistence"};
constexpr size_t kMaxRules = 16;
constexpr int kMaxMatches = 128;

void parse_parent(const FieldReader& item, GatewayRoute& out) {
  if (!item.expect_map({.read = kParentRead, .known = {}})) return;
  const std::string group = item.text("group").value_or(kGatewayGroup);
  const std::string kind = item.text("kind").value_or("Gateway");
  GatewayRoute::Parent parent;
  parent.service = (group.empty() || group == "core") && kind == "Service";
  if (!parent.service && !(group == kGatewayGroup && kind == "Gateway")) {
    item.error_at("kind", kNotSupportedYet,
                  str_cat("a parent of kind ", kind.substr(0, 64), " is not served"),
                  "use a Service (group \"\", kind Service) or a Gateway");
    return;
  }
  parent.name = item.required_text("name", "the parent's name");
  parent.ns = item.text("namespace").value_or(out.meta.ns);
  parent.section = item.text("sectionName").value_or("");
  parent.port = static_cast<uint16_t>(item.integer("port", 1, 65535).value_or(0));
  parent.line = item.line();
  parent.field = item.path();
  if (parent.service && !parent.section.empty())
    item.error_at("sectionName", kNotSupportedYet, "a Service's port is not named here", "give port instead");
  out.parents.push_back(std::move(parent));
}

GatewayRoute begin(GatewayRoute::Kind kind, ObjectMeta meta) {
  GatewayRoute out;
  out.meta = std::move(meta);
  out.kind = kind;
  return out;
}

// The spec, with parents and host names read; nullopt when there is none.
std::optional<FieldReader> parse_spec(const FieldReader& root, std::span<const Names> read,
                                      GatewayRoute& out) {
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give parentRefs and rules");
    return std::nullopt;
  }
  if (!spec->expect_map({.read = read, .known = kSpecKnown})) return std::nullopt;
  parse_parents(*spec, out);
  if (out.kind != GatewayRoute::Kind::kTcp) parse_hostnames(*spec, out);
  return spec;
}

GatewayRoute::Rule begin_rule(const FieldReader& item, const GatewayRoute& route, size_t index) {
  GatewayRoute::Rule rule;
  rule.line = item.line();
  rule.name = item.text("name").value_or("");
  const std::string whose = str_cat(route.meta.ns, "/", route.meta.name);
  rule.http.set_name(rule.name.empty() ? str_cat(whose, "[", index, "]") : str_cat(whose, ".", rule.name));
  *rule.http.mutable_origin() = origin_of(route.meta);
  rule.http.mutable_origin()->set_line(item.line());
  return rule;
}

// Redirects answer by themselves.
void check_backends(const FieldReader& item, const GatewayRoute::Rule& rule) {
  if (rule.http.has_redirect() && !rule.backends.empty())
    item.error_at("backendRefs", kValueRejected, "a rule that redirects has no backends",
                  "remove backendRefs or the filter RequestRedirect");
  if (rule.http.has_redirect() && !rule.mirrors.empty())
    item.error_at("filters", kValueRejected, "a rule that redirects has nothing to mirror",
                  "remove the filter RequestMirror");
}

void check_match_count(const FieldReader& spec, const GatewayRoute& route) {
  int count = 0;
  for (const GatewayRoute::Rule& rule : route.rules) count += rule.http.matches_size();
  if (count > kMaxMatches)
    spec.error_at("rules", kValueRejected, str_cat(count, " matches in one route"),
                  str_cat("use at most ", kMaxMatches, ", in several routes"));
}

GatewayRoute parse_request_route(const FieldReader& root, GatewayRoute out) {
  const bool grpc = out.kind == GatewayRoute::Kind::kGrpc;
  const auto spec = parse_spec(root, kSpecRead, out);
  if (!spec) return out;
  for (const FieldReader& item : parse_rules(*spec, false)) {
    give_way();
    const std::span<const Names> read =
        grpc ? std::span<const Names>(kGrpcRuleRead) : std::span<const Names>(kHttpRuleRead);
    if (!item.expect_map({.read = read, .known = kRuleKnown})) continue;
    GatewayRoute::Rule rule = begin_rule(item, out, out.rules.size());
    grpc ? parse_grpc_matches(item, rule.http) : parse_http_matches(item, rule.http);
    parse_rule_filters(item, grpc, out, rule);
    if (!grpc) parse_route_patience(item, rule.http);
    parse_backends(item, BackendFilters::kHttp, out.meta.ns, rule);
    check_backends(item, rule);
    out.rules.push_back(std::move(rule));
  }
  check_match_count(*spec, out);
  std::vector<LimitedRoute> limited;
  for (GatewayRoute::Rule& rule : out.rules) limited.push_back({rule.name, &rule.http});
  parse_rate_limits(root, out.meta, limited);
  return out;
}

GatewayRoute parse_connection_route(const FieldReader& root, std::span<const Names> read, GatewayRoute out) {
  const auto spec = parse_spec(root, read, out);
  if (!spec) return out;
  if (out.kind == GatewayRoute::Kind::kTls && out.hostnames.empty())
    spec->error_at("hostnames", kFieldMissing, "a TLSRoute names at least one server", "give hostnames");
  for (const FieldReader& item : parse_rules(*spec, true)) {
    if (!item.expect_map({.read = kLayer4RuleRead, .known = {}})) continue;
    GatewayRoute::Rule rule = begin_rule(item, out, out.rules.size());
    parse_backends(item, BackendFilters::kNone, out.meta.ns, rule);
    out.rules.push_back(std::move(rule));
  }
  return out;
}

}  // namespace

void parse_parents(const FieldReader& spec, GatewayRoute& out) {
  constexpr size_t kMaxParents = 32;
  const std::vector<FieldReader> items = spec.items("parentRefs");
  if (items.size() > kMaxParents)
    spec.error_at("parentRefs", kValueRejected, str_cat(items.size(), " parents"),
                  str_cat("use at most ", kMaxParents));
  for (const FieldReader& item : items) parse_parent(item, out);
  if (items.empty())
    spec.warning(kWithoutEffect, "a route without parents takes no traffic",
                 "give parentRefs: a Service or a Gateway");
}

void parse_hostnames(const FieldReader& spec, GatewayRoute& out) {
  constexpr size_t kMaxHostnames = 16;
  const std::vector<FieldReader> items = spec.items("hostnames");
  if (items.size() > kMaxHostnames)
    spec.error_at("hostnames", kValueRejected, str_cat(items.size(), " host names"),
                  str_cat("use at most ", kMaxHostnames));
  for (const FieldReader& item : items) {
    const auto text = item.as_text();
    if (!text) continue;
    if (is_host_name(*text)) {
      out.hostnames.push_back(expand_host(*text, out.meta.ns));
      // One label is a whole name here.
      if (text->find('.') == std::string::npos) out.hostnames.back() = text->substr(0, 63);
    } else {
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no host name"),
                 "use a DNS name, or \"*.\" and a DNS name, without a port");
    }
  }
}

std::vector<FieldReader> parse_rules(const FieldReader& spec, bool required) {
  std::vector<FieldReader> items = spec.items("rules");
  if (items.empty() && required)
    spec.error_at("rules", kFieldMissing, "at least one rule is required", "add rules: with backendRefs");
  if (items.size() > kMaxRules)
    spec.error_at("rules", kValueRejected, str_cat(items.size(), " rules"),
                  str_cat("use at most ", kMaxRules, " in one route"));
  return items;
}

GatewayRoute parse_http_route(const FieldReader& root, ObjectMeta meta) {
  return parse_request_route(root, begin(GatewayRoute::Kind::kHttp, std::move(meta)));
}

GatewayRoute parse_grpc_route(const FieldReader& root, ObjectMeta meta) {
  return parse_request_route(root, begin(GatewayRoute::Kind::kGrpc, std::move(meta)));
}

GatewayRoute parse_tls_route(const FieldReader& root, ObjectMeta meta) {
  return parse_connection_route(root, kSpecRead, begin(GatewayRoute::Kind::kTls, std::move(meta)));
}

GatewayRoute parse_tcp_route(const FieldReader& root, ObjectMeta meta) {
  return parse_connection_route(root, kTcpSpecRead, begin(GatewayRoute::Kind::kTcp, std::move(meta)));
}

}  // namespace weft::control_plane
