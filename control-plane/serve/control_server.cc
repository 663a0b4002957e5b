// The composition root of weft-control; see control_server.h.
#include "control-plane/serve/control_server.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/serve/call_identity.h"
#include "control-plane/serve/control_metrics.h"

namespace weft::control_plane {
namespace {

// An agent may send what it holds of a whole mesh.
constexpr int kMaxRequestBytes = 64 << 20;
// Of all requests that are under way: a caller of /Join has proven nothing when its message is read. Half of
// what the chart gives the process. Beyond it gRPC reads no more, and ends calls when nothing else helps.
constexpr size_t kReceiveMemory = 256u << 20;
constexpr int kMaxResponseBytes = 200 << 20;
constexpr int kGraceMs = 5'000;
constexpr int kPingEveryMs = 30'000;
constexpr int kPingAnswerMs = 10'000;
// Agents ping as often; a peer that pings faster is sent away.
constexpr int kLeastPingMs = 10'000;
// A connection without a call: an agent dials anew for its next certificate.
constexpr int kIdleMs = 60'000;
// TLS must be agreed on by then.
constexpr int kHandshakeMs = 10'000;
// An agent has one stream and a question about a certificate for each identity of its pods.
constexpr int kStreamsAtOnce = 100;
constexpr std::chrono::seconds kEnd{5};

// A node that was removed is none for its certificate either.
Callers::Options with_members(Callers::Options options, const std::shared_ptr<JoinDesk>& desk) {
  if (desk != nullptr)
    options.admit = [desk](X509* certificate, const std::string& node) {
      return desk->admit(certificate, node);
    };
  return options;
}

}  // namespace

ControlServer::ControlServer(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      callers_(std::make_shared<Callers>(with_members(options_.callers, parts_.join), parts_.review)),
      ads_(AdsService::create(
          [this](const grpc::ServerContextBase& context) { return node_of_call(*callers_, context); },
          [this](const std::string& node) { return serves_gateways(node); })),
      certificates_(std::make_unique<CertificateService>(CertificateService::Parts{
          .sign = CertificateService::signed_by(*parts_.authority),
          .runs_on = [this](const std::string& node, const SpiffeId& id) { return may_be(node, id); },
          .node_of =
              [this](const grpc::ServerContextBase& context) { return node_of_call(*callers_, context); }})) {
  if (parts_.join == nullptr) return;
  joins_ = std::make_unique<JoinService>(*parts_.join, [this](const grpc::ServerContextBase& context) {
    return node_of_call(*callers_, context);
  });
}

bool ControlServer::serves_gateways(const std::string& node) const {
  return options_.gateway_nodes.contains(node) || options_.gateway_nodes.contains("*");
}

// A pod of the node, or a gateway where it serves gateways.
bool ControlServer::may_be(const std::string& node, const SpiffeId& id) const {
  return workloads_.runs_on(node, id) || (serves_gateways(node) && gateways_.contains(id));
}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::start(Options options, Parts parts) {
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(options), std::move(parts)));
  RETURN_IF_ERROR(server->start_all());
  return server;
}

absl::Status ControlServer::start_all() {
  ServerCertificate::Options certificate = options_.certificate;
  if (parts_.join != nullptr) certificate.client_authority_file = parts_.join->client_authorities();
  ASSIGN_OR_RETURN(certificate_,
                   ServerCertificate::open(std::move(certificate), *parts_.authority, absl::Now()));
  RETURN_IF_ERROR(start_webhook());
  // Ports before the objects are read: they fail most often, and readiness says that we are not there yet.
  // Behind what their threads look at.
  ASSIGN_OR_RETURN(metrics_,
                   HttpServer::start({.address = options_.metrics_address},
                                     [this](std::string_view path) { return serve_metrics(path); }));
  ASSIGN_OR_RETURN(health_, HttpServer::start({.address = options_.health_address},
                                              [this](std::string_view path) { return serve_health(path); }));
  ASSIGN_OR_RETURN(control_plane_,
                   parts_.start_control_plane([this](const Change& change) { on_change(change); }));
  look_for_revocations();
  RETURN_IF_ERROR(listen());
  log::info("control_started", {{"address", address_.to_string()},
                                {"metrics", metrics_->address().to_string()},
                                {"health", health_->address().to_string()}});
  return absl::OkStatus();
}

// What an object is told does not depend on others, so it answers before those have been read.
absl::Status ControlServer::start_webhook() {
  if (!options_.webhook_address) return absl::OkStatus();
  ASSIGN_OR_RETURN(webhook_, WebhookServer::start({.address = *options_.webhook_address,
                                                   .certificate_file = certificate_->certificate_file(),
                                                   .key_file = certificate_->key_file()}));
  tell_authorities();
  return absl::OkStatus();
}

// Of a certificate that is not ours its owner knows who signed it.
void ControlServer::tell_authorities() {
  if (webhook_ != nullptr && parts_.status != nullptr && certificate_->is_own())
    parts_.status->tell_authorities(parts_.authority->bundle());
}

