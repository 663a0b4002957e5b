// The rpcs that explain routes. Part of AdminService; gRPC threads gather resources on the reconciler's
// thread, fold them as the proxy does on their own, and ask the proxy's matcher.
#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "agent/admin/admin_service.h"
#include "agent/admin/listing.h"
#include "base/strings.h"
#include "userspace-proxy/config/explain.h"
#include "userspace-proxy/config/explain_policy.h"

namespace weft::agent {
namespace {

grpc::Status stopping() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status");
}

// The resources of the mesh as they are now; what is large is shared, not copied.
struct Gathered {
  std::vector<control_plane::Resource> addresses;
  std::map<std::string, mesh::v1::RouteSet> routes;
  std::map<std::string, mesh::v1::DestinationPolicy> policies;
  uint64_t generation = 0;
};

Gathered gather_resources(const Reconciler::View& view) {
  Gathered out{.addresses = {},
               .routes = view.model.routes(),
               .policies = view.model.policies(),
               .generation = view.generation};
  for (const MeshWorkload* workload : view.model.workloads()) out.addresses.push_back(workload->resource);
  for (const MeshService* service : view.model.services()) out.addresses.push_back(service->resource);
  return out;
}

}  // namespace

// Immutable once it is made, so that all gRPC threads may ask it.
struct AdminService::Explained {
  uint64_t generation = 0;
  proxy::Explainer explainer;
  std::map<std::string, mesh::v1::RouteSet> routes;
  // What the proxy refuses: name to reason.
  std::map<std::string, std::string> refused_routes, refused_others;

  explicit Explained(Gathered gathered)
      : generation(gathered.generation), routes(std::move(gathered.routes)) {
    const auto add = [&](std::string_view type, std::string_view name, std::string_view body,
                         std::map<std::string, std::string>* refused) {
      const absl::Status status = explainer.add(type, name, body);
      if (!status.ok()) (*refused)[std::string(name)] = std::string(status.message());
    };
    for (const control_plane::Resource& resource : gathered.addresses)
      add(resource.type_url(), resource.name(), resource.body(), &refused_others);
    for (const auto& [name, set] : routes)
      add(control_plane::kRouteSetType, name, set.SerializeAsString(), &refused_routes);
    for (const auto& [name, policy] : gathered.policies)
      add(control_plane::kDestinationPolicyType, name, policy.SerializeAsString(), &refused_others);
    explainer.build();
  }
};

