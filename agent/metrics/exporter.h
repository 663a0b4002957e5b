// From what the agent knows to the text that Prometheus reads. Pure: the caller gathers MetricsInput (kernel
// counters, ids, the proxy's answer), so a scrape is one function from values to text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/mesh/id_registry.h"
#include "agent/pods/pod_starts.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "control-plane/remote/remote_control_plane.h"
#include "proto/weft/proxy/v1/telemetry.pb.h"

namespace weft::agent {

// Of the certificate service that the proxy asks.
struct CertificateCounts {
  uint64_t issued = 0;
  uint64_t refused = 0;
  double first_expiry_seconds = 0;  // unix time, 0: there is no certificate
};

struct MetricsInput {
  std::vector<FlowRow> flows;
  IdRegistry ids;
  std::vector<uint64_t> stats;  // by enum weft_stat
  std::vector<MapStatus> maps;
  std::vector<ProgramRuns> program_runs;
  // nullopt: the proxy did not answer; its series are left out.
  std::optional<proxy::v1::Metrics> proxy;
  // Captured pods by the cookie of their namespace: namespace and name.
  std::map<uint64_t, std::pair<std::string, std::string>> pods;
  uint64_t generation = 0;
  double last_ack_seconds = 0;  // unix time, 0: never
  uint32_t rejected = 0;
  uint64_t rejected_total = 0;
  uint32_t lists_outdated = 0;
  // nullopt: pods get no certificates.
  std::optional<CertificateCounts> certificates;
  uint32_t pods_eligible = 0;
  uint32_t pods_captured = 0;
  PodStarts pod_starts;
  uint64_t observe_dropped = 0;
  // Of an API server; none: the configuration is a folder.
  std::vector<control_plane::SourceReport::Kind> source_kinds;
  // Of weft-control; nullopt: the configuration comes from elsewhere.
  std::optional<control_plane::RemoteReport> remote;
};

std::string render_metrics(const MetricsInput& input);

}  // namespace weft::agent
