// AuthorizationList::Shadow: what a manifest's policies would make of the traffic that this node sees. It
// watches as `weft observe` and `weft conns` do, so the data path knows nothing of it.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "agent/admin/admin_service.h"
#include "agent/admin/authorization_list.h"
#include "agent/admin/connection_list.h"
#include "agent/admin/kernel_connections.h"
#include "agent/policy/policy_trial.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kDefaultSeconds = 30;
constexpr uint32_t kMaxSeconds = 600;
constexpr size_t kMaxManifest = 1 << 20;
// How fast a cancelled call is noticed.
constexpr std::chrono::milliseconds kLook{200};
constexpr std::chrono::seconds kConnectionsPeriod{1};

absl::StatusOr<std::vector<control_plane::WrittenPolicy>> read(
    const control_plane::ReadPolicies& read_policies, const admin::v1::ShadowRequest& request,
    std::vector<std::string>* notes) {
  if (request.seconds() > kMaxSeconds)
    return absl::InvalidArgumentError(
        str_cat(request.seconds(), " seconds are too long; next: at most ", kMaxSeconds));
  if (request.manifest().size() > kMaxManifest)
    return absl::InvalidArgumentError(
        str_cat("the manifest has ", request.manifest().size(), " bytes; next: split it, at most 1 MiB"));
  control_plane::PolicyManifest manifest = read_policies(request.file(), request.manifest());
  for (const control_plane::Finding& finding : manifest.findings) {
    if (finding.level == control_plane::Finding::Level::kError)
      return absl::InvalidArgumentError(
          str_cat(control_plane::to_string(finding), "; next: weft analyze ", request.file()));
    notes->push_back(control_plane::to_string(finding));
  }
  for (const control_plane::WrittenPolicy& one : manifest.policies) {
    if (one.policy.scope() == istio::security::WORKLOAD_SELECTOR && one.selector.empty() &&
        one.services.empty())
      notes->push_back(str_cat(one.policy.namespace_(), "/", one.policy.name(),
                               " is for gateways: what comes to those is not tried"));
  }
  for (const std::string& other : manifest.others)
    notes->push_back(str_cat(other, " is no AuthorizationPolicy: left out"));
  if (manifest.policies.empty())
    return absl::InvalidArgumentError(
        str_cat(request.file(), " has no AuthorizationPolicy; next: name a manifest that has one"));
  return std::move(manifest.policies);
}

// Nullopt: it is not known who was reached, or the server takes it from the node itself.
std::optional<SeenTraffic> seen_in(const proxy::v1::Exchange& exchange, const Dataplane& dataplane) {
  const bool answered = !exchange.upstream_address().empty();
  const std::string& to = answered ? exchange.upstream_address() : exchange.destination_address();
  const auto source = SocketAddress::parse(exchange.source_address());
  const auto reached = SocketAddress::parse(to);
  if (exchange.destination_workload().empty() || !source || !reached) return std::nullopt;
  // What a tunnel carries is seen where it was asked for, and there by whom.
  if (exchange.protocol() == "hbone") return std::nullopt;
  const bool denied = exchange.outcome() == "access_denied";
  if (exchange.source_workload().empty()) {
    // Of a gateway: servers see the node, or by a tunnel an identity that is not told here.
    if (answered && exchange.upstream_address() != exchange.destination_address()) return std::nullopt;
    // What a pod of the mesh was denied here is seen where it asked.
    if (denied && dataplane.owner({source->ip, 0}) != WEFT_ID_UNKNOWN) return std::nullopt;
  }
  SeenTraffic out{.client = exchange.source_workload(),
                  .source = source->ip,
                  .server = exchange.destination_workload(),
                  .destination = *reached,
                  .method = {},
                  .path = {},
                  .authority = {},
                  .refused = denied || exchange.status() == 403};
  if (exchange.protocol() == "tcp") return out;
  out.method = exchange.method();
  out.path = exchange.path();
  out.authority = exchange.authority();
  return out;
}

