// Streams of ProxyTelemetry.Report; see telemetry_service.h. Called by gRPC, the metrics exporter and the
// admin service.
#include "agent/feed/telemetry_service.h"

#include "base/log.h"

namespace weft::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Stream = grpc::ServerReaderWriter<proxy::v1::ReportRequest, proxy::v1::ProxyReport>;

constexpr std::chrono::seconds kBeatTimeout{3};

}  // namespace

struct TelemetryService::Session {
  uint64_t id = 0;
  grpc::ServerContext* context = nullptr;
  // Guarded by write_mutex: gRPC allows one writer at a time. Null once the stream ended.
  std::mutex write_mutex;
  Stream* stream = nullptr;
  // Guarded by TelemetryService::mutex_.
  proxy::v1::Hello hello;
  bool introduced = false;
  proxy::v1::Beat beat;
  SteadyClock::time_point last_beat;

  bool write(const proxy::v1::ReportRequest& request) {
    const std::lock_guard lock(write_mutex);
    return stream != nullptr && stream->Write(request);
  }
  bool observe(bool on) {
    proxy::v1::ReportRequest request;
    request.set_observe(on);
    return write(request);
  }
};

TelemetryService::TelemetryService(ObserveHub& hub, std::function<void()> on_beat)
    : hub_(hub), on_beat_(std::move(on_beat)) {
  hub_.on_active([this](bool on) {
    const std::shared_ptr<Session> session = newest();
    if (session != nullptr) session->observe(on);
  });
}

TelemetryService::~TelemetryService() { hub_.on_active(nullptr); }

grpc::Status TelemetryService::Report(grpc::ServerContext* context, Stream* stream) {
  const auto session = std::make_shared<Session>();
  session->context = context;
  session->stream = stream;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping");
    session->id = ++last_session_;
    sessions_[session->id] = session;
  }
  if (hub_.active()) session->observe(true);
  proxy::v1::ProxyReport report;
  while (stream->Read(&report)) receive(*session, report);
  {
    const std::lock_guard lock(session->write_mutex);
    session->stream = nullptr;
  }
  {
    const std::lock_guard lock(mutex_);
    sessions_.erase(session->id);
    std::erase_if(waiting_, [&session](const auto& entry) { return entry.second == session->id; });
  }
  answered_.notify_all();
  return grpc::Status::OK;
}

void TelemetryService::receive(Session& session, const proxy::v1::ProxyReport& report) {
  switch (report.report_case()) {
    case proxy::v1::ProxyReport::kHello: {
      const std::lock_guard lock(mutex_);
      session.hello = report.hello();
      session.introduced = true;
      break;
    }
    case proxy::v1::ProxyReport::kBeat: {
      {
        const std::lock_guard lock(mutex_);
        session.beat = report.beat();
        session.last_beat = SteadyClock::now();
      }
      on_beat_();
      break;
    }
    case proxy::v1::ProxyReport::kMetrics: {
      {
        const std::lock_guard lock(mutex_);
        if (!waiting_.contains(report.metrics().id())) return;
        answers_[report.metrics().id()] = report.metrics();
      }
      answered_.notify_all();
      break;
    }
    case proxy::v1::ProxyReport::kExchange:
      hub_.publish(report.exchange());
      break;
    case proxy::v1::ProxyReport::REPORT_NOT_SET:
      break;
  }
}

std::shared_ptr<TelemetryService::Session> TelemetryService::newest() const {
  const std::lock_guard lock(mutex_);
  return sessions_.empty() ? nullptr : sessions_.rbegin()->second;
}

ProxyState TelemetryService::state() const {
  const std::lock_guard lock(mutex_);
  ProxyState state;
  if (sessions_.empty()) return state;
  const Session& session = *sessions_.rbegin()->second;
  state.connected = session.introduced;
  state.beating = session.introduced && SteadyClock::now() - session.last_beat < kBeatTimeout;
  state.draining = session.beat.draining();
  state.version = session.hello.version();
  state.pid = session.hello.pid();
  state.workers = session.hello.workers();
  state.io = session.hello.io();
  state.generation = session.beat.snapshot_generation();
  return state;
}

std::optional<proxy::v1::Metrics> TelemetryService::metrics(std::chrono::milliseconds deadline) {
  const std::shared_ptr<Session> session = newest();
  if (session == nullptr) return std::nullopt;
  proxy::v1::ReportRequest request;
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = ++last_metrics_id_;
    waiting_[id] = session->id;
  }
  request.set_metrics_id(id);
  const bool sent = session->write(request);
  std::unique_lock lock(mutex_);
  if (sent) {
    answered_.wait_for(lock, deadline,
                       [this, id] { return answers_.contains(id) || !waiting_.contains(id) || stopping_; });
  }
  waiting_.erase(id);
  const auto answer = answers_.extract(id);
  if (answer.empty()) return std::nullopt;
  return answer.mapped();
}

void TelemetryService::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [id, session] : sessions_) session->context->TryCancel();
  }
  answered_.notify_all();
}

}  // namespace weft::agent
