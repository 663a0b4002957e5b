// How many HTTP/2 connections of one worker and side ended by each fault. Written by the worker, read by
// anyone.
#pragma once

#include <array>
#include <cstddef>

#include "userspace-proxy/http/http2_limits.h"
#include "userspace-proxy/telemetry/duration_histogram.h"

namespace weft::proxy {

class Http2FaultCounts {
 public:
  using Values = std::array<uint64_t, kHttp2FaultCount>;

  // Nothing is counted for kNoFault.
  void add(Http2Fault fault) {
    if (fault != Http2Fault::kNoFault) counts_[static_cast<size_t>(fault)].add(1);
  }
  // Indexed by Http2Fault.
  Values values() const {
    Values out{};
    for (size_t i = 0; i < out.size(); ++i) out[i] = counts_[i].get();
    return out;
  }

 private:
  std::array<Counter, kHttp2FaultCount> counts_;
};

}  // namespace weft::proxy
