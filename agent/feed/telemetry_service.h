// The server of the proxy's telemetry stream (proto/weft/proxy): numbers on request, exchanges while somebody
// watches, beats. One gRPC thread per stream; the newest stream is the proxy, an older one (an upgrade
// overlaps) is still read.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "agent/feed/observe_hub.h"
#include "agent/feed/proxy_status.h"
#include "proto/weft/proxy/v1/telemetry.grpc.pb.h"

namespace weft::agent {

class TelemetryService final : public proxy::v1::ProxyTelemetry::Service, public ProxyStatus {
 public:
  // `on_beat` runs on the stream's thread and must not block.
  TelemetryService(ObserveHub& hub, std::function<void()> on_beat);
  ~TelemetryService() override;

  grpc::Status Report(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<proxy::v1::ReportRequest, proxy::v1::ProxyReport>* stream) override;

  ProxyState state() const override;
  std::optional<proxy::v1::Metrics> metrics(std::chrono::milliseconds deadline) override;
  // Ends all streams; later ones are refused.
  void shutdown();

 private:
  struct Session;

  void receive(Session& session, const proxy::v1::ProxyReport& report);
  std::shared_ptr<Session> newest() const;

  ObserveHub& hub_;
  std::function<void()> on_beat_;
  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::map<uint64_t, std::shared_ptr<Session>> sessions_;
  uint64_t last_session_ = 0;
  uint64_t last_metrics_id_ = 0;
  std::map<uint64_t, proxy::v1::Metrics> answers_;  // id to answer, for ids that somebody waits for
  std::map<uint64_t, uint64_t> waiting_;            // id to session
  bool stopping_ = false;
};

}  // namespace weft::agent
