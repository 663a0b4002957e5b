// What the proxy counted of the requests to one service, for those who act on it (`weft canary`). Part of
// AdminService; called by gRPC only.
#include <algorithm>
#include <map>

#include "agent/admin/admin_service.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

constexpr uint32_t kDefaultIntervalMs = 1000;
constexpr uint32_t kMinIntervalMs = 50;
constexpr uint32_t kMaxIntervalMs = 60'000;
constexpr std::chrono::milliseconds kMetricsDeadline{1000};
// How fast a cancelled call is noticed.
constexpr std::chrono::milliseconds kLook{50};
// What the proxy calls a workload that it did not come to.
constexpr char kUnknown[] = "unknown";

bool is_error(const proxy::v1::RequestSeries& series) {
  return series.code_class() == "5xx" || series.code_class() == "0";
}

void count(const proxy::v1::Metrics& metrics, const std::string& ns, const std::string& name,
           admin::v1::RequestCounts* out) {
  std::map<std::string, admin::v1::RequestCounts::Row> rows;
  for (const proxy::v1::RequestSeries& series : metrics.requests()) {
    if (series.destination_service() != name || series.destination_namespace() != ns) continue;
    // A route that answers by itself, an injected abort for one, says nothing about any version.
    const uint64_t requests = series.requests() - std::min(series.requests(), series.own_answers());
    if (requests == 0) continue;
    const std::string& workload = series.destination_workload();
    admin::v1::RequestCounts::Row& row = rows[workload == kUnknown ? "" : str_cat(ns, "/", workload)];
    row.set_requests(row.requests() + requests);
    if (is_error(series)) row.set_errors(row.errors() + requests);
    while (row.duration_buckets_size() < series.duration_buckets_size()) row.add_duration_buckets(0);
    for (int i = 0; i < series.duration_buckets_size(); ++i)
      row.set_duration_buckets(i, row.duration_buckets(i) + series.duration_buckets(i));
  }
  for (auto& [workload, row] : rows) {
    row.set_workload(workload);
    *out->add_rows() = std::move(row);
  }
}

}  // namespace

grpc::Status AdminService::WatchRequests(grpc::ServerContext* context,
                                         const admin::v1::WatchRequestsRequest* request,
                                         grpc::ServerWriter<admin::v1::RequestCounts>* writer) {
  const auto service = parse_workload_name(request->service());
  if (!service.ok()) return to_grpc(service.status());
  const uint32_t asked = request->interval_ms() == 0 ? kDefaultIntervalMs : request->interval_ms();
  const std::chrono::milliseconds interval(std::clamp(asked, kMinIntervalMs, kMaxIntervalMs));
  auto next = std::chrono::steady_clock::now();
  while (!context->IsCancelled() && !stopping_) {
    admin::v1::RequestCounts counts;
    const uint32_t pid = parts_.proxy.state().pid;
    const auto metrics = parts_.proxy.metrics(kMetricsDeadline);
    // Counts of one process never go under the name of the next.
    counts.set_proxy_answers(metrics.has_value() && parts_.proxy.state().pid == pid);
    if (counts.proxy_answers()) count(*metrics, service->first, service->second, &counts);
    counts.set_proxy_pid(pid);
    counts.set_proxy_generation(parts_.acked());
    const auto generation =
        parts_.reconciler.read([](const Reconciler::View& view) { return view.generation; });
    if (!generation) break;
    counts.set_config_generation(*generation);
    if (!writer->Write(counts)) break;
    // Late is late: what was missed is not sent in a row afterwards, when it says nothing new.
    next = std::max(next + interval, std::chrono::steady_clock::now());
    std::unique_lock lock(stop_mutex_);
    while (!stopping_ && !context->IsCancelled() && std::chrono::steady_clock::now() < next)
      stopped_.wait_for(lock, kLook);
  }
  return grpc::Status::OK;
}

}  // namespace weft::agent
