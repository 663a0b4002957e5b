// What `weft canary` makes of the proxy's counts: how one version did since a step began, and whether that is
// within the bounds. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "bpf/abi/histogram.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::cli {

struct Tally {
  uint64_t requests = 0;
  uint64_t errors = 0;  // 5xx, or no answer
  std::array<uint64_t, WEFT_HISTOGRAM_BUCKETS> buckets{};

  double error_rate() const {
    return requests == 0 ? 0 : static_cast<double>(errors) / static_cast<double>(requests);
  }
  // Microseconds, between the bounds of a bucket in proportion; ten seconds stand for all that is longer.
  uint64_t p99_us() const;
};

// Of the workloads in `names` ("shop/cart-v2").
Tally tally_of(const admin::v1::RequestCounts& counts, const std::set<std::string>& names);
// Since `before`, which is of the same proxy process.
Tally since(const Tally& now, const Tally& before);

struct Bounds {
  double max_error_rate = 0.01;
  uint64_t max_p99_us = 0;  // 0: none
  uint64_t min_requests = 100;
};

// What is longer is not told apart.
uint64_t longest_us();

// Why the version is to be rolled back; empty: it is not, so far. Errors count before min_requests came when
// the rest could not make up for them. `lost`: of the service's requests those that reached no endpoint, so
// that nobody knows whose they would have been.
std::string broken_bound(const Tally& tally, const Tally& lost, const Bounds& bounds);

// "4.1 ms".
std::string duration_text(uint64_t us);
// "0.25%".
std::string rate_text(double rate);

}  // namespace weft::cli
