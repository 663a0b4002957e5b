// Explainer of explain.h. Decides nothing by itself: what it says comes from the snapshot, match_route() and
// mismatch_of(), as in the exchange.
#include "userspace-proxy/config/explain.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/explain_text.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {
namespace {

template <typename... T>
absl::Status unreadable(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts..., "; next: weft trace --help"));
}

// "cart:80" without and with its port; 0: none. IPv6 addresses with a port are in brackets.
std::pair<std::string_view, uint16_t> split_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || IpAddress::parse(text)) return {text, 0};
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + colon + 1, end, port);
  if (read.ec != std::errc() || read.ptr != end || port == 0) return {text, 0};
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, port};
}

bool has_name(const ServiceSpec& service, std::string_view name, std::string_view client_ns) {
  if (const size_t slash = name.find('/'); slash != std::string_view::npos)
    return service.ns == name.substr(0, slash) && service.name == name.substr(slash + 1);
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string stem = str_cat(service.name, ".", service.ns);
  return name == service.host || name == stem || name == str_cat(stem, ".svc") ||
         (name == service.name && client_ns == service.ns);
}

bool has_address(const ServiceSpec& service, const IpAddress& ip) {
  return std::find(service.addresses.begin(), service.addresses.end(), ip) != service.addresses.end();
}

std::string_view protocol_text(Protocol protocol) {
  if (protocol == Protocol::kTcp) return "TCP";
  if (protocol == Protocol::kTls) return "TLS";
  if (protocol == Protocol::kHttp) return "HTTP";
  return protocol == Protocol::kHttp2 ? "HTTP2" : "auto";
}

// The port that is meant when none was named; 0: there are several, or none.
uint16_t usual_port(const ServiceSpec& service, bool http) {
  uint16_t found = 0;
  for (const ServiceSpec::Port& port : service.ports) {
    if (http && (port.protocol == Protocol::kTcp || port.protocol == Protocol::kTls)) continue;
    if (found != 0) return 0;
    found = port.number;
  }
  return found;
}

std::string ports_text(const ServiceSpec& service) {
  std::string out;
  for (const ServiceSpec::Port& port : service.ports)
    str_append(&out, out.empty() ? "" : ", ", port.number, "/", protocol_text(port.protocol));
  return out;
}

absl::Status make_head(const Explainer::Question& question, std::string_view authority,
                       PathNormalisation level, RequestHead* head) {
  head->method = question.method;
  head->authority = authority;
  if (!is_target_text(question.target) || !split_origin_form(question.target, head))
    return unreadable("\"", question.target, "\" is no path; expected one that begins with \"/\"");
  head->target = question.target;
  if (!normalise_target(level, &head->rewritten, head))
    return unreadable("the proxy refuses the path \"", question.target, "\" (400 bad_request)");
  for (const auto& [name, value] : question.headers) {
    if (equals_ignore_case(name, "host")) {
      head->authority = value;
    } else {
      head->headers.push_back(Header{name, value});
    }
  }
  return absl::OkStatus();
}

void set_outcome(Outcome outcome, Explanation* out) {
  out->outcome = label(outcome);
  constexpr std::string_view kTexts[] = {
#define X(name, text, status, help) help,
      WEFT_OUTCOMES(X)
#undef X
  };
  out->outcome_text = kTexts[static_cast<size_t>(outcome)];
}

}  // namespace

// What a question is about.
struct Explainer::Place {
  const ServiceSpec* service = nullptr;
  SocketAddress dialled;
};

Explainer::Explainer() : store_(std::make_unique<ResourceStore>()) {}
Explainer::~Explainer() = default;

absl::Status Explainer::add(std::string_view type_url, std::string_view name, std::string_view body) {
  envoy::service::discovery::v3::Resource resource;
  resource.set_name(std::string(name));
  resource.mutable_resource()->set_type_url(std::string(type_url));
  resource.mutable_resource()->set_value(std::string(body));
  return store_->apply(type_url, resource);
}

void Explainer::build() { snapshot_ = build_snapshot(store_->resources(), 1); }

