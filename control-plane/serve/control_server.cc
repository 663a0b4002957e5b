// The composition root of weft-control; see control_server.h.
#include "control-plane/serve/control_server.h"

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
constexpr int kMaxResponseBytes = 200 << 20;
constexpr int kGraceMs = 5'000;
constexpr int kPingEveryMs = 30'000;
constexpr int kPingAnswerMs = 10'000;
// Agents ping as often; a peer that pings faster is sent away.
constexpr int kLeastPingMs = 10'000;
constexpr std::chrono::seconds kEnd{5};

// A node that was removed is none for its certificate either.
Callers::Options with_members(Callers::Options options, const JoinDesk* desk) {
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
      callers_(with_members(options_.callers, parts_.join.get()), parts_.review),
      ads_(AdsService::create(
          [this](const grpc::ServerContextBase& context) { return node_of_call(callers_, context); })),
      certificates_(std::make_unique<CertificateService>(CertificateService::Parts{
          .sign = CertificateService::signed_by(*parts_.authority),
          .runs_on = [this](const std::string& node,
                            const SpiffeId& id) { return workloads_.runs_on(node, id); },
          .node_of =
              [this](const grpc::ServerContextBase& context) { return node_of_call(callers_, context); }})) {
  if (parts_.join == nullptr) return;
  joins_ = std::make_unique<JoinService>(*parts_.join, [this](const grpc::ServerContextBase& context) {
    return node_of_call(callers_, context);
  });
}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::start(Options options, Parts parts) {
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(options), std::move(parts)));
  RETURN_IF_ERROR(server->start_all());
  return server;
}

absl::Status ControlServer::start_all() {
  // Ports early: they fail most often, and readiness says that we are not there yet.
  ASSIGN_OR_RETURN(metrics_,
                   HttpServer::start({.address = options_.metrics_address},
                                     [this](std::string_view path) { return serve_metrics(path); }));
  ASSIGN_OR_RETURN(health_, HttpServer::start({.address = options_.health_address},
                                              [this](std::string_view path) { return serve_health(path); }));
  ServerCertificate::Options certificate = options_.certificate;
  if (parts_.join != nullptr) certificate.client_authority_file = parts_.join->client_authorities();
  ASSIGN_OR_RETURN(certificate_,
                   ServerCertificate::open(std::move(certificate), *parts_.authority, absl::Now()));
  ASSIGN_OR_RETURN(control_plane_,
                   parts_.start_control_plane([this](const Change& change) { on_change(change); }));
  RETURN_IF_ERROR(listen());
  log::info("control_started", {{"address", address_.to_string()},
                                {"metrics", metrics_->address().to_string()},
                                {"health", health_->address().to_string()}});
  return absl::OkStatus();
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
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(options_.connection_age)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kGraceMs);
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
  // Who may ask for certificates before who is told of pods: an agent asks at once.
  workloads_.apply(change);
  ads_->apply(served);
  rejected_ = static_cast<uint64_t>(
      std::count_if(change.findings.begin(), change.findings.end(),
                    [](const Finding& finding) { return finding.level == Finding::Level::kError; }));
  generation_ = change.generation;
  if (parts_.status != nullptr) parts_.status->tell(change.findings);
}

ControlServer::~ControlServer() {
  health_.reset();
  metrics_.reset();
  control_plane_.reset();
  ads_->shutdown();
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
}

HttpReply ControlServer::serve_metrics(std::string_view path) const {
  if (path != "/metrics") return {404, "text/plain; charset=utf-8", "not here; next: GET /metrics\n"};
  ControlFigures figures{.clients = ads_->clients(),
                         .callers = callers_.counts(),
                         .generation = generation_,
                         .rejected = rejected_,
                         .certificates_refused = certificates_->refused()};
  for (const auto& [id, issued] : certificates_->issued()) figures.certificates += issued.count;
  if (parts_.source_report) figures.source_kinds = parts_.source_report().kinds;
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
  if (generation_ == 0) return {503, kText, str_cat("the objects have not been read yet\n", problems)};
  // Not less ready for a server that is away: agents are served what is known.
  return {200, kText, str_cat("ready\n", problems)};
}

}  // namespace weft::control_plane
