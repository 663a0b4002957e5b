// How many tries beyond the first a cluster gets at once: a share of the requests that are under way to it,
// so that retries cannot multiply the load on a cluster that fails. By default part of a cluster's state on
// one worker; where a rule says how many, of one source on all workers. Counts only requests whose route
// retries. Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "userspace-proxy/config/cluster_policy.h"

namespace weft::proxy {

class RetryBudget {
 public:
  void request_began() { requests_.fetch_add(1, std::memory_order_relaxed); }
  void request_ended() { requests_.fetch_sub(1, std::memory_order_relaxed); }
  // False: the budget is used up, and the request is not tried again.
  bool retry_begins(const RetryLimits& limits) {
    const uint64_t requests = requests_.load(std::memory_order_relaxed);
    const uint64_t by_share = std::max<uint64_t>(limits.min_concurrency, requests * limits.share / 10'000);
    const uint64_t most = limits.max_retries > 0 ? limits.max_retries : by_share;
    if (retries_.fetch_add(1, std::memory_order_relaxed) < most) return true;
    retries_.fetch_sub(1, std::memory_order_relaxed);
    refused_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  void retry_ended() { retries_.fetch_sub(1, std::memory_order_relaxed); }

  uint32_t retries() const { return retries_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> requests_{0};
  std::atomic<uint32_t> retries_{0};
  std::atomic<uint64_t> refused_{0};
};

}  // namespace weft::proxy
