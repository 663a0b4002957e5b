// What a stretch of load did: requests per version, failures per kind, latency. The load loop keeps two
// (interval and run) and main prints them as JSON lines. One definition of failure kinds, so that tests can
// tell a refused connection from a lost exchange.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tools/bench/histogram.h"

namespace weft::bench {

// X(kName, "label", "what happened")
#define WEFT_LOAD_FAILURES(X)                                                 \
  X(kConnect, "connect", "the connection was never established")              \
  X(kReset, "reset", "the connection ended before the response was complete") \
  X(kTimeout, "timeout", "no complete response in time")                      \
  X(kBadResponse, "bad_response", "the answer was not HTTP/1")                \
  X(kStatus, "status", "the answer had a status of 400 or above")

enum class Failure : uint8_t {
#define X(name, label, help) name,
  WEFT_LOAD_FAILURES(X)
#undef X
};

inline constexpr size_t kFailureCount = 0
#define X(name, label, help) +1
    WEFT_LOAD_FAILURES(X)
#undef X
    ;

inline constexpr std::array<std::string_view, kFailureCount> kFailureLabels = {
#define X(name, label, help) label,
    WEFT_LOAD_FAILURES(X)
#undef X
};

struct Counters {
  uint64_t requests = 0;  // completed exchanges, whatever the status
  uint64_t connections = 0;
  // Requests sent once more because their kept-alive connection had ended under them.
  uint64_t retries = 0;
  uint64_t body_bytes = 0;
  std::map<std::string, uint64_t> versions;
  std::map<int, uint64_t> statuses;
  std::array<uint64_t, kFailureCount> failures{};
  Histogram latency;

  uint64_t failed() const {
    uint64_t sum = 0;
    for (uint64_t n : failures) sum += n;
    return sum;
  }
};

// One JSON object without newline. `final` marks the summary of the run.
std::string to_json(const Counters& counters, double at_seconds, double span_seconds, bool final);

}  // namespace weft::bench