absl::Status ControlServer::listen() {
  const std::shared_ptr<grpc::ServerCredentials> credentials = certificate_->credentials();
  credentials->SetAuthMetadataProcessor(refuse_unknown(callers_));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options_.address.to_string(), credentials, &port);
  builder.RegisterService(ads_->service());
  builder.RegisterService(certificates_.get());
  if (joins_ != nullptr) builder.RegisterService(joins_.get());
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  builder.SetMaxSendMessageSize(kMaxResponseBytes);
  builder.SetResourceQuota(grpc::ResourceQuota("weft-control").Resize(kReceiveMemory));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(options_.connection_age)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kGraceMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsAtOnce);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingEveryMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingAnswerMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
  // Two processes on one port would each get half of the agents.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0)
    return absl::UnavailableError(
        str_cat("--listen: ", options_.address.to_string(), " cannot be listened on; next: ss -ltnp"));
  address_ = options_.address;
  address_.port = static_cast<uint16_t>(port);
  return absl::OkStatus();
}

void ControlServer::on_change(const Change& change) {
  Change served{.generation = change.generation, .upserted = change.upserted, .removed = change.removed};
  pods_.update(change, served);
  tell_findings(change, served);
  // Who may ask for certificates before who is told of pods: an agent asks at once.
  workloads_.apply(change);
  gateways_.apply(change);
  {
    const absl::MutexLock lock(&applying_);
    ads_->apply(served);
    generation_ = change.generation;
  }
}

// All of them are looked at, and most changes are of pods, which alter none.
void ControlServer::tell_findings(const Change& change, Change& served) {
  if (generation_ > 0 && change.findings == findings_told_ && change.gateway_api == status_told_) return;
  findings_.update(change.findings, served);
  rejected_ = static_cast<uint64_t>(
      std::count_if(change.findings.begin(), change.findings.end(),
                    [](const Finding& finding) { return finding.level == Finding::Level::kError; }));
  if (parts_.status != nullptr) parts_.status->tell(change.findings, change.gateway_api);
  findings_told_ = change.findings;
  status_told_ = change.gateway_api;
}

ControlServer::~ControlServer() {
  health_.reset();
  metrics_.reset();
  webhook_.reset();
  control_plane_.reset();
  ads_->shutdown();
  // Their threads are gRPC's, which does not wait for them.
  callers_->stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kEnd);
  server_.reset();
  ads_.reset();
}

void ControlServer::tick(absl::Time now) {
  if (parts_.join != nullptr) {
    if (const absl::Status looked = parts_.join->tick(); !looked.ok())
      log::error("client_authorities_not_written", {{"error", looked.message()}});
  }
  if (const absl::Status renewed = certificate_->renew(now); !renewed.ok())
    log::error("server_certificate_not_renewed", {{"error", renewed.message()}});
  tell_authorities();
  look_for_revocations();
}

void ControlServer::look_for_revocations() {
  const absl::StatusOr<std::string> lists = parts_.revocations ? parts_.revocations() : std::string();
  if (!lists.ok()) {
    log::warn("revocations_unreadable", {{"error", lists.status().message()},
                                         {"next", "correct crl.pem; what was revoked before stays so"}});
    // Nor at the start: "nothing is revoked" would lift at agents what an earlier process had told them.
    return;
  }
  if (revocations_ == *lists) return;
  revocations_ = *lists;
  if (!lists->empty()) log::info("revocations_read", {{"bytes", lists->size()}});
  const absl::MutexLock lock(&applying_);
  ads_->apply({.generation = generation_, .upserted = {revocations_resource(*lists)}, .removed = {}});
}

HttpReply ControlServer::serve_metrics(std::string_view path) const {
  if (path != "/metrics") return {404, "text/plain; charset=utf-8", "not here; next: GET /metrics\n"};
  ControlFigures figures{.clients = ads_->clients(),
                         .callers = callers_->counts(),
                         .generation = generation_,
                         .rejected = rejected_,
                         .certificates = certificates_->given(),
                         .certificates_refused = certificates_->refused()};
  if (parts_.source_report) figures.source_kinds = parts_.source_report().kinds;
  if (webhook_ != nullptr) figures.admissions = webhook_->counts();
  if (parts_.join != nullptr) figures.joins = parts_.join->counts();
  if (parts_.status != nullptr) figures.status = parts_.status->counts();
  return {200, "text/plain; version=0.0.4; charset=utf-8", render(figures)};
}

HttpReply ControlServer::serve_health(std::string_view path) const {
  constexpr char kText[] = "text/plain; charset=utf-8";
  if (path == "/healthz") return {200, kText, "ok\n"};
  if (path != "/readyz") return {404, kText, "not here; next: GET /readyz\n"};
  std::string problems;
  if (parts_.source_report) {
    for (const std::string& problem : parts_.source_report().problems) str_append(&problems, problem, "\n");
  }
  if (parts_.status != nullptr) {
    if (const std::string problem = parts_.status->counts().problem; !problem.empty())
      str_append(&problems, "status of objects is not written: ", problem, "\n");
  }
  if (generation_ == 0) return {503, kText, str_cat("the objects have not been read yet\n", problems)};
  // Not less ready for a server that is away: agents are served what is known.
  return {200, kText, str_cat("ready\n", problems)};
}

}  // namespace weft::control_plane
