// The metric families in the order of metric_table.h; see exporter.h. Called by the metrics endpoint for each
// scrape.
#include "agent/metrics/exporter.h"

#include <array>
#include <map>

#include "agent/metrics/metric_table.h"
#include "agent/metrics/text_format.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

// Which of the sockets of one exchange a row was measured at.
const char* reporter_of(uint32_t direction) {
  if (direction == WEFT_DIRECTION_INBOUND) return "destination";
  return direction == WEFT_DIRECTION_PROXY ? "proxy" : "source";
}

struct FlowSum {
  weft_flow total{};
};
// Two ids may share one set of labels (a pod that came back with a new uid): their rows are one series.
using FlowTable = std::map<std::vector<std::string>, FlowSum>;

void describe(uint32_t id, const IdRegistry& ids, std::string* service, std::string* workload,
              std::string* ns) {
  const Subject* subject = ids.subject(id);
  if (subject == nullptr) {
    *workload = id == WEFT_ID_OVERFLOW ? "overflow" : "unknown";
    return;
  }
  *ns = subject->ns;
  *(subject->kind == Subject::Kind::kService ? service : workload) = subject->name;
}

void add(weft_flow* sum, const weft_flow& row) {
  sum->opened += row.opened;
  sum->closed += row.closed;
  sum->failed += row.failed;
  sum->sent_bytes += row.sent_bytes;
  sum->received_bytes += row.received_bytes;
  sum->connect_ns_sum += row.connect_ns_sum;
  for (size_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; ++i) sum->connect_bucket[i] += row.connect_bucket[i];
}

FlowTable gather(const MetricsInput& input) {
  FlowTable table;
  for (const FlowRow& row : input.flows) {
    // The overflow bucket exists before it is needed.
    if (row.key.source == WEFT_ID_OVERFLOW && row.total.opened + row.total.closed + row.total.failed == 0)
      continue;
    std::string source_service, source, source_ns, service, workload, ns;
    describe(row.key.source, input.ids, &source_service, &source, &source_ns);
    describe(row.key.destination, input.ids, &service, &workload, &ns);
    const char* reporter = reporter_of(row.key.direction);
    add(&table[{source, source_ns, service, workload, ns, reporter}].total, row.total);
  }
  return table;
}

Labels flow_labels(const std::vector<std::string>& values) {
  constexpr std::array<std::string_view, 6> kNames{"source_workload",       "source_namespace",
                                                   "destination_service",   "destination_workload",
                                                   "destination_namespace", "reporter"};
  Labels labels;
  for (size_t i = 0; i < kNames.size(); ++i) labels.emplace_back(kNames[i], values[i]);
  return labels;
}

Labels request_labels(const proxy::v1::RequestSeries& series) {
  return {{"source_workload", series.source_workload()},
          {"source_namespace", series.source_namespace()},
          {"destination_service", series.destination_service()},
          {"destination_workload", series.destination_workload()},
          {"destination_namespace", series.destination_namespace()},
          {"route", series.route()},
          {"code_class", series.code_class()},
          {"path", "proxy"}};
}

// One writer per family; the name chooses it in render_metrics.
struct Writer {
  const MetricsInput& input;
  const FlowTable& flows;
  TextFormat& out;

  void flow_counter(std::string_view name, __u64 weft_flow::* field) const {
    for (const auto& [labels, sum] : flows)
      out.sample(name, flow_labels(labels), static_cast<uint64_t>(sum.total.*field));
  }