namespace {

void write_target(const proxy::ExplainedTarget& target, admin::v1::TraceTarget* out) {
  out->set_host(target.host);
  out->set_subset(target.subset);
  out->set_port(target.port);
  out->set_share_percent(target.share);
  out->set_load_balancer(target.load_balancer);
  out->set_problem(target.problem);
  for (const proxy::ExplainedEndpoint& endpoint : target.endpoints) {
    admin::v1::TraceEndpoint* row = out->add_endpoints();
    row->set_address(endpoint.address);
    row->set_workload(endpoint.workload);
    row->set_share_percent(endpoint.share);
  }
}

// "VirtualService shop/cart http[2]". Rules that were gathered from several objects have no number in theirs.
std::string rule_name(const mesh::v1::RouteSet& set, const mesh::v1::Origin& origin, uint32_t index) {
  const std::string& ns = origin.namespace_().empty() ? set.namespace_() : origin.namespace_();
  const std::string& name = origin.name().empty() ? set.name() : origin.name();
  const std::string out = str_cat(origin.kind(), " ", ns, "/", name);
  return name == set.name() ? str_cat(out, " http[", index, "]") : out;
}

using RouteSets = std::map<std::string, mesh::v1::RouteSet>;

void write_rule(const proxy::ExplainedRule& rule, const RouteSets& routes, const std::string& service,
                admin::v1::TraceRule* out) {
  out->set_matched(rule.matched);
  for (const std::string& reason : rule.why_not) out->add_why_not(reason);
  const auto set = routes.find(rule.route_set);
  if (set == routes.end() || rule.index >= static_cast<uint32_t>(set->second.http_size())) {
    out->set_rule(str_cat("default route of ", service));
    out->set_match("any");
    return;
  }
  const mesh::v1::HttpRoute& http = set->second.http(static_cast<int>(rule.index));
  const mesh::v1::Origin& origin = http.has_origin() ? http.origin() : set->second.origin();
  out->set_rule(rule_name(set->second, origin, rule.index));
  out->set_name(http.name());
  out->set_match(match_text(http));
  *out->mutable_origin() = origin;
}

void write(const proxy::Explanation& explanation, const RouteSets& routes, admin::v1::TraceReport* out) {
  out->set_service(explanation.service);
  out->set_dialled(explanation.dialled.to_string());
  out->set_protocol(explanation.protocol);
  out->set_path("proxy");
  for (const proxy::ExplainedRule& rule : explanation.rules)
    write_rule(rule, routes, explanation.service, out->add_rules());
  if (explanation.passes && !explanation.service.empty())
    out->add_actions("the service has no address: bytes pass through to the endpoint that the client dials");
  for (const std::string& line : explanation.actions) out->add_actions(line);
  out->set_outcome(explanation.outcome);
  out->set_outcome_text(explanation.outcome_text);
  for (const proxy::ExplainedTarget& target : explanation.targets) write_target(target, out->add_targets());
}

// What the kernel makes of the connection before the proxy sees it.
void write_kernel_path(const Reconciler::View& view, const SocketAddress& dialled,
                       admin::v1::TraceReport* out) {
  const auto planned = view.planner.planned(view.model, view.ids, ServiceKey{dialled, IPPROTO_TCP});
  if (!planned || planned->path == ServiceEntry::Path::kProxy) return;
  if (planned->path == ServiceEntry::Path::kPass) return out->set_path("pass");
  out->set_path("direct");
  admin::v1::TraceTarget target;
  if (!out->targets().empty()) target.set_host(out->targets(0).host());
  target.set_port(dialled.port);
  target.set_share_percent(100);
  target.set_load_balancer("by weight");
  uint64_t total = 0;
  for (const BackendEntry& backend : planned->backends) total += backend.weight;
  for (const BackendEntry& backend : planned->backends) {
    admin::v1::TraceEndpoint* row = target.add_endpoints();
    row->set_address(backend.address.to_string());
    if (const auto who = view.ids.subject(backend.id)) row->set_workload(str_cat(who->ns, "/", who->name));
    row->set_share_percent(total == 0 ? 0 : 100.0 * backend.weight / static_cast<double>(total));
  }
  if (total == 0) target.set_problem("no usable endpoint: connect() fails with EHOSTUNREACH");
  out->clear_targets();
  *out->add_targets() = std::move(target);
}

std::string verdict_text(const Verdict& verdict) {
  switch (verdict.reason) {
    case Verdict::Reason::kNoAllowPolicy:
      return "allowed: no policy asks for more";
    case Verdict::Reason::kAllowed:
      return str_cat("allowed by ", verdict.policy);
    case Verdict::Reason::kDenied:
      return str_cat("denied by ", verdict.policy);
    case Verdict::Reason::kNotAllowed:
      return str_cat("denied: ", verdict.policy, " allows others only");
  }
  return "?";
}

// Of the endpoint's family, as the server's node sees it.
IpAddress source_address(const istio::workload::Workload& client, bool v4) {
  for (const std::string& packed : client.addresses()) {
    const auto ip = IpAddress::from_packed(packed);
    if (ip && ip->is_v4() == v4) return *ip;
  }
  return {};
}

// "shop/cart:80" as a client would write it, without the port, which no policy needs.
std::string authority_of(const std::string& to) {
  const size_t slash = to.find('/');
  if (slash == std::string::npos) return to;
  return str_cat(to.substr(slash + 1, to.find(':', slash) - slash - 1), ".", to.substr(0, slash));
}

// To the request that is traced, as its client writes it, where a policy asks about requests; to its
// connection else.
std::string verdict_of(const SelectedPolicies& selected, const PolicyConnection& asked,
                       const admin::v1::TraceRequest& request, bool rewritten, bool* allowed) {
  const bool of_request =
      !request.method().empty() && std::any_of(selected.policies.begin(), selected.policies.end(),
                                               [](const auto* policy) { return has_request_terms(*policy); });
  if (of_request) {
    proxy::PolicyQuestion question{.connection = asked,
                                   .method = request.method(),
                                   .target = request.target(),
                                   .authority = authority_of(request.to()),
                                   .headers = {}};
    for (const auto& header : request.headers()) question.headers.emplace_back(header.name(), header.value());
    const auto explained = proxy::explain_policy(selected, question);
    *allowed = explained.ok() && explained->allowed;
    if (!explained.ok()) return str_cat("denied: ", std::string(explained.status().message()));
    // What the rule does to the request the server's node sees, and the trace does not.
    return str_cat(explained->verdict, rewritten ? " (as the client writes the request)" : "");
  }
  const Verdict verdict = evaluate(selected.policies, asked);
  *allowed = verdict.allowed();
  return verdict_text(verdict);
}

// What the server's node says to the client, which is captured on this `node`. Who that is it knows of
// captured pods of its own, and of those that come by a tunnel.
void write_verdicts(const MeshModel& model, const istio::workload::Workload& client, const std::string& node,
                    const admin::v1::TraceRequest& request, admin::v1::TraceReport* out) {
  for (admin::v1::TraceTarget& target : *out->mutable_targets()) {
    for (admin::v1::TraceEndpoint& endpoint : *target.mutable_endpoints()) {
      const size_t slash = endpoint.workload().find('/');
      if (slash == std::string::npos) continue;
      const auto server =
          model.find_workload(endpoint.workload().substr(0, slash), endpoint.workload().substr(slash + 1));
      const auto address = SocketAddress::parse(endpoint.address());
      if (!server || !address) continue;
      PolicyConnection asked{
          .source = source_address(client, address->ip.is_v4()), .identity = {}, .destination = *address};
      if (server->node() == node || server->tunnel_protocol() == istio::workload::HBONE)
        asked.identity = identity_of(client);
      const SelectedPolicies selected = select_policies(*server, model.authorizations());
      bool allowed = false;
      const std::string verdict = verdict_of(selected, asked, request, !out->actions().empty(), &allowed);
      const bool unknown = !allowed && !asked.identity;
      endpoint.set_policy(
          str_cat(verdict, unknown ? " (from another node, without a tunnel, it is nobody)" : ""));
    }
  }
}

void add_notes(const std::map<std::string, std::string>& refused, admin::v1::TraceReport* out) {
  for (const auto& [name, reason] : refused)
    out->add_notes(str_cat("the proxy refuses ", name, ": ", reason,
                           "; its last good form stays in force, but is left out here"));
}

}  // namespace

