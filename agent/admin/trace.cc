// The rpcs that explain routes. Part of AdminService; gRPC threads gather resources on the reconciler's
// thread, fold them as the proxy does on their own, and ask the proxy's matcher.
#include <map>
#include <vector>

#include "agent/admin/admin_service.h"
#include "agent/admin/listing.h"
#include "base/strings.h"
#include "userspace-proxy/config/explain.h"

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

// Adds everything, and builds. What the proxy refuses is named in `refused`, with the reason.
void fill(const Gathered& gathered, proxy::Explainer* explainer,
          std::map<std::string, std::string>* refused) {
  const auto add = [&](std::string_view type, std::string_view name, std::string_view body) {
    const absl::Status status = explainer->add(type, name, body);
    if (!status.ok()) (*refused)[std::string(name)] = std::string(status.message());
  };
  for (const control_plane::Resource& resource : gathered.addresses)
    add(resource.type_url(), resource.name(), resource.body());
  for (const auto& [name, set] : gathered.routes)
    add(control_plane::kRouteSetType, name, set.SerializeAsString());
  for (const auto& [name, policy] : gathered.policies)
    add(control_plane::kDestinationPolicyType, name, policy.SerializeAsString());
  explainer->build();
}

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

void write_rule(const proxy::ExplainedRule& rule, const Gathered& gathered, const std::string& service,
                admin::v1::TraceRule* out) {
  out->set_matched(rule.matched);
  for (const std::string& reason : rule.why_not) out->add_why_not(reason);
  const auto set = gathered.routes.find(rule.route_set);
  if (set == gathered.routes.end() || rule.index >= static_cast<uint32_t>(set->second.http_size())) {
    out->set_rule(str_cat("default route of ", service));
    out->set_match("any");
    return;
  }
  const mesh::v1::HttpRoute& http = set->second.http(static_cast<int>(rule.index));
  const mesh::v1::Origin& origin = http.has_origin() ? http.origin() : set->second.origin();
  out->set_rule(str_cat(origin.kind(), " ", rule.route_set, " http[", rule.index, "]"));
  out->set_name(http.name());
  out->set_match(match_text(http));
  *out->mutable_origin() = origin;
}

void write(const proxy::Explanation& explanation, const Gathered& gathered, admin::v1::TraceReport* out) {
  out->set_service(explanation.service);
  out->set_dialled(explanation.dialled.to_string());
  out->set_protocol(explanation.protocol);
  out->set_path(explanation.direct ? "direct" : "proxy");
  for (const proxy::ExplainedRule& rule : explanation.rules)
    write_rule(rule, gathered, explanation.service, out->add_rules());
  for (const std::string& line : explanation.actions) out->add_actions(line);
  out->set_outcome(explanation.outcome);
  out->set_outcome_text(explanation.outcome_text);
  for (const proxy::ExplainedTarget& target : explanation.targets) write_target(target, out->add_targets());
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

// What the server's node says to a new TCP connection of the client.
void add_verdicts(const MeshModel& model, const istio::workload::Workload& client,
                  admin::v1::TraceReport* out) {
  PolicyConnection asked{.source = {}, .identity = identity_of(client), .destination = {}};
  if (!client.addresses().empty())
    asked.source = IpAddress::from_packed(client.addresses(0)).value_or(IpAddress());
  for (admin::v1::TraceTarget& target : *out->mutable_targets()) {
    for (admin::v1::TraceEndpoint& endpoint : *target.mutable_endpoints()) {
      const size_t slash = endpoint.workload().find('/');
      const auto server =
          model.find_workload(endpoint.workload().substr(0, slash), endpoint.workload().substr(slash + 1));
      const auto address = SocketAddress::parse(endpoint.address());
      if (!server || !address) continue;
      asked.destination = *address;
      const SelectedPolicies selected = select_policies(*server, model.authorizations());
      endpoint.set_policy(verdict_text(evaluate(selected.policies, asked)));
    }
  }
}

void add_notes(const Gathered& gathered, const std::map<std::string, std::string>& refused, bool connected,
               admin::v1::TraceReport* out) {
  for (const auto& [name, reason] : refused)
    out->add_notes(str_cat("the proxy refuses ", name, ": ", reason, "; its last good form stays in force"));
  if (!connected) {
    out->add_notes("no proxy is connected: this is what it would do");
  } else if (out->proxy_generation() < gathered.generation) {
    out->add_notes("the proxy still uses an older configuration");
  }
}

}  // namespace

grpc::Status AdminService::Trace(grpc::ServerContext*, const admin::v1::TraceRequest* request,
                                 admin::v1::TraceReport* reply) {
  const auto from = parse_workload_name(request->from());
  if (!from.ok()) return to_grpc(from.status());
  std::optional<istio::workload::Workload> client;
  const auto gathered = parts_.reconciler.read([&](const Reconciler::View& view) {
    client = view.model.find_workload(from->first, from->second);
    return gather_resources(view);
  });
  if (!gathered) return stopping();
  proxy::Explainer explainer;
  std::map<std::string, std::string> refused;
  fill(*gathered, &explainer, &refused);
  proxy::Explainer::Question question{.from_uid = client ? client->uid() : "",
                                      .to = request->to(),
                                      .method = request->method(),
                                      .target = request->target(),
                                      .headers = {}};
  for (const auto& header : request->headers()) question.headers.emplace_back(header.name(), header.value());
  const absl::StatusOr<proxy::Explanation> explanation = explainer.explain(question);
  if (!explanation.ok()) return to_grpc(explanation.status());
  reply->set_from(str_cat(from->first, "/", from->second));
  if (!client)
    reply->add_notes(
        str_cat("the mesh knows no workload ", reply->from(), ": routed as one of namespace default"));
  write(*explanation, *gathered, reply);
  reply->set_config_generation(gathered->generation);
  reply->set_proxy_generation(parts_.acked());
  add_notes(*gathered, refused, parts_.proxy.state().connected, reply);
  if (!client) return grpc::Status::OK;
  const auto judged = parts_.reconciler.read([&](const Reconciler::View& view) {
    add_verdicts(view.model, *client, reply);
    return true;
  });
  return judged ? grpc::Status::OK : stopping();
}

// The rows of one RouteSet follow one another, one for each of its HTTP routes.
grpc::Status AdminService::explain_routes(admin::v1::RouteList* list) {
  const auto gathered = parts_.reconciler.read(gather_resources);
  if (!gathered) return stopping();
  proxy::Explainer explainer;
  std::map<std::string, std::string> refused;
  fill(*gathered, &explainer, &refused);
  std::map<std::string, size_t> seen;
  for (admin::v1::RouteRow& row : *list->mutable_routes()) {
    const std::string set = str_cat(row.namespace_(), "/", row.name().substr(0, row.name().find('/')));
    const size_t index = seen[set]++;
    if (const auto reason = refused.find(set); reason != refused.end()) {
      row.set_note(str_cat("the proxy refuses it: ", reason->second));
      continue;
    }
    const auto targets = explainer.targets(row.namespace_(), set.substr(row.namespace_().size() + 1));
    if (targets.empty()) {
      row.set_note("no client gets here: an older VirtualService has its hosts, or nothing serves them");
      continue;
    }
    if (index >= targets.size()) continue;
    for (const proxy::ExplainedTarget& target : targets[index]) {
      write_target(target, row.add_targets());
      if (!target.problem.empty())
        row.set_note(str_cat(target.host, " ", target.subset, ": ", target.problem));
    }
  }
  return grpc::Status::OK;
}

}  // namespace weft::agent
