// Interning of request series. Called by WorkerTelemetry for every HTTP exchange; allocates only for what is
// seen first.
#include "userspace-proxy/telemetry/request_series.h"

#include <memory>

namespace weft::proxy {
namespace {

constexpr char kUnknown[] = "unknown";
constexpr char kSeparator = '\x1f';

// `dialled`: of an exchange for which no cluster was chosen, where that is a service.
SeriesLabels labels_of(const ExchangeRecord& record, const Snapshot& snapshot, const ServicePort* dialled) {
  SeriesLabels out{kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, std::string(record.route), "0"};
  if (record.source < snapshot.sources.size()) {
    out.source_workload = snapshot.sources[record.source].name;
    out.source_ns = snapshot.sources[record.source].ns;
  }
  if (record.cluster < snapshot.clusters.size()) {
    const Cluster& cluster = snapshot.clusters[record.cluster];
    out.service = cluster.service;
    out.ns = cluster.ns;
    if (record.endpoint < cluster.endpoints.size())
      out.workload = cluster.endpoints[record.endpoint].workload;
  } else if (record.server < snapshot.sources.size()) {
    out.workload = snapshot.sources[record.server].name;
    out.ns = snapshot.sources[record.server].ns;
  } else if (dialled != nullptr) {
    out.service = dialled->service;
    out.ns = dialled->ns;
  }
  if (record.status >= 100) out.code_class = str_cat(record.status / 100, "xx");
  return out;
}

std::string joined(const SeriesLabels& l) {
  std::string out;
  for (const std::string* part :
       {&l.source_workload, &l.source_ns, &l.service, &l.workload, &l.ns, &l.route, &l.code_class}) {
    out += *part;
    out += kSeparator;
  }
  return out;
}

}  // namespace

RequestSeriesTable::~RequestSeriesTable() {
  for (RequestSeries* series = first_.load(); series != nullptr;) {
    const std::unique_ptr<RequestSeries> owned(series);
    series = owned->next;
  }
}

RequestSeries* RequestSeriesTable::intern(SeriesLabels labels) {
  std::string key = joined(labels);
  if (by_labels_.size() >= max_series_ && !by_labels_.contains(key)) {
    labels = SeriesLabels{kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, "other", labels.code_class};
    key = joined(labels);
  }
  const auto [row, inserted] = by_labels_.try_emplace(std::move(key), nullptr);
  if (!inserted) return row->second;
  auto series = std::make_unique<RequestSeries>();
  series->labels = std::move(labels);
  series->next = first_.load(std::memory_order_relaxed);
  row->second = series.get();
  first_.store(series.release(), std::memory_order_release);
  return row->second;
}

void RequestSeriesTable::add(const ExchangeRecord& record, const Snapshot& snapshot) {
  if (generation_ != snapshot.generation) {
    by_index_.clear();
    generation_ = snapshot.generation;
  }
  const bool chosen = record.cluster < snapshot.clusters.size();
  const ServicePort* dialled = chosen ? nullptr : snapshot.find_service_port(record.source, record.dialled);
  const Key key{record.source,        record.server, record.cluster,       record.endpoint,
                record.status / 100u, dialled,       to_absl(record.route)};
  const auto found = by_index_.find(key);
  RequestSeries* series =
      found != by_index_.end() ? found->second : intern(labels_of(record, snapshot, dialled));
  // The key's route must outlive the record; in the overflow series it is a different text and is not cached.
  if (found == by_index_.end() && series->labels.route == record.route) {
    by_index_.emplace(
        Key{key.source, key.server, key.cluster, key.endpoint, key.code, dialled, series->labels.route},
        series);
  }
  series->requests.add(1);
  if (is_own_answer(record.outcome)) series->own_answers.add(1);
  series->duration.add(record.duration);
}

}  // namespace weft::proxy
