// The metric families in the order of metric_table.h; see exporter.h. Called by the metrics endpoint for each
// scrape.
#include "agent/metrics/exporter.h"

#include <array>
#include <map>

#include "agent/dataplane/flow_sum.h"
#include "agent/metrics/metric_table.h"
#include "base/prometheus_text.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr std::array<std::string_view, WEFT_CONNECT_FAILURE_COUNT> kConnectFailures{
#define X(id, label, help) label,
    WEFT_CONNECT_FAILURES(X)
#undef X
};
constexpr std::array<std::string_view, WEFT_BREAK_COUNT> kBreaks{
#define X(id, label, help) label,
    WEFT_BREAKS(X)
#undef X
};

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
  const std::optional<Subject> subject = ids.subject(id);
  if (!subject) {
    *workload = id == WEFT_ID_OVERFLOW ? "overflow" : "unknown";
    return;
  }
  *ns = subject->ns;
  *(subject->kind == Subject::Kind::kService ? service : workload) = subject->name;
}

FlowTable gather(const MetricsInput& input) {
  FlowTable table;
  for (const FlowRow& row : input.flows) {
    // The overflow bucket exists before it is needed.
    if (row.key.source == WEFT_ID_OVERFLOW &&
        row.total.opened + row.total.closed + failed_connects(row.total) == 0)
      continue;
    std::string source_service, source, source_ns, service, workload, ns;
    describe(row.key.source, input.ids, &source_service, &source, &source_ns);
    describe(row.key.destination, input.ids, &service, &workload, &ns);
    const char* reporter = reporter_of(row.key.direction);
    add_flow(&table[{source, source_ns, service, workload, ns, reporter}].total, row.total);
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

  template <size_t N>
  void flow_causes(std::string_view name, const std::array<std::string_view, N>& causes,
                   __u64 (weft_flow::*field)[N]) const {
    for (const auto& [labels, sum] : flows) {
      for (size_t i = 0; i < N; ++i) {
        Labels with_cause = flow_labels(labels);
        with_cause.emplace_back("cause", causes[i]);
        out.sample(name, with_cause, static_cast<uint64_t>((sum.total.*field)[i]));
      }
    }
  }

  void flow_histogram(std::string_view name, const std::vector<std::string>& labels,
                      const weft_histogram& histogram) const {
    const std::vector<uint64_t> buckets(histogram.bucket, histogram.bucket + WEFT_HISTOGRAM_BUCKETS);
    out.histogram(name, flow_labels(labels), buckets, static_cast<double>(histogram.sum_ns) / 1e9);
  }

  void weft_tcp_opened_total(std::string_view name) const { flow_counter(name, &weft_flow::opened); }
  void weft_tcp_closed_total(std::string_view name) const { flow_counter(name, &weft_flow::closed); }
  void weft_tcp_failed_total(std::string_view name) const {
    flow_causes(name, kConnectFailures, &weft_flow::failed);
  }
  void weft_tcp_broken_total(std::string_view name) const { flow_causes(name, kBreaks, &weft_flow::broken); }
  void weft_tcp_sent_bytes_total(std::string_view name) const { flow_counter(name, &weft_flow::sent_bytes); }
  void weft_tcp_received_bytes_total(std::string_view name) const {
    flow_counter(name, &weft_flow::received_bytes);
  }
  void weft_tcp_retransmits_total(std::string_view name) const {
    flow_counter(name, &weft_flow::retransmits);
  }
  void weft_tcp_connect_duration_seconds(std::string_view name) const {
    for (const auto& [labels, sum] : flows) {
      if (labels.back() == "destination") continue;  // only who dials sees a connect
      flow_histogram(name, labels, sum.total.connect);
    }
  }
  void weft_tcp_rtt_seconds(std::string_view name) const {
    for (const auto& [labels, sum] : flows) flow_histogram(name, labels, sum.total.rtt);
  }
  void weft_tcp_first_byte_seconds(std::string_view name) const {
    for (const auto& [labels, sum] : flows) flow_histogram(name, labels, sum.total.first_byte);
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
  void weft_tunnels_total(std::string_view name) const {
    if (!input.proxy.has_value()) return;
    for (const auto& row : input.proxy->tunnels())
      out.sample(name, {{"outcome", row.outcome()}}, row.count());
  }
  void weft_tunnel_received_bytes_total(std::string_view name) const {
    if (input.proxy.has_value()) out.sample(name, {}, input.proxy->tunnel_received_bytes());
  }
  void weft_tunnel_sent_bytes_total(std::string_view name) const {
    if (input.proxy.has_value()) out.sample(name, {}, input.proxy->tunnel_sent_bytes());
  }
  // Pods that have left are nobody's series any more, though the proxy may still know them.
  template <typename F>
  void each_pod(F write) const {
    if (!input.proxy.has_value()) return;
    for (const auto& use : input.proxy->pods()) {
      const auto pod = input.pods.find(use.netns_cookie());
      if (pod == input.pods.end()) continue;
      write(use, Labels{{"workload", pod->second.second}, {"namespace", pod->second.first}});
    }
  }
  void weft_pod_connections(std::string_view name) const {
    each_pod([&](const auto& use, Labels labels) { out.sample(name, labels, use.connections()); });
  }
  void weft_pod_active_requests(std::string_view name) const {
    each_pod([&](const auto& use, Labels labels) { out.sample(name, labels, use.requests()); });
  }
  void weft_pod_waiting_requests(std::string_view name) const {
    each_pod([&](const auto& use, Labels labels) { out.sample(name, labels, use.waiting()); });
  }
  void weft_pod_buffered_bytes(std::string_view name) const {
    each_pod([&](const auto& use, Labels labels) { out.sample(name, labels, use.buffered_bytes()); });
  }
  void weft_pod_refused_total(std::string_view name) const {
    each_pod([&](const auto& use, const Labels& labels) {
      const std::map<std::string, uint64_t> sorted(use.refused().begin(), use.refused().end());
      for (const auto& [reason, count] : sorted) {
        Labels with_reason = labels;
        with_reason.emplace_back("reason", reason);
        out.sample(name, with_reason, count);
      }
    });
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
  // Only the maps that programs insert into: the agent's own writes fail loudly.
  void weft_bpf_map_failures_total(std::string_view name) const {
    if (input.stats.size() < WEFT_STAT_COUNT) return;
    out.sample(name, {{"map", "m_flow"}},
               input.stats[WEFT_STAT_FLOW_OVERFLOW] + input.stats[WEFT_STAT_FLOW_LOST]);
    out.sample(name, {{"map", "m_socket"}}, input.stats[WEFT_STAT_SOCKET_OVERFLOW]);
    out.sample(name, {{"map", "m_flow_sk"}}, input.stats[WEFT_STAT_STORAGE_FAILED]);
  }
  void weft_bpf_prog_runs_total(std::string_view name) const {
    for (const ProgramRuns& program : input.program_runs)
      if (program.runs > 0) out.sample(name, {{"program", program.name}}, program.runs);
  }
  void weft_bpf_prog_run_seconds_total(std::string_view name) const {
    for (const ProgramRuns& program : input.program_runs)
      if (program.runs > 0)
        out.sample(name, {{"program", program.name}}, static_cast<double>(program.run_ns) / 1e9);
  }
  void weft_config_generation(std::string_view name) const { out.sample(name, {}, input.generation); }
  void weft_config_last_ack_timestamp_seconds(std::string_view name) const {
    out.sample(name, {}, input.last_ack_seconds);
  }
  void weft_config_rejected(std::string_view name) const { out.sample(name, {}, uint64_t{input.rejected}); }
  void weft_config_rejected_total(std::string_view name) const { out.sample(name, {}, input.rejected_total); }
  void weft_revocation_lists_outdated(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.lists_outdated});
  }
  void weft_certificates_issued_total(std::string_view name) const {
    if (input.certificates) out.sample(name, {}, input.certificates->issued);
  }
  void weft_certificates_refused_total(std::string_view name) const {
    if (input.certificates) out.sample(name, {}, input.certificates->refused);
  }
  void weft_certificate_first_expiry_timestamp_seconds(std::string_view name) const {
    if (input.certificates && input.certificates->first_expiry_seconds > 0)
      out.sample(name, {}, input.certificates->first_expiry_seconds);
  }
  void weft_pods_eligible(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.pods_eligible});
  }
  void weft_pods_redirected(std::string_view name) const {
    out.sample(name, {}, uint64_t{input.pods_captured});
  }
  void weft_pods_captured_before_start_total(std::string_view name) const {
    out.sample(name, {}, input.pod_starts.held);
  }
  void weft_pod_start_to_capture_seconds(std::string_view name) const {
    out.histogram(name, {}, input.pod_starts.window, static_cast<double>(input.pod_starts.window_sum) / 1e9);
  }
  void weft_pods_captured_running_total(std::string_view name) const {
    out.sample(name, {}, input.pod_starts.running);
  }
  void weft_observe_dropped_total(std::string_view name) const {
    out.sample(name, {}, input.observe_dropped);
  }
  void each_kind(std::string_view name, uint64_t control_plane::SourceReport::Kind::* field) const {
    for (const auto& kind : input.source_kinds) out.sample(name, {{"kind", kind.kind}}, kind.*field);
  }
  void weft_kubernetes_objects(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::objects);
  }
  void weft_kubernetes_parsed_total(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::parsed);
  }
  void weft_kubernetes_lists_total(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::lists);
  }
  void weft_kubernetes_watches_total(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::watches);
  }
  void weft_kubernetes_relists_total(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::relists);
  }
  void weft_kubernetes_errors_total(std::string_view name) const {
    each_kind(name, &control_plane::SourceReport::Kind::errors);
  }
  void of_remote(std::string_view name, uint64_t value) const {
    if (input.remote) out.sample(name, {}, value);
  }
  void weft_control_connected(std::string_view name) const {
    of_remote(name, input.remote && input.remote->connected ? 1 : 0);
  }
  void weft_control_streams_total(std::string_view name) const {
    of_remote(name, input.remote ? input.remote->streams : 0);
  }
  void weft_control_failures_total(std::string_view name) const {
    of_remote(name, input.remote ? input.remote->failures : 0);
  }
  void weft_control_received_resources_total(std::string_view name) const {
    of_remote(name, input.remote ? input.remote->resources + input.remote->removals : 0);
  }
  void weft_control_received_bytes_total(std::string_view name) const {
    of_remote(name, input.remote ? input.remote->bytes : 0);
  }
};

