// Adds up series, outcomes and gauges over workers. Never resets anything: counters only grow while the
// process lives.
#include "userspace-proxy/metrics.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "userspace-proxy/route/rate_limiter.h"

namespace weft::proxy {
namespace {

namespace v1 = weft::proxy::v1;

void add_faults(std::string_view prefix, const Http2FaultCounts::Values& values, v1::Metrics* out) {
  auto& counters = *out->mutable_counters();
  for (size_t i = 1; i < values.size(); ++i)
    counters[str_cat(prefix, label(static_cast<Http2Fault>(i)), "_total")] += values[i];
}

struct Sum {
  uint64_t requests = 0;
  uint64_t own_answers = 0;
  uint64_t sum_us = 0;
  std::array<uint64_t, WEFT_HISTOGRAM_BUCKETS> buckets{};
};

void write(const SeriesLabels& labels, const Sum& sum, v1::RequestSeries* out) {
  out->set_source_workload(labels.source_workload);
  out->set_source_namespace(labels.source_ns);
  out->set_destination_service(labels.service);
  out->set_destination_workload(labels.workload);
  out->set_destination_namespace(labels.ns);
  out->set_route(labels.route);
  out->set_code_class(labels.code_class);
  out->set_requests(sum.requests);
  out->set_own_answers(sum.own_answers);
  out->set_duration_us_sum(sum.sum_us);
  for (const uint64_t bucket : sum.buckets) out->add_duration_buckets(bucket);
}

void write(const std::array<uint64_t, kOutcomeCount>& counts,
           google::protobuf::RepeatedPtrField<v1::OutcomeCount>* out) {
  for (size_t i = 0; i < counts.size(); ++i) {
    v1::OutcomeCount* count = out->Add();
    count->set_outcome(std::string(label(static_cast<Outcome>(i))));
    count->set_count(counts[i]);
  }
}

}  // namespace

void sum_telemetry(const std::vector<WorkerTelemetry*>& telemetry, v1::Metrics* out) {
  std::map<SeriesLabels, Sum> sums;
  std::array<uint64_t, kOutcomeCount> outcomes{}, tunnels{};
  uint64_t observe_dropped = 0;
  for (const WorkerTelemetry* t : telemetry) {
    for (const RequestSeries* series = t->first_series(); series != nullptr; series = series->next) {
      Sum& sum = sums[series->labels];
      sum.requests += series->requests.get();
      sum.own_answers += series->own_answers.get();
      sum.sum_us += series->duration.sum_us.get();
      for (size_t i = 0; i < sum.buckets.size(); ++i) sum.buckets[i] += series->duration.buckets[i].get();
    }
    for (size_t i = 0; i < outcomes.size(); ++i) outcomes[i] += t->outcome_count(static_cast<Outcome>(i));
    for (size_t i = 0; i < tunnels.size(); ++i) tunnels[i] += t->tunnels().outcomes[i].get();
    out->set_tunnel_received_bytes(out->tunnel_received_bytes() + t->tunnels().received_bytes.get());
    out->set_tunnel_sent_bytes(out->tunnel_sent_bytes() + t->tunnels().sent_bytes.get());
    observe_dropped += t->observe_dropped();
  }
  for (const auto& [labels, sum] : sums) write(labels, sum, out->add_requests());
  write(outcomes, out->mutable_outcomes());
  write(tunnels, out->mutable_tunnels());
  (*out->mutable_counters())["weft_proxy_observe_dropped_total"] = observe_dropped;
  (*out->mutable_counters())["weft_proxy_rate_limit_evicted_keys_total"] = RateLimiter::evicted();
}

void sum_gauges(const std::vector<Worker*>& workers, v1::Metrics* out) {
  auto& gauges = *out->mutable_gauges();
  for (const Worker* worker : workers) {
    const WorkerGauges g = worker->gauges();
    gauges["weft_proxy_downstream_connections"] += g.downstream_connections;
    gauges["weft_proxy_upstream_connections"] += g.upstream_connections;
    gauges["weft_proxy_upstream_idle"] += g.upstream_idle;
    gauges["weft_proxy_active_exchanges"] += g.active_exchanges;
    gauges["weft_proxy_buffered_bytes"] += g.buffered_bytes;
    gauges["weft_proxy_held_head_bytes"] += g.held_head_bytes;
    gauges["weft_proxy_overloaded_workers"] += g.overloaded;
    auto& counters = *out->mutable_counters();
    counters["weft_proxy_loop_turns_total"] += g.loop_turns;
    counters["weft_proxy_shed_requests_total"] += g.shed_requests;
    counters["weft_proxy_refused_connections_total"] += g.refused_connections;
    counters["weft_proxy_policy_shadow_allowed_total"] += g.shadow_allowed;
    counters["weft_proxy_policy_shadow_denied_total"] += g.shadow_denied;
    counters["weft_proxy_policy_audited_total"] += g.audited;
    counters["weft_proxy_provider_allowed_total"] += g.provider_allowed;
    counters["weft_proxy_provider_denied_total"] += g.provider_denied;
    counters["weft_proxy_provider_failed_total"] += g.provider_failed;
    counters["weft_proxy_evicted_connections_total"] += g.evicted_connections;
    counters["weft_proxy_accept_failures_total"] += g.accept_failures;
    add_faults("weft_proxy_http2_ended_", g.http2_faults, out);
    add_faults("weft_proxy_http2_upstream_ended_", g.http2_upstream_faults, out);
  }
  gauges["weft_proxy_workers"] = workers.size();
  gauges["weft_proxy_snapshot_generation"] = lowest_generation(workers);
}

void add_ejections(const SharedClusters::Sums& sums, v1::Metrics* out) {
  (*out->mutable_gauges())["weft_proxy_ejected_endpoints"] = sums.ejected;
  (*out->mutable_counters())["weft_proxy_ejections_total"] = sums.ejections;
  (*out->mutable_counters())["weft_proxy_ejections_withheld_total"] = sums.withheld_ejections;
}

void sum_pods(const std::vector<Worker*>& workers, v1::Metrics* out) {
  std::map<uint64_t, v1::PodUse*> by_netns;
  for (const Worker* worker : workers) {
    for (const auto& pod : worker->pods()) {
      v1::PodUse*& sum = by_netns[pod->netns_cookie];
      if (sum == nullptr) sum = out->add_pods();
      sum->set_netns_cookie(pod->netns_cookie);
      sum->set_workload_uid(pod->workload_uid);
      sum->set_connections(sum->connections() + pod->connections.get());
      sum->set_requests(sum->requests() + pod->exchanges.get());
      sum->set_waiting(sum->waiting() + pod->waiting.get());
      sum->set_buffered_bytes(sum->buffered_bytes() + pod->buffered_bytes.get());
      for (size_t i = 0; i < kRefusalLabels.size(); ++i)
        (*sum->mutable_refused())[std::string(kRefusalLabels[i])] += pod->refused[i].get();
    }
  }
}

uint64_t lowest_generation(const std::vector<Worker*>& workers) {
  uint64_t lowest = workers.empty() ? 0 : workers.front()->snapshot_generation();
  for (const Worker* worker : workers) lowest = std::min(lowest, worker->snapshot_generation());
  return lowest;
}

}  // namespace weft::proxy
