// The request series of one worker: label sets interned when first seen, counters after that. Written by the
// worker only; the reporter walks the list at the same time without a lock, because series are only ever
// added at its front.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/telemetry/duration_histogram.h"
#include "userspace-proxy/telemetry/exchange_record.h"

namespace weft::proxy {

struct SeriesLabels {
  std::string source_workload, source_ns;
  std::string service, workload, ns;
  std::string route;
  std::string code_class;  // "2xx"; "0": no status was sent

  auto tie() const { return std::tie(source_workload, source_ns, service, workload, ns, route, code_class); }
  bool operator<(const SeriesLabels& other) const { return tie() < other.tie(); }
};

struct RequestSeries {
  SeriesLabels labels;
  DurationHistogram duration;
  Counter requests;
  // Of them: the route answered by itself, or a provider refused (is_own_answer()): no endpoint was asked
  // for.
  Counter own_answers;
  RequestSeries* next = nullptr;
};

class RequestSeriesTable {
 public:
  // More label sets than this are counted under the route "other" with no workload names.
  static constexpr size_t kMaxSeries = 8192;

  explicit RequestSeriesTable(size_t max_series = kMaxSeries) : max_series_(max_series) {}
  ~RequestSeriesTable();
  RequestSeriesTable(const RequestSeriesTable&) = delete;
  RequestSeriesTable& operator=(const RequestSeriesTable&) = delete;

  // Worker only.
  void add(const ExchangeRecord& record, const Snapshot& snapshot);
  // Any thread: the newest series; follow `next`.
  const RequestSeries* first() const { return first_.load(std::memory_order_acquire); }

 private:
  struct Key {
    uint32_t source, server, cluster, endpoint, code;
    const ServicePort* dialled;  // where no cluster was chosen
    absl::string_view route;
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.source, k.server, k.cluster, k.endpoint, k.code, k.dialled, k.route);
    }
  };
  RequestSeries* intern(SeriesLabels labels);

  const size_t max_series_;
  // Indices and pointers mean something within one generation only; labels for ever.
  uint64_t generation_ = 0;
  absl::flat_hash_map<Key, RequestSeries*> by_index_;
  absl::flat_hash_map<std::string, RequestSeries*> by_labels_;
  std::atomic<RequestSeries*> first_{nullptr};
};

}  // namespace weft::proxy