std::shared_ptr<const AdminService::Explained> AdminService::explained() {
  const std::lock_guard lock(explained_mutex_);
  auto gathered =
      parts_.reconciler.read([known = explained_](const Reconciler::View& view) -> std::optional<Gathered> {
        if (known != nullptr && known->generation == view.generation) return std::nullopt;
        return gather_resources(view);
      });
  if (!gathered) return nullptr;
  if (gathered->has_value()) explained_ = std::make_shared<const Explained>(**std::move(gathered));
  return explained_;
}

grpc::Status AdminService::Trace(grpc::ServerContext*, const admin::v1::TraceRequest* request,
                                 admin::v1::TraceReport* reply) {
  const auto from = parse_workload_name(request->from());
  if (!from.ok()) return to_grpc(from.status());
  reply->set_from(str_cat(from->first, "/", from->second));
  const auto mesh = explained();
  if (mesh == nullptr) return stopping();
  std::optional<istio::workload::Workload> client;
  const auto found = parts_.reconciler.read([&](const Reconciler::View& view) {
    client = view.model.find_workload(from->first, from->second);
    const Pod* pod = view.pods.find(reply->from());
    reply->set_captured(pod != nullptr && pod->state == Pod::State::kCaptured);
    return true;
  });
  if (!found) return stopping();
  proxy::Explainer::Question question{.from_uid = client ? client->uid() : "",
                                      .to = request->to(),
                                      .method = request->method(),
                                      .target = request->target(),
                                      .headers = {},
                                      .tls = request->tls()};
  for (const auto& header : request->headers()) question.headers.emplace_back(header.name(), header.value());
  const absl::StatusOr<proxy::Explanation> explanation = mesh->explainer.explain(question);
  if (!explanation.ok()) return to_grpc(explanation.status());
  if (!client)
    reply->add_notes(
        str_cat("the mesh knows no workload ", reply->from(), ": routed as one of namespace default"));
  if (!reply->captured())
    reply->add_notes(str_cat(reply->from(), " is not captured on this node: nothing of this holds"));
  write(*explanation, mesh->routes, reply);
  reply->set_config_generation(mesh->generation);
  reply->set_proxy_generation(parts_.acked());
  add_notes(mesh->refused_others, reply);
  add_notes(mesh->refused_routes, reply);
  if (!parts_.proxy.state().connected) {
    reply->add_notes("no proxy is connected: this is what it would do");
  } else if (reply->proxy_generation() < mesh->generation) {
    reply->add_notes("the proxy still uses an older configuration");
  }
  const auto judged = parts_.reconciler.read([&](const Reconciler::View& view) {
    write_kernel_path(view, explanation->dialled, reply);
    if (client) write_verdicts(view.model, *client, parts_.node_name, *request, reply);
    return true;
  });
  return judged ? grpc::Status::OK : stopping();
}

