// The composition root; see agent.h. Called by main.cc. Every part is told of the others here and nowhere
// else.
#include "agent/agent.h"

#include <algorithm>
#include <chrono>

#include "agent/mesh/node_identities.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

constexpr std::chrono::milliseconds kMetricsDeadline{1000};
// Milliseconds are usual; a node with thousands of cgroups and no time to spare takes longer.
constexpr std::chrono::milliseconds kFirstLook{10'000};

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Agent::Agent(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      heartbeat_(parts_.dataplane->heartbeat()),
      handover_(HandoverServer::Options{.path = run_path("handover.sock"),
                                        .access = options_.proxy_access,
                                        .heartbeat_fd = heartbeat_.get()}),
      reconciler_(Reconciler::Options{.store_path = run_path("enrollments.json"),
                                      .node_name = options_.node_name,
                                      .gateways = options_.gateways,
                                      .pods_by_cgroup = parts_.find_pods.has_value()},
                  Reconciler::Parts{
                      .dataplane = *parts_.dataplane,
                      .feed = handover_,
                      .publish = [this](const control_plane::Change& change) { parts_.ads->apply(change); },
                      .probe = parts_.probe,
                      .look_for =
                          [this](std::set<std::string> uids) {
                            if (sandbox_watch_ != nullptr) sandbox_watch_->want(std::move(uids));
                          }}),
      telemetry_(hub_, [this] { reconciler_.beat(); }) {}

std::string Agent::run_path(std::string_view name) const { return str_cat(options_.run_dir, "/", name); }

absl::StatusOr<std::unique_ptr<Agent>> Agent::start(Options options, Parts parts) {
  std::unique_ptr<Agent> agent(new Agent(std::move(options), std::move(parts)));
  RETURN_IF_ERROR(agent->start_all());
  return agent;
}

// What the proxy is served; only it and root may connect, so it needs no token to ask for certificates.
std::vector<grpc::Service*> Agent::proxy_services() {
  std::vector<grpc::Service*> out{parts_.ads->service(), &telemetry_};
  control_plane::CertificateAuthority* const authority = parts_.authority.get();
  if (authority == nullptr && !parts_.sign_elsewhere) return out;
  certificates_ =
      std::make_unique<control_plane::CertificateService>(control_plane::CertificateService::Parts{
          .sign = authority != nullptr ? control_plane::CertificateService::signed_by(*authority)
                                       : parts_.sign_elsewhere,
          .runs_on =
              [this](const std::string& node, const SpiffeId& id) {
                return node == options_.node_name && (is_pod(id) || is_gateway(id));
              },
          .node_of = control_plane::CertificateService::all_of(options_.node_name),
          .now = absl::Now,
          .never_signs =
              [this](const SpiffeId& id) {
                return !parts_.signs_for_gateways && is_gateway(id) && !is_pod(id);
              }});
  RevocationService::Lists lists = parts_.revocations;
  if (!lists && authority != nullptr) lists = [authority] { return authority->revocations(); };
  revocations_ = std::make_unique<RevocationService>(std::move(lists), *certificates_);
  out.push_back(certificates_.get());
  out.push_back(revocations_.get());
  return out;
}

// Of this node.
bool Agent::is_pod(const SpiffeId& id) {
  const auto known = [&id](const Reconciler::View& view) { return runs_here(view.model, view.pods, id); };
  return reconciler_.read(known).value_or(false);
}

// Where this node serves gateways.
bool Agent::is_gateway(const SpiffeId& id) {
  const auto known = [&id](const Reconciler::View& view) { return is_of_gateway(view.model, id); };
  return options_.gateways.address.has_value() && reconciler_.read(known).value_or(false);
}

std::vector<grpc::Service*> Agent::admin_services() {
  authorization_list_ =
      std::make_unique<AuthorizationList>(AuthorizationList::Parts{.node_name = options_.node_name,
                                                                   .reconciler = reconciler_,
                                                                   .dataplane = *parts_.dataplane,
                                                                   .proxy = telemetry_,
                                                                   .hub = hub_,
                                                                   .read_policies = parts_.read_policies});
  edge_list_ = std::make_unique<EdgeList>(options_.node_name, reconciler_, *parts_.dataplane, telemetry_);
  std::vector<grpc::Service*> out{admin_.get(), authorization_list_.get(), edge_list_.get()};
  if (certificates_ == nullptr) return out;
  certificate_list_ = std::make_unique<CertificateList>(parts_.authority.get(), *certificates_);
  out.push_back(certificate_list_.get());
  return out;
}

// Where pods are, and who asks before they start. Questions wait for the first configuration.
absl::Status Agent::start_pods() {
  if (parts_.find_pods) {
    ASSIGN_OR_RETURN(sandbox_watch_, SandboxWatch::start(*parts_.find_pods,
                                                         [this](const std::string& uid, const auto& sandbox) {
                                                           reconciler_.sandbox_found(uid, sandbox);
                                                         }));
  }
  if (!parts_.cni) return absl::OkStatus();
  ASSIGN_OR_RETURN(cni_server_,
                   CniServer::start(run_path("cni.sock"), [this](CniRequest request, CniServer::Reply reply) {
                     reconciler_.admit(std::move(request), std::move(reply));
                   }));
  CniInstaller::Options options = *parts_.cni;
  options.config.socket = run_path("cni.sock");
  options.config.namespaces_file = run_path("cni-namespaces");
  ASSIGN_OR_RETURN(cni_installer_, CniInstaller::open(std::move(options)));
  return absl::OkStatus();
}

// On the source's thread.
void Agent::take_change(const control_plane::Change& change) {
  std::set<std::string> refused;
  for (const control_plane::Finding& finding : change.findings) {
    if (finding.level == control_plane::Finding::Level::kError)
      refused.insert(str_cat(finding.file, " ", finding.object, " ", finding.field, " ", finding.message));
  }
  refused_manifests_.update(std::move(refused));
  if (cni_installer_ != nullptr) {
    const absl::Status written = cni_installer_->set_namespaces(change.mesh_namespaces);
    if (!written.ok()) log::error("cni_namespaces_not_written", {{"error", written.message()}});
  }
  reconciler_.apply(change);
}

absl::Status Agent::start_all() {
  // Does nothing before the first change, but answers the servers below.
  RETURN_IF_ERROR(annotate("read enrolments", reconciler_.start()));
  // Ports early: they fail most often, and nothing has changed yet.
  ASSIGN_OR_RETURN(metrics_,
                   HttpServer::start({.address = options_.metrics_address},
                                     [this](std::string_view path) { return serve_metrics(path); }));
  ASSIGN_OR_RETURN(health_, HttpServer::start({.address = options_.health_address},
                                              [this](std::string_view path) { return serve_health(path); }));
  RETURN_IF_ERROR(start_pods());
  // The first change is queued before this returns ...
  ASSIGN_OR_RETURN(control_plane_, parts_.start_control_plane(
                                       [this](const control_plane::Change& change) { take_change(change); }));
  // From here on the fail modes hold: a proxy that never comes is one that does not answer.
  RETURN_IF_ERROR(parts_.dataplane->watch_proxy());
  // ... and applied before the proxy may speak: it drains what its first snapshot does not name.
  reconciler_.read([](const Reconciler::View& view) { return view.generation; });
  // So does finding pods: what a former agent captured is none of theirs until then.
  if (sandbox_watch_ != nullptr && !sandbox_watch_->wait_looked(kFirstLook))
    log::warn("pods_not_looked_for", {{"next", "weft get workloads -A"}});
  reconciler_.sandboxes_known();
  if (cni_installer_ != nullptr) cni_installer_->begin();
  ASSIGN_OR_RETURN(proxy_server_,
                   GrpcUnixServer::start(run_path("xds.sock"), options_.proxy_access, proxy_services()));
  HandoverServer::Events events;
  events.ready = [this](uint64_t connection, Peer peer, ProxyAbilities abilities,
                        std::vector<HeldNamespace> held) {
    reconciler_.proxy_ready(connection, static_cast<uint32_t>(peer.pid), abilities, std::move(held));
  };
  events.gone = [this] { reconciler_.proxy_gone(); };
  RETURN_IF_ERROR(annotate("handover", handover_.start(std::move(events))));
  admin_ = std::make_unique<AdminService>(
      AdminService::Parts{.node_name = options_.node_name,
                          .config_source = options_.config_source,
                          .reconciler = reconciler_,
                          .dataplane = *parts_.dataplane,
                          .proxy = telemetry_,
                          .hub = hub_,
                          .served = [this] { return handover_.served(); },
                          .acked = [this] { return acked(); },
                          .rejected = [this] { return rejected(); },
                          .source_problems = [this] { return source_report().problems; },
                          .cni_problem = [this]() -> std::optional<std::string> {
                            if (cni_installer_ == nullptr) return std::nullopt;
                            return cni_installer_->problem();
                          }});
  ASSIGN_OR_RETURN(admin_server_,
                   GrpcUnixServer::start(run_path("agent.sock"), SocketAccess{}, admin_services()));
  log::info("agent_started", {{"node", options_.node_name},
                              {"run_dir", options_.run_dir},
                              {"metrics", metrics_->address().to_string()},
                              {"health", health_->address().to_string()}});
  return absl::OkStatus();
}

void Agent::end_questions() {
  if (admin_ != nullptr) admin_->shutdown();
  if (authorization_list_ != nullptr) authorization_list_->shutdown();
  admin_server_.reset();
  metrics_.reset();
  health_.reset();
}

Agent::~Agent() {
  // No new questions and no new changes, then the proxy's streams, then the decisions that are still queued.
  end_questions();
  control_plane_.reset();
  cni_installer_.reset();
  cni_server_.reset();
  telemetry_.shutdown();
  parts_.ads->shutdown();
  proxy_server_.reset();
  handover_.stop();
  reconciler_.stop();
  sandbox_watch_.reset();
}

void Agent::stop_capturing() {
  // Who asks what the control plane says goes before it; and no change may ask for pods again.
  end_questions();
  control_plane_.reset();
  // It would put the plugin back that is taken out now.
  cni_installer_.reset();
  struct Now {
    uint64_t generation = 0;
    std::vector<std::string> enrolled;
  };
  const auto now = reconciler_.read([](const Reconciler::View& view) {
    Now out{.generation = view.generation, .enrolled = {}};
    for (const auto& [key, pod] : view.pods.pods()) {
      if (pod.from_cli) out.enrolled.push_back(key);
    }
    return out;
  });
  if (!now) return;
  for (const std::string& key : now->enrolled) {
    const auto done = reconciler_.unenroll(key, false);
    if (!done.ok()) log::warn("unenroll_failed", {{"pod", key}, {"error", done.status().message()}});
  }
  // No pod of this node asks to be captured.
  reconciler_.apply(control_plane::Change{.generation = now->generation, .upserted = {}, .removed = {}});
}

size_t Agent::captured() {
  return reconciler_.read([](const Reconciler::View& view) { return view.pods.captured_namespaces().size(); })
      .value_or(0);
}

std::vector<std::string> Agent::rejected() const {
  std::vector<std::string> out;
  for (const control_plane::ClientState& client : parts_.ads->clients()) {
    for (const auto& [name, reason] : client.rejected) out.push_back(str_cat(name, ": ", reason));
  }
  return out;
}

control_plane::SourceReport Agent::source_report() const {
  return parts_.source_report ? parts_.source_report() : control_plane::SourceReport();
}

uint64_t Agent::acked() const {
  uint64_t newest = 0;
  for (const control_plane::ClientState& client : parts_.ads->clients())
    newest = std::max(newest, client.acked_generation);
  return newest;
}

MetricsInput Agent::gather_metrics() {
  MetricsInput input;
  input.proxy = telemetry_.metrics(kMetricsDeadline);
  absl::StatusOr<std::vector<FlowRow>> flows = parts_.dataplane->flows();
  if (flows.ok())
    input.flows = std::move(*flows);
  else
    log::warn("flows_not_read", {{"error", flows.status().message()}});
  input.stats = parts_.dataplane->stats();
  input.maps = parts_.dataplane->maps();
  input.program_runs = parts_.dataplane->program_runs();
  input.observe_dropped = hub_.dropped();
  input.lists_outdated = revocations_ == nullptr ? 0 : revocations_->outdated();
  if (certificates_ != nullptr) {
    const std::optional<absl::Time> end = certificates_->first_end();
    input.certificates =
        CertificateCounts{.issued = certificates_->given(),
                          .refused = certificates_->refused(),
                          .first_expiry_seconds = end ? absl::ToDoubleSeconds(*end - absl::UnixEpoch()) : 0};
  }
  input.source_kinds = source_report().kinds;
  if (parts_.remote_report) input.remote = parts_.remote_report();
  std::vector<uint32_t> named;
  for (const FlowRow& row : input.flows) {
    named.push_back(row.key.source);
    named.push_back(row.key.destination);
  }
  reconciler_.read([&input, &named](const Reconciler::View& view) {
    input.ids = view.ids.only(named);
    input.generation = view.generation;
    for (const auto& [key, pod] : view.pods.pods()) {
      if (pod.state == Pod::State::kCaptured) input.pods[pod.netns_cookie] = {pod.ns, pod.name};
    }
    for (const control_plane::Finding& finding : view.findings) {
      input.rejected += finding.level == control_plane::Finding::Level::kError ? 1 : 0;
    }
    input.pods_eligible = static_cast<uint32_t>(view.pods.pods().size());
    input.pods_captured = view.pods.captured();
    input.pod_starts = view.pod_starts;
    return true;
  });
  const std::vector<std::string> refused = rejected();
  refused_by_proxy_.update({refused.begin(), refused.end()});
  input.rejected += static_cast<uint32_t>(refused.size());
  input.rejected_total = refused_manifests_.total() + refused_by_proxy_.total();
  if (input.generation != 0 && acked() >= input.generation) last_ack_seconds_ = unix_seconds();
  input.last_ack_seconds = last_ack_seconds_;
  return input;
}

HttpReply Agent::serve_metrics(std::string_view path) {
  if (path != "/metrics") return {404, "text/plain; charset=utf-8", "not here; next: GET /metrics\n"};
  return {200, "text/plain; version=0.0.4; charset=utf-8", render_metrics(gather_metrics())};
}

HttpReply Agent::serve_health(std::string_view path) {
  if (path == "/healthz") return {200, "text/plain; charset=utf-8", "ok\n"};
  if (path != "/readyz") return {404, "text/plain; charset=utf-8", "not here; next: GET /readyz\n"};
  const std::vector<ProgramStatus> programs = parts_.dataplane->programs();
  bool attached = !programs.empty();
  for (const ProgramStatus& program : programs) attached = attached && program.attached;
  if (!attached) return {503, "text/plain; charset=utf-8", "programs are not attached; next: weft check\n"};
  const auto applied =
      reconciler_.read([](const Reconciler::View& view) { return view.applied_at.has_value(); });
  if (!applied.value_or(false))
    return {503, "text/plain; charset=utf-8", "no configuration applied yet; next: weft status\n"};
  // Not less ready for it: traffic goes on with what is known.
  std::string body = "ready\n";
  for (const std::string& problem : source_report().problems) str_append(&body, problem, "\n");
  return {200, "text/plain; charset=utf-8", body};
}

}  // namespace weft::agent
