// The rpcs of admin.proto; see admin_service.h. Called by gRPC only.
#include "agent/admin/admin_service.h"

#include <sys/utsname.h>

#include "agent/admin/listing.h"
#include "agent/admin/pod_use.h"
#include "agent/admin/shortcut_status.h"
#include "base/pid_namespace.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

constexpr std::chrono::milliseconds kMetricsDeadline{1000};

grpc::Status stopping() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status");
}

void add_finding(const control_plane::Finding& finding, admin::v1::NodeStatus* status) {
  admin::v1::Finding* out = status->add_findings();
  out->set_code(finding.code);
  out->set_level(finding.level == control_plane::Finding::Level::kError ? "error" : "warning");
  out->set_file(finding.file);
  out->set_line(finding.line);
  out->set_object(finding.object);
  out->set_field(finding.field);
  out->set_message(finding.message);
  out->set_remedy(finding.remedy);
}

void add_bypass(const BypassRow& row, const IdRegistry& ids, admin::v1::NodeStatus* status) {
  if (row.bypassed == 0 && row.refused == 0) return;
  const std::optional<Subject> subject = ids.subject(row.workload_id);
  admin::v1::Bypass* out = status->add_bypasses();
  out->set_workload(subject ? str_cat(subject->ns, "/", subject->name) : str_cat("id ", row.workload_id));
  out->set_direction(row.inbound ? "inbound" : "outbound");
  out->set_bypassed(row.bypassed);
  out->set_refused(row.refused);
}

void add_requests(const proxy::v1::Metrics& metrics, admin::v1::NodeStatus* status) {
  uint64_t requests = 0;
  uint64_t errors = 0;
  for (const auto& series : metrics.requests()) {
    requests += series.requests();
    if (series.code_class() == "5xx" || series.code_class() == "0") errors += series.requests();
  }
  status->set_requests_total(requests);
  status->set_errors_total(errors);
}

}  // namespace

grpc::Status to_grpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

AdminService::AdminService(Parts parts) : parts_(std::move(parts)) {}

bool AdminService::gather(NodeFacts* facts, admin::v1::NodeStatus* status) {
  facts->proxy = parts_.proxy.state();
  facts->programs = parts_.dataplane.programs();
  facts->maps = parts_.dataplane.maps();
  facts->stats = parts_.dataplane.stats();
  facts->proxy_rejected = parts_.rejected();
  facts->source_problems = parts_.source_problems();
  facts->pid_problem = pid_namespace_problem();
  if (parts_.cni_problem) facts->cni_problem = parts_.cni_problem();
  facts->acked_generation = parts_.acked();
  const std::set<uint64_t> served = parts_.served();
  const std::vector<BypassRow> bypasses = parts_.dataplane.bypasses();
  const std::string shortcut_problem = parts_.dataplane.shortcut_problem();
  const auto read = parts_.reconciler.read([&](const Reconciler::View& view) {
    add_pod_facts(view, served, facts);
    *status->mutable_shortcut() = shortcut_status(view.pods, shortcut_problem, facts->stats);
    for (const control_plane::Finding& finding : view.findings) add_finding(finding, status);
    for (const BypassRow& row : bypasses) add_bypass(row, view.ids, status);
    if (view.applied_at.has_value()) {
      const auto age = std::chrono::steady_clock::now() - *view.applied_at;
      status->set_config_age_seconds(
          static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(age).count()));
    }
    return true;
  });
  return read.has_value();
}

