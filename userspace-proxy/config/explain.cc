// Explainer of explain.h. Decides nothing by itself: what it says comes from the snapshot, match_route() and
// mismatch_of(), as in the exchange.
#include "userspace-proxy/config/explain.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/explain_text.h"
#include "userspace-proxy/config/host_index.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {
namespace {

constexpr uint16_t kHttpPort = 80;
constexpr uint32_t kAll = 1'000'000;  // parts per million

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

// As a client would write it: the port is told where it is not HTTP's.
std::string authority_of(std::string_view to, uint16_t dialled_port) {
  const auto [spelling, port] = split_port(to);
  const size_t slash = spelling.find('/');
  std::string out = slash == std::string_view::npos
                        ? std::string(spelling)
                        : str_cat(spelling.substr(slash + 1), ".", spelling.substr(0, slash));
  if (out.find(':') != std::string::npos) out = str_cat("[", out, "]");
  return dialled_port == kHttpPort ? out : str_cat(out, ":", dialled_port);
}

bool has_port(const ServiceSpec& service, uint16_t number) {
  return std::any_of(service.ports.begin(), service.ports.end(),
                     [number](const ServiceSpec::Port& port) { return port.number == number; });
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
  uint16_t port = 0;  // as the service numbers it
  SocketAddress dialled;
};

// What clients get to of one RouteSet; indices of the snapshot in their order.
struct Explainer::Reached {
  std::set<uint32_t> own_http, http;  // of clients of its own namespace, of any
  std::set<uint32_t> own_l4, l4;
};

Explainer::Explainer() : store_(std::make_unique<ResourceStore>(PathNormalisation::kBase, false)) {}
Explainer::~Explainer() = default;

absl::Status Explainer::add(std::string_view type_url, std::string_view name, std::string_view body) {
  envoy::service::discovery::v3::Resource resource;
  resource.set_name(std::string(name));
  resource.mutable_resource()->set_type_url(std::string(type_url));
  resource.mutable_resource()->set_value(std::string(body));
  return store_->apply(type_url, resource);
}

void Explainer::build() {
  snapshot_ = build_snapshot(store_->resources(), 1);
  reached_.clear();
  const auto is_own = [&](const std::string& resource, const std::string& ns) {
    const auto set = store_->resources().route_sets.find(resource);
    return set != store_->resources().route_sets.end() && (ns.empty() || set->second->ns == ns);
  };
  const auto reach_http = [&](const std::string& ns, uint32_t index) {
    const std::string& resource = snapshot_->virtual_hosts[index]->resource;
    if (resource.empty()) return;
    Reached& row = reached_[resource];
    (is_own(resource, ns) ? row.own_http : row.http).insert(index);
  };
  const auto reach_l4 = [&](const std::string& ns, uint32_t index) {
    const std::string& resource = snapshot_->l4_hosts[index].resource;
    Reached& row = reached_[resource];
    (is_own(resource, ns) ? row.own_l4 : row.l4).insert(index);
  };
  for (const auto& [key, index] : snapshot_->virtual_host_by_host) reach_http(key.ns, index);
  for (const auto& [key, index] : snapshot_->virtual_host_by_address) reach_http(key.ns, index);
  for (const auto& [key, index] : snapshot_->routed_host_by_address) reach_http(key.ns, index);
  for (const auto& [key, index] : snapshot_->gateway_host_by_host) reach_http("", index);
  for (const auto& [key, index] : snapshot_->l4_host_by_address) reach_l4(key.ns, index);
  for (const auto& [number, port] : snapshot_->gateway_ports) {
    if (port.l4_host != kNone) reach_l4("", port.l4_host);
  }
  for (const GatewayServer& server : snapshot_->gateway_servers) {
    if (server.l4_host != kNone) reach_l4("", server.l4_host);
  }
}

// The service that has endpoints where no service has an address.
const ServiceSpec* Explainer::service_at(uint32_t source, const SocketAddress& dialled) const {
  const ServicePort* port = snapshot_->find_service_port(source, dialled);
  if (port == nullptr) return nullptr;
  for (const auto& [key, service] : store_->resources().services) {
    if (service->ns == port->ns && service->name == port->service && service->entry == port->entry)
      return service.get();
  }
  return nullptr;
}

// Of those that the client sees: a Service, before what its own namespace has added, before what others have.
const ServiceSpec* Explainer::service_called(std::string_view host, const std::optional<IpAddress>& ip,
                                             std::string_view client_ns) const {
  const auto rank = [&](const ServiceSpec& s) { return !s.entry ? 0 : s.ns == client_ns ? 1 : 2; };
  const ServiceSpec* best = nullptr;
  for (const auto& [key, service] : store_->resources().services) {
    if (ip ? !has_address(*service, *ip) : !has_name(*service, host, client_ns)) continue;
    if (!visible_in(*service, client_ns)) continue;
    if (best == nullptr || rank(*service) < rank(*best)) best = service.get();
  }
  return best;
}

absl::StatusOr<Explainer::Place> Explainer::find(const Question& question, uint32_t source,
                                                 std::string_view client_ns) const {
  const auto [host, port] = split_port(question.to);
  const std::optional<IpAddress> ip = IpAddress::parse(host);
  if (const ServiceSpec* const service = service_called(host, ip, client_ns); service != nullptr) {
    Place place{.service = service, .port = port, .dialled = {}};
    if (port == 0) place.port = usual_port(*service, !question.method.empty());
    if (place.port == 0)
      return unreadable(service->key, " has the ports ", ports_text(*service), ": name one, ", question.to,
                        ":PORT");
    if (!has_port(*service, place.port))
      return unreadable(service->ns, "/", service->name, " has no port ", place.port, ", but ",
                        ports_text(*service));
    place.dialled.port = place.port;
    if (ip) place.dialled.ip = *ip;
    if (!ip && !service->addresses.empty()) place.dialled.ip = service->addresses.front();
    if (!service->addresses.empty()) return place;
    // Its clients dial its endpoints; one stands for all.
    const uint32_t cluster = snapshot_->find_cluster(cluster_name(*service, place.port, "", ""));
    if (cluster != kNone && !snapshot_->clusters[cluster].endpoints.empty())
      place.dialled = snapshot_->clusters[cluster].endpoints.front().address;
    return place;
  }
  if (ip && port == 0) return unreadable(question.to, " belongs to no service: name a port, IP:PORT");
  const SocketAddress dialled{.ip = ip.value_or(IpAddress()), .port = port};
  if (ip) return Place{.service = service_at(source, dialled), .port = port, .dialled = dialled};
  return absl::NotFoundError(
      str_cat("no service is called \"", question.to, "\" in namespace ", client_ns,
              "; next: weft get services -A, or weft trace FROM SERVICE --header host:", host));
}

ExplainedTarget Explainer::target_of(const WeightedCluster& weighted, uint64_t total,
                                     const SocketAddress& dialled) const {
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
  if (cluster.load_balancer == LoadBalancer::kPassthrough) {
    // Without a question nobody has dialled anything.
    out.endpoints.push_back({dialled.port == 0 ? "what was dialled" : dialled.to_string(), "", out.share});
    return out;
  }
  if (cluster.policy != nullptr && cluster.policy->by_place())
    out.load_balancer += ", near endpoints first: shares differ";
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

std::vector<ExplainedTarget> Explainer::targets_of(const std::vector<WeightedCluster>& clusters,
                                                   const SocketAddress& dialled) const {
  uint64_t total = 0;
  for (const WeightedCluster& cluster : clusters) total += cluster.weight;
  std::vector<ExplainedTarget> out;
  for (const WeightedCluster& cluster : clusters) out.push_back(target_of(cluster, total, dialled));
  return out;
}

absl::Status Explainer::explain_http(const Question& question, uint32_t source, Explanation* out) const {
  RequestHead head;
  const std::string authority = authority_of(question.to, out->dialled.port);
  RETURN_IF_ERROR(make_head(question, authority, snapshot_->path_normalisation, &head));
  const VirtualHost* host = snapshot_->find_virtual_host(source, head.authority, out->dialled);
  if (host == nullptr) {
    set_outcome(snapshot_->is_undeclared(source, out->dialled) ? Outcome::kNotDeclared : Outcome::kNoRoute,
                out);
    return absl::OkStatus();
  }
  const SourceView client = source_view(*snapshot_, source);
  const RouteMatch match = match_route(*host, head, client, out->dialled.port);
  for (uint32_t i = 0; i < host->routes.size(); ++i) {
    const Route& route = host->routes[i];
    ExplainedRule rule{
        .route_set = host->resource, .index = i, .matched = &route == match.route, .why_not = {}};
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
  if (match.route->action != nullptr && !makes_path(*match.route->action, match.matcher, head))
    set_outcome(Outcome::kBadRewrite, out);
  explain_match(*match.route, out);
  return absl::OkStatus();
}

void Explainer::explain_match(const Route& route, Explanation* out) const {
  for (const RouteMirror& mirror : route.mirrors) {
    const std::string_view to = mirror.cluster == kNone
                                    ? std::string_view("a host that does not exist")
                                    : std::string_view(snapshot_->clusters[mirror.cluster].name);
    out->actions.push_back(str_cat("a copy of ", percent_text(mirror.ppm), " of the requests goes to ", to));
  }
  const RouteAction* action = route.action.get();
  if (action != nullptr && action->answers())
    set_outcome(action->redirect ? Outcome::kRedirect : Outcome::kDirectResponse, out);
  if (action != nullptr && action->fault && action->fault->abort_ppm >= kAll)
    set_outcome(Outcome::kFaultAbort, out);
  out->targets = targets_of(route.clusters, out->dialled);
}

void Explainer::explain_l4(const Question& question, uint32_t source, const ServicePort& port,
                           Explanation* out) const {
  const L4Host* host = snapshot_->find_l4_host(source, out->dialled);
  const bool tls = !question.tls.empty();
  const L4Choice choice = choose_l4(host,
                                    {.tls = tls,
                                     .server_name = question.tls,
                                     .dialled = out->dialled,
                                     .declared_tls = port.protocol == Protocol::kTls},
                                    source_view(*snapshot_, source));
  const bool depends = !tls && host != nullptr && !host->tls.empty();
  if (depends) describe_server_names(*host, &out->actions);
  if (choice.kind == L4Choice::Kind::kRoute) {
    out->actions.push_back(str_cat("route ", choice.route->name, " of ", host->name));
    out->targets = targets_of(choice.route->clusters, out->dialled);
  } else if (choice.kind == L4Choice::Kind::kService) {
    WeightedCluster all;
    all.cluster = snapshot_->find_tcp_cluster(source, out->dialled, port);
    all.label = out->service;
    out->targets = targets_of({all}, out->dialled);
  } else if (!depends) {
    set_outcome(Outcome::kNoRoute, out);
  }
}

// Only a name that the client says can be one of the registry's.
absl::Status Explainer::explain_undeclared(const Question& question, uint32_t source,
                                           Explanation* out) const {
  out->protocol = protocol_text(Protocol::kSniff);
  if (!question.method.empty()) return explain_http(question, source, out);
  WeightedCluster named;
  named.cluster = snapshot_->find_named_cluster(source, question.tls, out->dialled.port);
  if (named.cluster == kNone) {
    set_outcome(Outcome::kNotDeclared, out);
  } else {
    out->targets = targets_of({named}, out->dialled);
  }
  return absl::OkStatus();
}

absl::StatusOr<Explanation> Explainer::explain(const Question& question) const {
  const uint32_t source = snapshot_->find_source(question.from_uid);
  const std::string_view ns = source_view(*snapshot_, source).ns;
  ASSIGN_OR_RETURN(const Place place, find(question, source, ns));
  Explanation out;
  out.dialled = place.dialled;
  if (place.service != nullptr) out.service = str_cat(place.service->ns, "/", place.service->name);
  const ServicePort* port = snapshot_->find_service_port(source, place.dialled);
  if (snapshot_->is_undeclared(source, place.dialled)) {
    RETURN_IF_ERROR(explain_undeclared(question, source, &out));
    return out;
  }
  // An address of nobody: bytes pass through, whatever they are.
  if (port == nullptr) {
    out.protocol = "TCP";
    out.passes = true;
    if (place.service == nullptr) return out;
    WeightedCluster endpoints;
    endpoints.cluster = snapshot_->find_cluster(cluster_name(*place.service, place.port, "", ""));
    endpoints.label = place.service->host;
    out.targets = targets_of({endpoints}, out.dialled);
    // The client has chosen when it dials.
    for (ExplainedTarget& target : out.targets) target.load_balancer = "by the client";
    return out;
  }
  out.protocol = protocol_text(port->protocol);
  const bool http = port->protocol != Protocol::kTcp && port->protocol != Protocol::kTls;
  if (!question.method.empty() && http) {
    RETURN_IF_ERROR(explain_http(question, source, &out));
    return out;
  }
  explain_l4(question, source, *port, &out);
  return out;
}

RouteSetTargets::Lists Explainer::l4_targets(const std::vector<L4Route>& routes,
                                             RouteSetTargets::Lists lists) const {
  for (const L4Route& route : routes) {
    if (lists.size() <= route.index) lists.resize(route.index + 1);
    if (lists[route.index].empty()) lists[route.index] = targets_of(route.clusters, {});
  }
  return lists;
}

RouteSetTargets Explainer::targets(const std::string& resource) const {
  const auto found = reached_.find(resource);
  if (found == reached_.end()) return {};
  const Reached& reached = found->second;
  RouteSetTargets out{.reached = true, .http = {}, .tls = {}, .tcp = {}};
  const std::set<uint32_t>& http = reached.own_http.empty() ? reached.http : reached.own_http;
  if (!http.empty()) {
    for (const Route& route : snapshot_->virtual_hosts[*http.begin()]->routes)
      out.http.push_back(targets_of(route.clusters, {}));
  }
  for (const uint32_t index : reached.own_l4.empty() ? reached.l4 : reached.own_l4) {
    const L4Host& host = snapshot_->l4_hosts[index];
    out.tls = l4_targets(host.tls, std::move(out.tls));
    out.tcp = l4_targets(host.tcp, std::move(out.tcp));
  }
  return out;
}

}  // namespace weft::proxy
