// See counters.h. The field names are read by tools/demo, tests/integration and the bench scripts.
#include "tools/bench/counters.h"

#include <nlohmann/json.hpp>

namespace weft::bench {

std::string to_json(const Counters& counters, double at_seconds, double span_seconds, bool final) {
  nlohmann::json out;
  out["final"] = final;
  out["t"] = at_seconds;
  out["requests"] = counters.requests;
  out["rps"] = span_seconds > 0 ? static_cast<double>(counters.requests) / span_seconds : 0;
  out["connections"] = counters.connections;
  out["retries"] = counters.retries;
  out["body_bytes"] = counters.body_bytes;
  out["versions"] = counters.versions;
  nlohmann::json statuses = nlohmann::json::object();
  for (const auto& [status, n] : counters.statuses) statuses[std::to_string(status)] = n;
  out["statuses"] = statuses;
  nlohmann::json failures = nlohmann::json::object();
  for (size_t i = 0; i < kFailureCount; ++i) failures[std::string(kFailureLabels[i])] = counters.failures[i];
  out["failures"] = failures;
  out["failed"] = counters.failed();
  out["p50_us"] = counters.latency.quantile(0.5);
  out["p90_us"] = counters.latency.quantile(0.9);
  out["p99_us"] = counters.latency.quantile(0.99);
  out["max_us"] = counters.latency.max();
  return out.dump();
}

}  // namespace weft::bench
