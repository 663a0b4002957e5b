// How many tries beyond the first a cluster gets at once: a share of the requests that are under way to it,
// so that retries cannot multiply the load on a cluster that fails. Part of a cluster's state on one worker;
// counts only requests whose route retries. Worker thread only.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weft::proxy {

class RetryBudget {
 public:
  // Of the requests under way.
  static constexpr uint32_t kPercent = 20;
  // So many at once whatever the share is.
  static constexpr uint32_t kMinConcurrency = 3;

  void request_began() { ++requests_; }
  void request_ended() { --requests_; }
  // False: the budget is used up, and the request is not tried again.
  bool retry_begins() {
    if (retries_ >= std::max(kMinConcurrency, requests_ * kPercent / 100)) {
      ++refused_;
      return false;
    }
    ++retries_;
    return true;
  }
  void retry_ended() { --retries_; }

  uint32_t retries() const { return retries_; }
  uint64_t refused() const { return refused_; }

 private:
  uint32_t requests_ = 0;
  uint32_t retries_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace weft::proxy