namespace {

// Those of the n-th route of a set, in the order of listing: HTTP, TLS, TCP.
std::vector<proxy::ExplainedTarget> nth(const proxy::RouteSetTargets& targets, const mesh::v1::RouteSet& set,
                                        size_t n) {
  const std::pair<int, const proxy::RouteSetTargets::Lists&> kinds[] = {
      {set.http_size(), targets.http}, {set.tls_size(), targets.tls}, {set.tcp_size(), targets.tcp}};
  for (const auto& [size, lists] : kinds) {
    if (n < static_cast<size_t>(size))
      return n < lists.size() ? lists[n] : std::vector<proxy::ExplainedTarget>();
    n -= static_cast<size_t>(size);
  }
  return {};
}

}  // namespace

grpc::Status AdminService::explain_routes(admin::v1::RouteList* list) {
  const auto mesh = explained();
  if (mesh == nullptr) return stopping();
  std::string resource;
  size_t index = 0;
  proxy::RouteSetTargets targets;
  // The rows of one RouteSet follow one another.
  for (admin::v1::RouteRow& row : *list->mutable_routes()) {
    if (row.resource() != resource || index == 0) {
      resource = row.resource();
      index = 0;
      targets = mesh->explainer.targets(resource);
    }
    const size_t n = index++;
    // Changed since the rows were listed, or refused.
    const auto set = mesh->routes.find(resource);
    const auto reason = mesh->refused_routes.find(resource);
    if (reason != mesh->refused_routes.end()) row.set_note(str_cat("the proxy refuses it: ", reason->second));
    if (set == mesh->routes.end() || reason != mesh->refused_routes.end()) continue;
    if (!targets.reached) {
      row.set_note("no client gets here: an older VirtualService has its hosts, or nothing serves them");
      continue;
    }
    for (const proxy::ExplainedTarget& target : nth(targets, set->second, n)) {
      write_target(target, row.add_targets());
      if (!target.problem.empty())
        row.set_note(str_cat(target.host, " ", target.subset, ": ", target.problem));
    }
  }
  return grpc::Status::OK;
}

}  // namespace weft::agent
