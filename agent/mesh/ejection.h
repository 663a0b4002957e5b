// Backends that failed many connects in a row, or are far slower than the others, take a rest: no new
// connections for a while, then a growing share of their weight. Pure but for the clock value that callers
// give; reconciler thread only.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/clock.h"

namespace weft::agent {

class Ejection {
 public:
  // A backend's first rest; each further one is longer by as much, up to ten times, until it was well for as
  // long.
  static constexpr MonotonicNs kRest = 30 * kNsPerSecond;
  static constexpr uint32_t kLongestRests = 10;
  // Between two steps of the way back.
  static constexpr MonotonicNs kStep = 5 * kNsPerSecond;
  static constexpr uint32_t kShares[] = {10, 25, 50, 100};
  // What a slow backend's latency is of the median of the others, at least.
  static constexpr uint32_t kFarWorse = 5;

  struct Share {
    uint32_t service = 0;
    SocketAddress backend;
    uint32_t percent = 100;  // of its weight
  };

  // `backends`: how many the service has. Returns the share that the backend gets now: 0, or 100 when half of
  // them rest already, because few are better than none.
  uint32_t fail(uint32_t service, const SocketAddress& backend, size_t backends, MonotonicNs now);
  // Is this latency far worse than the siblings'? Without any nobody knows: false.
  static bool is_far_worse(uint32_t latency_us, std::vector<uint32_t> siblings_us);
  // Those whose share changes now; 100 ends an ejection.
  std::vector<Share> advance(MonotonicNs now);
  // When advance() has work next; `never` without an ejection.
  MonotonicNs next(MonotonicNs never) const;
  // The service is gone.
  void forget(uint32_t service);
  bool is_resting(uint32_t service, const SocketAddress& backend) const;
  size_t resting() const;

 private:
  struct Row {
    uint32_t times = 0;
    size_t step = 0;  // index of the next share
    MonotonicNs at = 0;
    uint32_t percent = 0;
  };
  std::map<std::pair<uint32_t, SocketAddress>, Row> rows_;
};

}  // namespace weft::agent