absl::StatusOr<Explainer::Place> Explainer::find(const Question& question, std::string_view client_ns) const {
  const auto [host, port] = split_port(question.to);
  const std::optional<IpAddress> ip = IpAddress::parse(host);
  for (const auto& [key, service] : store_->resources().services) {
    if (ip ? !has_address(*service, *ip) : !has_name(*service, host, client_ns)) continue;
    Place place{.service = service.get(), .dialled = {.ip = {}, .port = port}};
    if (port == 0) place.dialled.port = usual_port(*service, !question.method.empty());
    if (place.dialled.port == 0)
      return unreadable(service->key, " has the ports ", ports_text(*service), ": name one, ", question.to,
                        ":PORT");
    if (ip) {
      place.dialled.ip = *ip;
    } else if (!service->addresses.empty()) {
      place.dialled.ip = service->addresses.front();
    }
    return place;
  }
  if (ip && port == 0) return unreadable(question.to, " belongs to no service: name a port, IP:PORT");
  if (ip) return Place{.service = nullptr, .dialled = {.ip = *ip, .port = port}};
  return absl::NotFoundError(
      str_cat("no service is called \"", question.to, "\" in namespace ", client_ns,
              "; next: weft get services -A, or weft trace FROM SERVICE --header host:", host));
}

ExplainedTarget Explainer::target_of(const WeightedCluster& weighted, uint64_t total) const {
  ExplainedTarget out;
  out.host = weighted.label;
  out.share = total == 0 ? 0 : 100.0 * weighted.weight / static_cast<double>(total);
  if (weighted.invalid) {
    out.problem = "the backend may not be used: answered 500 invalid_backend";
    return out;
  }
  if (weighted.cluster == kNone) {
    out.problem = "no such host, port or subset: answered 503 no_cluster";
    return out;
  }
  const Cluster& cluster = snapshot_->clusters[weighted.cluster];
  const size_t bar = cluster.name.find('|');
  out.host = cluster.name.substr(0, bar);
  std::from_chars(cluster.name.data() + bar + 1, cluster.name.data() + cluster.name.size(), out.port);
  out.subset = cluster.subset;
  out.load_balancer = load_balancer_text(cluster.load_balancer);
  uint64_t weights = 0;
  for (const Endpoint& endpoint : cluster.endpoints) weights += endpoint.weight;
  for (const Endpoint& endpoint : cluster.endpoints) {
    out.endpoints.push_back(
        {endpoint.address.to_string(), str_cat(endpoint.ns, "/", endpoint.workload),
         out.share * endpoint.weight / static_cast<double>(std::max<uint64_t>(weights, 1))});
  }
  if (out.endpoints.empty()) out.problem = "no usable endpoint: answered 503 no_endpoint";
  return out;
}

std::vector<ExplainedTarget> Explainer::targets_of(const Route& route) const {
  std::vector<ExplainedTarget> out;
  for (const WeightedCluster& cluster : route.clusters) out.push_back(target_of(cluster, route.total_weight));
  return out;
}