// What the TCP series mean, below their table in docs/metrics.md.
constexpr std::string_view kTcpNotes =
    "\n"
    "`reporter` says at which socket a row was measured: `source` (the client's), `destination` "
    "(the server's, when its pod is\n"
    "enrolled), `proxy` (the connection that the node proxy dialled for the source). The client of "
    "a captured connection sees the\n"
    "proxy answer at once, so whether a server refuses, and how long it takes to answer, is in the "
    "rows of `reporter=\"proxy\"`.\n"
    "Sum over one reporter only.\n"
    "\n"
    "## How TCP is measured\n"
    "\n"
    "- A pair of source and destination has one row per reporter. When the table of rows is full, new pairs "
    "are added to a\n"
    "  row named `overflow`; when a workload or service is removed, its rows go.\n"
    "- Connections that were established before their pod was enrolled, or before the agent first started, "
    "are not\n"
    "  measured. Nor is a connect that fails before its first SYN (no route).\n"
    "- An open connection adds its bytes once a second, whether it sends or only receives. One exception: "
    "when it sent more\n"
    "  than eight packets within the second before it went over to only receiving, its bytes come with the "
    "next packet that\n"
    "  it sends, or when it closes.\n"
    "- `weft_tcp_rtt_seconds` has one sample per handshake (none when a segment of it was lost), then at "
    "most one a second\n"
    "  per connection, taken from an acknowledgement of data.\n"
    "- `weft_tcp_first_byte_seconds` runs from the end of the handshake. A client's first received byte is "
    "seen when the\n"
    "  kernel acknowledges it: at once for the first segment of a connection, else up to a delayed "
    "acknowledgement (40 ms)\n"
    "  late. A server's first byte is seen when it is sent; the time that its client takes to ask is part of "
    "it.\n"
    "- `weft_tcp_retransmits_total` counts the SYNs of a client too, but not the SYN-ACKs of a server that "
    "no connection\n"
    "  came of.\n"
    "\nThe proxy adds numbers about itself (`weft_proxy_…`); they are absent while it is away.\n";

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
  str_append(&out, kTcpNotes);
  const auto table = [&out](std::string_view label, std::string_view metric) {
    str_append(&out, "\n## Values of `", label, "` in `", metric, "`\n\n| ", label,
               " | meaning |\n|---|---|\n");
  };
#define X(id, label, help) str_append(&out, "| `" label "` | ", help, " |\n");
  table("cause", "weft_tcp_failed_total");
  WEFT_CONNECT_FAILURES(X)
  table("cause", "weft_tcp_broken_total");
  WEFT_BREAKS(X)
  table("event", "weft_bpf_events_total");
  WEFT_STATS(X)
#undef X
  return out;
}

}  // namespace weft::agent
