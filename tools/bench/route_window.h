// When in the course of a change the requests came that waited, and how long: whether what is felt of a
// change is the time that it takes, or what it leaves behind. Used by weft-bench-route; pure.
#pragma once

#include <map>
#include <vector>

#include "base/clock.h"

namespace weft::bench {

// When a request was due, and when its answer was there.
struct Answered {
  MonotonicNs due = 0;
  MonotonicNs end = 0;
};

class ChangeWindow {
 public:
  // Of one slice: the beginnings of its changes, ascending, and its requests.
  void add(const std::vector<MonotonicNs>& changes, const std::vector<Answered>& answers);
  // A line for each part of a change.
  void print() const;

 private:
  // Latencies in microseconds, by the time from the beginning of a change until the request was due.
  std::map<int, std::vector<double>> by_part_;
};

}  // namespace weft::bench