absl::Status Explainer::explain_http(const Question& question, uint32_t source, Explanation* out) const {
  const auto [spelling, port] = split_port(question.to);
  RequestHead head;
  const size_t slash = spelling.find('/');
  const std::string authority = slash == std::string_view::npos
                                    ? std::string(spelling)
                                    : str_cat(spelling.substr(slash + 1), ".", spelling.substr(0, slash));
  RETURN_IF_ERROR(make_head(question, authority, snapshot_->path_normalisation, &head));
  const VirtualHost* host = snapshot_->find_virtual_host(source, head.authority, out->dialled);
  if (host == nullptr) {
    set_outcome(Outcome::kNoRoute, out);
    return absl::OkStatus();
  }
  const SourceView client = source_view(*snapshot_, source);
  const RouteMatch match = match_route(*host, head, client, out->dialled.port);
  const bool named = store_->resources().route_sets.contains(host->name);
  for (uint32_t i = 0; i < host->routes.size(); ++i) {
    const Route& route = host->routes[i];
    ExplainedRule rule{.route_set = named ? host->name : "", .index = i, .matched = &route == match.route};
    for (const HttpMatcher& matcher : route.matches) {
      if (rule.matched && &matcher == match.matcher) break;
      rule.why_not.push_back(mismatch_text(matcher, head, client, out->dialled.port));
    }
    if (rule.matched) rule.why_not.clear();
    out->rules.push_back(std::move(rule));
    if (&route == match.route) break;
  }
  if (match.route == nullptr) {
    set_outcome(Outcome::kNoRoute, out);
    return absl::OkStatus();
  }
  describe_action(*match.route, match.matcher, head, out->dialled.port, &out->actions);
  for (const RouteMirror& mirror : match.route->mirrors) {
    const std::string_view to = mirror.cluster == kNone
                                    ? std::string_view("a host that does not exist")
                                    : std::string_view(snapshot_->clusters[mirror.cluster].name);
    out->actions.push_back(str_cat("a copy of ", percent_text(mirror.ppm), " of the requests goes to ", to));
  }
  const RouteAction* action = match.route->action.get();
  if (action != nullptr && action->answers())
    set_outcome(action->redirect ? Outcome::kRedirect : Outcome::kDirectResponse, out);
  out->targets = targets_of(*match.route);
  return absl::OkStatus();
}

// A plain TCP connection: what a server name would choose is not asked.
void Explainer::explain_l4(const L4Host& host, uint32_t source, Explanation* out) const {
  const L4Route* route = match_l4_route(host, false, {}, out->dialled, source_view(*snapshot_, source));
  if (route == nullptr) return set_outcome(Outcome::kNoRoute, out);
  out->actions.push_back(str_cat("tcp route ", route->name));
  for (const WeightedCluster& cluster : route->clusters)
    out->targets.push_back(target_of(cluster, route->total_weight));
}

absl::StatusOr<Explanation> Explainer::explain(const Question& question) const {
  const uint32_t source = snapshot_->find_source(question.from_uid);
  const std::string_view ns = source_view(*snapshot_, source).ns;
  ASSIGN_OR_RETURN(const Place place, find(question, ns));
  Explanation out;
  out.dialled = place.dialled;
  // An address of nobody: bytes pass through, whatever they are.
  if (place.service == nullptr) {
    out.protocol = "TCP";
    return out;
  }
  const ServiceSpec& service = *place.service;
  out.service = str_cat(service.ns, "/", service.name);
  const auto is_dialled = [&](const ServiceSpec::Port& p) { return p.number == place.dialled.port; };
  const auto port = std::find_if(service.ports.begin(), service.ports.end(), is_dialled);
  if (port == service.ports.end())
    return unreadable(out.service, " has no port ", place.dialled.port, ", but ", ports_text(service));
  out.protocol = protocol_text(port->protocol);
  const bool http = port->protocol != Protocol::kTcp && port->protocol != Protocol::kTls;
  if (!question.method.empty() && http) {
    RETURN_IF_ERROR(explain_http(question, source, &out));
    return out;
  }
  // A port with tls or tcp routes is the proxy's.
  if (const L4Host* host = snapshot_->find_l4_host(source, place.dialled); host != nullptr) {
    explain_l4(*host, source, &out);
    return out;
  }
  out.direct = !http;
  WeightedCluster all;
  all.cluster = snapshot_->find_cluster(cluster_name(service, port->number, "", ""));
  all.label = service.host;
  out.targets.push_back(target_of(all, 1));
  return out;
}

std::vector<std::vector<ExplainedTarget>> Explainer::targets(std::string_view ns,
                                                             std::string_view name) const {
  std::vector<std::vector<ExplainedTarget>> out;
  const std::string wanted = str_cat(ns, "/", name);
  for (const auto& [key, index] : snapshot_->virtual_host_by_host) {
    const VirtualHost& host = snapshot_->virtual_hosts[index];
    if (key.ns != ns || host.name != wanted) continue;
    for (const Route& route : host.routes) out.push_back(targets_of(route));
    return out;
  }
  return out;
}

}  // namespace weft::proxy
