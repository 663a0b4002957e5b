// What one worker counts and tells: the ExchangeSink behind Worker::Options::sink. Written by its worker,
// read by the reporter; no lock between them. Knows nothing of gRPC.
#pragma once

#include <array>
#include <atomic>
#include <string>

#include "proto/weft/proxy/v1/telemetry.pb.h"
#include "userspace-proxy/telemetry/access_log.h"
#include "userspace-proxy/telemetry/request_series.h"

namespace weft::proxy {

class WorkerTelemetry final : public ExchangeSink {
 public:
  // `access_log` and `observer` may be null; both outlive this. `observer` is woken for each observed
  // exchange.
  WorkerTelemetry(size_t index, AccessLog* access_log, Wakeup* observer);

  // Worker thread only.
  void record(const ExchangeRecord& record, const Snapshot& snapshot) override;

  // Any thread.
  void observe(bool on) { observing_.store(on, std::memory_order_relaxed); }
  uint64_t outcome_count(Outcome outcome) const { return outcomes_[static_cast<size_t>(outcome)].get(); }
  // Tunnels that came in to pods of this node and have ended.
  struct Tunnels {
    std::array<Counter, kOutcomeCount> outcomes;
    Counter received_bytes, sent_bytes;  // from and to their clients
  };
  const Tunnels& tunnels() const { return tunnels_; }
  const RequestSeries* first_series() const { return series_.first(); }
  uint64_t observe_dropped() const { return observed_.dropped(); }

  // Reporter thread only: appends the exchanges observed since the last call.
  void take_observed(std::vector<weft::proxy::v1::Exchange>* out);
  bool has_observed() const { return !observed_.empty(); }

 private:
  void count(const ExchangeRecord& record);
  void observe_one(const ExchangeRecord& record, const Snapshot& snapshot, int64_t end_unix_ns);

  const size_t index_;
  AccessLog* const access_log_;
  Wakeup* const observer_;
  std::array<Counter, kOutcomeCount> outcomes_;
  Tunnels tunnels_;
  RequestSeriesTable series_;
  std::string line_;                 // reused
  weft::proxy::v1::Exchange event_;  // reused
  std::string encoded_;              // reused
  ByteRing observed_;
  std::atomic<bool> observing_{false};
};

}  // namespace weft::proxy