  void weft_tcp_opened_total(std::string_view name) const { flow_counter(name, &weft_flow::opened); }
  void weft_tcp_closed_total(std::string_view name) const { flow_counter(name, &weft_flow::closed); }
  void weft_tcp_failed_total(std::string_view name) const { flow_counter(name, &weft_flow::failed); }
  void weft_tcp_sent_bytes_total(std::string_view name) const { flow_counter(name, &weft_flow::sent_bytes); }
  void weft_tcp_received_bytes_total(std::string_view name) const {
    flow_counter(name, &weft_flow::received_bytes);
  }
  void weft_tcp_connect_duration_seconds(std::string_view name) const {
    for (const auto& [labels, sum] : flows) {
      if (labels.back() != "source") continue;  // only a client's socket sees its connect
      std::vector<uint64_t> buckets(sum.total.connect_bucket,
                                    sum.total.connect_bucket + WEFT_HISTOGRAM_BUCKETS);
      out.histogram(name, flow_labels(labels), buckets, static_cast<double>(sum.total.connect_ns_sum) / 1e9);
    }
  }
  void weft_requests_total(std::string_view name) const {
    if (!input.proxy.has_value()) return;
    for (const auto& series : input.proxy->requests())
      out.sample(name, request_labels(series), series.requests());
  }
  void weft_request_duration_seconds(std::string_view name) const {
    if (!input.proxy.has_value()) return;
    for (const auto& series : input.proxy->requests()) {
      const std::vector<uint64_t> buckets(series.duration_buckets().begin(), series.duration_buckets().end());
      out.histogram(name, request_labels(series), buckets,
                    static_cast<double>(series.duration_us_sum()) / 1e6);
    }
  }
  void weft_outcomes_total(std::string_view name) const {
    if (!input.proxy.has_value()) return;
    for (const auto& row : input.proxy->outcomes())
      out.sample(name, {{"outcome", row.outcome()}}, row.count());
  }
  void weft_proxy_up(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.proxy.has_value() ? 1u : 0u});
  }
  void weft_bpf_events_total(std::string_view name) const {
    constexpr std::array<std::string_view, WEFT_STAT_COUNT> kEvents{
#define X(id, label, help) label,
        WEFT_STATS(X)
#undef X
    };
    for (size_t i = 0; i < kEvents.size() && i < input.stats.size(); ++i) {
      out.sample(name, {{"event", std::string(kEvents[i])}}, input.stats[i]);
    }
  }
  void weft_bpf_map_entries(std::string_view name) const {
    for (const MapStatus& map : input.maps) out.sample(name, {{"map", map.name}}, map.entries);
  }
  void weft_bpf_map_capacity(std::string_view name) const {
    for (const MapStatus& map : input.maps) out.sample(name, {{"map", map.name}}, map.capacity);
  }
  void weft_config_generation(std::string_view name) const { out.sample(name, {}, input.generation); }
  void weft_config_last_ack_timestamp_seconds(std::string_view name) const {
    out.sample(name, {}, input.last_ack_seconds);
  }
  void weft_config_rejected(std::string_view name) const { out.sample(name, {}, uint64_t{input.rejected}); }
  void weft_pods_eligible(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.pods_eligible});
  }
  void weft_pods_redirected(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.pods_captured});
  }
  void weft_observe_dropped_total(std::string_view name) const {
    out.sample(name, {}, input.observe_dropped);
  }
};

bool is_metric_name(std::string_view name) {
  if (name.substr(0, 5) != "weft_") return false;
  for (const char c : name) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return true;
}

// What the proxy counts about itself, under the names it chose.
void proxy_numbers(const google::protobuf::Map<std::string, uint64_t>& values, std::string_view type,
                   TextFormat* out) {
  const std::map<std::string, uint64_t> sorted(values.begin(), values.end());
  for (const auto& [name, value] : sorted) {
    if (!is_metric_name(name)) continue;
    out->family(name, type, "Reported by the node proxy about itself");
    out->sample(name, {}, value);
  }
}

}  // namespace

std::string render_metrics(const MetricsInput& input) {
  const FlowTable flows = gather(input);
  TextFormat out;
  const Writer writer{input, flows, out};
#define X(name, type, labels, help) \
  out.family(#name, #type, help);   \
  writer.name(#name);
  WEFT_METRICS(X)
#undef X
  if (input.proxy.has_value()) {
    proxy_numbers(input.proxy->gauges(), "gauge", &out);
    proxy_numbers(input.proxy->counters(), "counter", &out);
  }
  return out.text();
}

std::string metrics_document() {
  std::string out =
      "# Metrics\n\nServed by `weft-agent` at `http://NODE:15020/metrics` in the Prometheus text format. "
      "Histograms are in seconds, "
      "from 50 µs\nto 10 s. Generated from `agent/metrics/metric_table.h`; a test keeps the two equal.\n\n"
      "| metric | type | labels | meaning |\n|---|---|---|---|\n";
#define X(name, type, labels, help) \
  str_append(&out, "| `" #name "` | " #type " | ", label_names(labels), " | ", help, " |\n");
  WEFT_METRICS(X)
#undef X
  str_append(&out,
             "\n"
             "`reporter` says at which socket a row was measured: `source` (the client's), `destination` "
             "(the server's, when its pod is\n"
             "enrolled), `proxy` (the connection that the node proxy dialled for the source). The client of "
             "a captured connection sees the\n"
             "proxy answer at once, so whether a server refuses, and how long it takes to answer, is in the "
             "rows of `reporter=\"proxy\"`.\n"
             "Sum over one reporter only.\n"
             "\nThe proxy adds numbers about itself (`weft_proxy_…`); they are absent while it is away.\n\n"
             "## Values of `event` in `weft_bpf_events_total`\n\n| event | meaning |\n|---|---|\n");
#define X(id, label, help) str_append(&out, "| `" label "` | ", help, " |\n");
  WEFT_STATS(X)
#undef X
  return out;
}

}  // namespace weft::agent