admin::v1::ShadowRow::Verdict to_wire(PolicyTrial::Verdict verdict) {
  if (verdict == PolicyTrial::Verdict::kDepends) return admin::v1::ShadowRow::DEPENDS;
  return verdict == PolicyTrial::Verdict::kDenied ? admin::v1::ShadowRow::DENIED
                                                  : admin::v1::ShadowRow::ALLOWED;
}

void write(const PolicyTrial& trial, admin::v1::ShadowReport* out) {
  for (const PolicyTrial::Row& row : trial.rows()) {
    admin::v1::ShadowRow& line = *out->add_rows();
    line.set_client(row.client);
    line.set_server(row.server);
    line.set_request(row.request);
    line.set_now(row.denied ? admin::v1::ShadowRow::DENIED : admin::v1::ShadowRow::ALLOWED);
    line.set_then(to_wire(row.then));
    line.set_policy(row.policy);
    line.set_rule(row.rule);
    line.set_file(row.file);
    line.set_line(row.line);
    line.set_count(row.count);
  }
  out->set_judged(trial.judged());
  out->set_unchanged(trial.unchanged());
  out->set_not_judged(trial.not_judged());
  if (trial.left_out() > 0)
    out->add_notes(str_cat(trial.left_out(), " more differed in other ways than the ", PolicyTrial::kMaxRows,
                           " that are shown"));
}

}  // namespace

grpc::Status AuthorizationList::Shadow(grpc::ServerContext* context, const admin::v1::ShadowRequest* request,
                                       grpc::ServerWriter<admin::v1::ShadowReport>* writer) {
  admin::v1::ShadowReport report;
  std::vector<std::string> notes;
  auto policies = read(parts_.read_policies, *request, &notes);
  if (!policies.ok()) return to_grpc(policies.status());
  for (const auto& one : *policies)
    report.add_policies(str_cat(one.policy.namespace_(), "/", one.policy.name()));
  for (std::string& note : notes) report.add_notes(std::move(note));
  const std::unique_ptr<ObserveHub::Watch> watch = parts_.hub.watch({});
  if (watch == nullptr)
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watchers; next: end another weft observe"};
  const uint64_t lost = parts_.hub.dropped();
  if (!parts_.proxy.state().connected)
    report.add_notes("no proxy is connected: only connections that need none are seen");
  if (!writer->Write(report)) return grpc::Status::OK;
  PolicyTrial trial(*std::move(policies));
  KernelConnections connections;
  const auto see = [&](const SeenTraffic& traffic) {
    parts_.reconciler.read([&](const Reconciler::View& view) {
      trial.see(view.model, traffic);
      return true;
    });
  };
  const uint32_t seconds = request->seconds() == 0 ? kDefaultSeconds : request->seconds();
  const auto end = SteadyClock::now() + std::chrono::seconds(seconds);
  auto next_look = SteadyClock::now();
  admin::v1::ConnectionsRequest all;
  all.set_limit(kMaxConnections);
  while (!context->IsCancelled() && !stopping_ && SteadyClock::now() < end) {
    if (SteadyClock::now() >= next_look) {
      const auto list = list_connections(all, parts_.dataplane, parts_.reconciler);
      if (list.ok()) {
        for (const SeenTraffic& traffic : connections.take_new(*list)) see(traffic);
      }
      next_look = SteadyClock::now() + kConnectionsPeriod;
    }
    const auto exchange = watch->next(kLook);
    const auto traffic = exchange ? seen_in(*exchange, parts_.dataplane) : std::nullopt;
    if (traffic) see(*traffic);
  }
  if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status"};
  write(trial, &report);
  if (parts_.hub.dropped() > lost)
    report.add_notes("there was more traffic than could be judged: counts are too low");
  if (connections.left_out())
    report.add_notes(str_cat("there were more connections without a proxy than are looked at (",
                             kMaxConnections, " at once, ", KernelConnections::kMost,
                             " in all): some were not judged"));
  report.set_done(true);
  writer->Write(report);
  return grpc::Status::OK;
}

}  // namespace weft::agent
