// Fans one exchange record out: outcome counter, series, access-log line, and an event while somebody
// watches. Called once per exchange on the worker's thread; never waits.
#include "userspace-proxy/telemetry/worker_telemetry.h"

#include <time.h>

#include <cstring>

#include "userspace-proxy/telemetry/access_log_line.h"

namespace weft::proxy {
namespace {

constexpr size_t kObservedBytes = 256 * 1024;
constexpr size_t kMaxObservedField = 1024;

int64_t unix_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Protobuf strings must be UTF-8; what a peer sends need not be.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, kMaxObservedField));
  for (char& c : out) {
    if (c < ' ' || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace

WorkerTelemetry::WorkerTelemetry(size_t index, AccessLog* access_log, Wakeup* observer)
    : index_(index), access_log_(access_log), observer_(observer), observed_(kObservedBytes) {}

// What a tunnel carries was an exchange or a connection of its client's node, and is counted there.
void WorkerTelemetry::count(const ExchangeRecord& record) {
  const size_t outcome = static_cast<size_t>(record.outcome);
  if (record.protocol != ExchangeRecord::Protocol::kTunnel) return outcomes_[outcome].add(1);
  tunnels_.outcomes[outcome].add(1);
  tunnels_.received_bytes.add(record.received_bytes);
  tunnels_.sent_bytes.add(record.sent_bytes);
}

void WorkerTelemetry::record(const ExchangeRecord& record, const Snapshot& snapshot) {
  count(record);
  if (is_http(record.protocol)) series_.add(record, snapshot);
  const bool observing = observing_.load(std::memory_order_relaxed);
  if (access_log_ == nullptr && !observing) return;
  const int64_t now = unix_now();
  if (access_log_ != nullptr) {
    line_.clear();
    append_access_log_line(record, snapshot, now, &line_);
    access_log_->write(index_, line_);
  }
  if (observing) observe_one(record, snapshot, now);
}

void WorkerTelemetry::observe_one(const ExchangeRecord& record, const Snapshot& snapshot,
                                  int64_t end_unix_ns) {
  event_.Clear();
  event_.set_start_unix_ns(end_unix_ns - static_cast<int64_t>(record.duration));
  if (record.source < snapshot.sources.size()) {
    event_.set_source_workload(
        str_cat(snapshot.sources[record.source].ns, "/", snapshot.sources[record.source].name));
  }
  event_.set_source_address(record.client.to_string());
  event_.set_source_identity(shown(record.identity));
  event_.set_destination_address(record.dialled.to_string());
  if (record.upstream.port != 0) event_.set_upstream_address(record.upstream.to_string());
  if (record.cluster < snapshot.clusters.size()) {
    const Cluster& cluster = snapshot.clusters[record.cluster];
    if (record.endpoint < cluster.endpoints.size()) {
      const Endpoint& endpoint = cluster.endpoints[record.endpoint];
      event_.set_destination_workload(str_cat(endpoint.ns, "/", endpoint.workload));
    }
    event_.set_destination_service(str_cat(cluster.ns, "/", cluster.service));
  } else if (record.server < snapshot.sources.size()) {
    const Source& server = snapshot.sources[record.server];
    event_.set_destination_workload(str_cat(server.ns, "/", server.name));
  } else if (const ServicePort* dialled = snapshot.find_service_port(record.source, record.dialled)) {
    event_.set_destination_service(str_cat(dialled->ns, "/", dialled->service));
  }
  event_.set_protocol(std::string(label(record.protocol)));
  event_.set_method(shown(record.method));
  event_.set_authority(shown(record.authority));
  event_.set_path(shown(path_without_query(record.path)));
  event_.set_status(record.status);
  event_.set_route(shown(record.route));
  event_.set_outcome(std::string(label(record.outcome)));
  event_.set_duration_us(record.duration / 1000);
  event_.set_received_bytes(record.received_bytes);
  event_.set_sent_bytes(record.sent_bytes);
  encoded_.clear();
  event_.AppendToString(&encoded_);
  const uint32_t size = static_cast<uint32_t>(encoded_.size());
  observed_.push({reinterpret_cast<const char*>(&size), sizeof(size)}, encoded_);
  if (observer_ != nullptr) observer_->notify();
}

void WorkerTelemetry::take_observed(std::vector<weft::proxy::v1::Exchange>* out) {
  std::string bytes;
  observed_.drain(&bytes);
  std::string_view rest = bytes;
  uint32_t size = 0;
  while (rest.size() >= sizeof(size)) {
    std::memcpy(&size, rest.data(), sizeof(size));
    rest.remove_prefix(sizeof(size));
    if (size > rest.size()) return;
    if (!out->emplace_back().ParseFromArray(rest.data(), static_cast<int>(size))) out->pop_back();
    rest.remove_prefix(size);
  }
}

}  // namespace weft::proxy
