// What one change costs where there are many routes: how long until every worker uses it, and what it does to
// the latency of requests. Used by weft-bench-route.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/paired.h"

namespace weft::bench {

struct ChangeOptions {
  uint32_t routes = 10'000;
  uint32_t sets = 100;     // VirtualServices that they are in
  uint32_t changes = 200;  // timed one by one
  uint32_t rounds = 20;    // of latency with and without changes
  double slice = 1;        // seconds of each
  double rate = 2'000;     // requests per second
  double pause = 0.1;      // seconds from one change to the next
};

std::vector<Figure> measure_changes(const ChangeOptions& options);

}  // namespace weft::bench
