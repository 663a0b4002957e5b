// Sums what the workers counted into one Metrics message. Called by the reporter when the agent asks; reads
// only.
#pragma once

#include <vector>

#include "proto/weft/proxy/v1/telemetry.pb.h"
#include "userspace-proxy/telemetry/worker_telemetry.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

void sum_telemetry(const std::vector<WorkerTelemetry*>& telemetry, weft::proxy::v1::Metrics* out);
void sum_pods(const std::vector<Worker*>& workers, weft::proxy::v1::Metrics* out);
void add_ejections(const SharedClusters::Sums& sums, weft::proxy::v1::Metrics* out);
void sum_gauges(const std::vector<Worker*>& workers, weft::proxy::v1::Metrics* out);

// Of all workers; 0 while one has no snapshot.
uint64_t lowest_generation(const std::vector<Worker*>& workers);

}  // namespace weft::proxy
