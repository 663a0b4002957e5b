// Every metric that the agent serves, once: name, type, labels and meaning. The exporter writes HELP and TYPE
// from it and docs/metrics.md is generated from it, so neither can drift. Names are forever.
#pragma once

#include <string>
#include <string_view>

namespace weft::agent {

// X(name, type, "labels", "help")
#define WEFT_METRICS(X)                                                                                      \
  X(weft_tcp_opened_total, counter, "tcp", "TCP connections established")                                    \
  X(weft_tcp_closed_total, counter, "tcp", "TCP connections closed, however they ended")                     \
  X(weft_tcp_failed_total, counter, "tcp cause", "TCP connects that never became established, by cause")     \
  X(weft_tcp_broken_total, counter, "tcp cause",                                                             \
    "TCP connections that ended without a clean close, by cause; part of the closed ones")                   \
  X(weft_tcp_sent_bytes_total, counter, "tcp", "Application bytes sent and acknowledged by the peer")        \
  X(weft_tcp_received_bytes_total, counter, "tcp", "Application bytes received")                             \
  X(weft_tcp_retransmits_total, counter, "tcp", "TCP segments sent again")                                   \
  X(weft_tcp_connect_duration_seconds, histogram, "tcp",                                                     \
    "Time from connect to established, measured at the side that dials")                                     \
  X(weft_tcp_rtt_seconds, histogram, "tcp", "Round trip times of TCP segments, sampled")                     \
  X(weft_tcp_first_byte_seconds, histogram, "tcp",                                                           \
    "Time from established to the first byte received (reporter source and proxy) or sent (destination)")    \
  X(weft_requests_total, counter, "request", "HTTP requests answered by the node proxy")                     \
  X(weft_request_duration_seconds, histogram, "request",                                                     \
    "Time from request head to the end of the response")                                                     \
  X(weft_outcomes_total, counter, "outcome", "Exchanges and connections by how they ended")                  \
  X(weft_tunnels_total, counter, "outcome",                                                                  \
    "Tunnels (HBONE) that came in to pods of this node, by how they ended")                                  \
  X(weft_tunnel_received_bytes_total, counter, "",                                                           \
    "Bytes that their clients sent by tunnels that have ended")                                              \
  X(weft_tunnel_sent_bytes_total, counter, "", "Bytes sent to their clients by tunnels that have ended")     \
  X(weft_pod_connections, gauge, "pod", "Client connections of a pod at the node proxy")                     \
  X(weft_pod_active_requests, gauge, "pod", "Requests and TCP connections of a pod under way")               \
  X(weft_pod_waiting_requests, gauge, "pod",                                                                 \
    "Requests of a pod that wait for a connection to their endpoint")                                        \
  X(weft_pod_buffered_bytes, gauge, "pod", "Bytes of the node proxy's buffers that a pod holds")             \
  X(weft_pod_refused_total, counter, "pod reason",                                                           \
    "What the node proxy refused a pod, by reason (docs/limits.md), since it serves the pod")                \
  X(weft_proxy_up, gauge, "", "1 when the proxy answered this scrape")                                       \
  X(weft_bpf_events_total, counter, "event", "Decisions and failures of the kernel programs")                \
  X(weft_bpf_prog_runs_total, counter, "program",                                                            \
    "Runs of a kernel program, counted while kernel.bpf_stats_enabled is 1")                                 \
  X(weft_bpf_prog_run_seconds_total, counter, "program",                                                     \
    "Time spent in a kernel program, counted while kernel.bpf_stats_enabled is 1")                           \
  X(weft_bpf_map_entries, gauge, "map", "Entries in a BPF map")                                              \
  X(weft_bpf_map_capacity, gauge, "map", "Most entries that a BPF map can hold")                             \
  X(weft_bpf_map_failures_total, counter, "map", "Insertions by a kernel program that found no room")        \
  X(weft_config_generation, gauge, "", "Generation of the configuration in the agent")                       \
  X(weft_config_last_ack_timestamp_seconds, gauge, "",                                                       \
    "When the proxy was last seen to use the newest configuration")                                          \
  X(weft_config_rejected, gauge, "", "Manifests and resources that are refused now")                         \
  X(weft_config_rejected_total, counter, "", "Refusals of manifests and resources since the agent started")  \
  X(weft_revocation_lists_outdated, gauge, "", "Lists in crl.pem that should have been replaced by now")     \
  X(weft_certificates_issued_total, counter, "",                                                             \
    "Certificates that the proxy was given for pods of this node")                                           \
  X(weft_certificates_refused_total, counter, "",                                                            \
    "Requests of the proxy for a certificate that got none: nobody signed, or no such pod is here")          \
  X(weft_certificate_first_expiry_timestamp_seconds, gauge, "",                                              \
    "When the first of the certificates ends that pods of this node have")                                   \
  X(weft_pods_eligible, gauge, "", "Pods of this node that ask to be captured")                              \
  X(weft_pods_redirected, gauge, "", "Pods of this node that are captured")                                  \
  X(weft_pods_captured_before_start_total, counter, "",                                                      \
    "Pods that the CNI plugin had captured before their first container")                                    \
  X(weft_pod_start_to_capture_seconds, histogram, "",                                                        \
    "How long pods ran until they were captured, of those that were found by their cgroup")                  \
  X(weft_pods_captured_running_total, counter, "",                                                           \
    "Pods captured that ran before the agent did, or before they were to be in the mesh")                    \
  X(weft_observe_dropped_total, counter, "", "Exchanges that a watcher was too slow to see")                 \
  X(weft_kubernetes_objects, gauge, "kind", "Objects that the Kubernetes API server has told of")            \
  X(weft_kubernetes_parsed_total, counter, "kind", "Objects that were new or changed")                       \
  X(weft_kubernetes_lists_total, counter, "kind", "Complete lists of a kind")                                \
  X(weft_kubernetes_watches_total, counter, "kind", "Watches of a kind that were begun")                     \
  X(weft_kubernetes_relists_total, counter, "kind", "Lists that were asked for because the server forgot")   \
  X(weft_kubernetes_errors_total, counter, "kind",                                                           \
    "Requests of a kind that failed, and objects that could not be read")                                    \
  X(weft_control_connected, gauge, "",                                                                       \
    "1 while weft-control answers; what it told last is in force without it")                                \
  X(weft_control_streams_total, counter, "", "Streams to weft-control that answered")                        \
  X(weft_control_failures_total, counter, "",                                                                \
    "Attempts to reach weft-control that failed, and streams that ended")                                    \
  X(weft_control_received_resources_total, counter, "", "Resources and removals received from weft-control") \
  X(weft_control_received_bytes_total, counter, "", "Bytes of messages received from weft-control")

// Label names of a "labels" key of the table, comma separated.
constexpr std::string_view label_names(std::string_view key) {
  if (key == "tcp") {
    return "source_workload, source_namespace, destination_service, destination_workload, "
           "destination_namespace, reporter";
  }
  if (key == "tcp cause") {
    return "source_workload, source_namespace, destination_service, destination_workload, "
           "destination_namespace, reporter, cause";
  }
  if (key == "pod") return "workload, namespace";
  if (key == "pod reason") return "workload, namespace, reason";
  if (key == "request") {
    return "source_workload, source_namespace, destination_service, destination_workload, "
           "destination_namespace, route, "
           "code_class, path";
  }
  return key;
}

// docs/metrics.md.
std::string metrics_document();

}  // namespace weft::agent