grpc::Status AdminService::GetStatus(grpc::ServerContext*, const admin::v1::GetStatusRequest*,
                                     admin::v1::NodeStatus* reply) {
  NodeFacts facts;
  if (!gather(&facts, reply)) return stopping();
  reply->set_node(parts_.node_name);
  reply->set_agent_version(WEFT_VERSION);
  utsname kernel{};
  if (::uname(&kernel) == 0) reply->set_kernel(kernel.release);
  const auto uptime = std::chrono::steady_clock::now() - started_;
  reply->set_agent_uptime_seconds(
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(uptime).count()));
  uint32_t attached = 0;
  for (const ProgramStatus& program : facts.programs) attached += program.attached ? 1 : 0;
  reply->set_programs_attached(attached);
  reply->set_programs_expected(static_cast<uint32_t>(facts.programs.size()));
  const auto [map, percent] = fullest_map(facts.maps);
  reply->set_fullest_map(map);
  reply->set_fullest_map_percent(percent);
  reply->set_proxy_connected(facts.proxy.connected);
  reply->set_proxy_version(facts.proxy.version);
  reply->set_proxy_pid(facts.proxy.pid);
  reply->set_proxy_workers(facts.proxy.workers);
  reply->set_proxy_io(facts.proxy.io);
  reply->set_pods_captured(facts.captured);
  reply->set_pods_eligible(facts.eligible);
  reply->set_config_generation(facts.generation);
  reply->set_proxy_generation(facts.acked_generation);
  reply->set_config_source(parts_.config_source);
  const std::optional<proxy::v1::Metrics> metrics = parts_.proxy.metrics(kMetricsDeadline);
  if (metrics.has_value()) {
    add_requests(*metrics, reply);
    const auto uses = pod_uses(*metrics);
    parts_.reconciler.read([&](const Reconciler::View& view) {
      add_refusals(uses, view.pods, reply);
      return true;
    });
  }
  const admin::v1::CheckReport report = run_checks(facts);
  for (const auto& check : report.checks()) {
    if (check.result() == "success") continue;
    reply->add_problems(str_cat(check.id(), " ", check.error(), " (next: ", check.hint(), ")"));
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::Check(grpc::ServerContext*, const admin::v1::CheckRequest*,
                                 admin::v1::CheckReport* reply) {
  NodeFacts facts;
  admin::v1::NodeStatus unused;
  if (!gather(&facts, &unused)) return stopping();
  // Not in `weft status`: a neighbour that only shares a hook is no problem of the node.
  facts.rivals = parts_.dataplane.rivals(facts.namespaces);
  *reply = run_checks(facts);
  return grpc::Status::OK;
}

template <typename List, typename F>
grpc::Status AdminService::list(const admin::v1::ListRequest& request, List* reply, F rows) {
  auto result =
      parts_.reconciler.read([&request, rows](const Reconciler::View& view) { return rows(view, request); });
  if (!result.has_value()) return stopping();
  *reply = std::move(*result);
  return grpc::Status::OK;
}

grpc::Status AdminService::ListServices(grpc::ServerContext*, const admin::v1::ListRequest* request,
                                        admin::v1::ServiceList* reply) {
  return list(*request, reply, list_services);
}

grpc::Status AdminService::ListEndpoints(grpc::ServerContext*, const admin::v1::ListRequest* request,
                                         admin::v1::EndpointList* reply) {
  return list(*request, reply, list_endpoints);
}

grpc::Status AdminService::ListWorkloads(grpc::ServerContext*, const admin::v1::ListRequest* request,
                                         admin::v1::WorkloadList* reply) {
  const grpc::Status status = list(*request, reply, list_workloads);
  const std::optional<proxy::v1::Metrics> metrics = parts_.proxy.metrics(kMetricsDeadline);
  if (metrics.has_value()) add_uses(pod_uses(*metrics), reply);
  return status;
}

grpc::Status AdminService::ListRoutes(grpc::ServerContext*, const admin::v1::ListRequest* request,
                                      admin::v1::RouteList* reply) {
  const grpc::Status status = list(*request, reply, list_routes);
  return status.ok() && request->explain() ? explain_routes(reply) : status;
}

grpc::Status AdminService::Observe(grpc::ServerContext* context, const admin::v1::ObserveRequest* request,
                                   grpc::ServerWriter<proxy::v1::Exchange>* writer) {
  const std::unique_ptr<ObserveHub::Watch> watch = parts_.hub.watch(*request);
  if (watch == nullptr) {
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                        "too many watchers; next: end another weft observe");
  }
  // Headers at once: the client then knows that the watch is on.
  writer->SendInitialMetadata();
  while (!context->IsCancelled() && !stopping_) {
    // The wait ends early with an exchange; its length is how fast a cancelled call is noticed.
    const std::optional<proxy::v1::Exchange> exchange = watch->next(std::chrono::milliseconds(200));
    if (exchange.has_value() && !writer->Write(*exchange)) break;
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::Enroll(grpc::ServerContext*, const admin::v1::EnrollRequest* request,
                                  admin::v1::EnrollResponse* reply) {
  const absl::StatusOr<Reconciler::Enrolled> enrolled =
      parts_.reconciler.enroll(request->workload(), request->netns_path(), request->dry_run());
  if (!enrolled.ok()) return to_grpc(enrolled.status());
  reply->set_netns_cookie(enrolled->netns_cookie);
  for (const std::string& step : enrolled->steps) reply->add_steps(step);
  return grpc::Status::OK;
}

grpc::Status AdminService::Unenroll(grpc::ServerContext*, const admin::v1::UnenrollRequest* request,
                                    admin::v1::UnenrollResponse* reply) {
  const auto steps = parts_.reconciler.unenroll(request->workload(), request->dry_run());
  if (!steps.ok()) return to_grpc(steps.status());
  for (const std::string& step : *steps) reply->add_steps(step);
  return grpc::Status::OK;
}

}  // namespace weft::agent
