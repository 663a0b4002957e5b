// Two arms measured in turns, because a machine's speed drifts by more than what is to be seen: the median of
// per-round ratios or differences with a bootstrap interval of 95 %. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::bench {

struct Interval {
  double value = 0;  // median
  double low = 0;
  double high = 0;
};

// 2.5 % and 97.5 % of the medians of 2,000 resamples; the same numbers give the same interval.
Interval median_interval(const std::vector<double>& samples);

// One row of the table that a benchmark prints, and of its JSON.
struct Figure {
  std::string name;
  std::string unit;
  Interval result;
  double bar = 0;
  bool at_most = true;  // else at least
  bool met() const { return at_most ? result.value <= bar : result.value >= bar; }
};

// Table to stdout; JSON `[{figure, value, unit, low, high, bar, met}]` to `json_path` when not empty. False
// when the file cannot be written.
bool report(const std::vector<Figure>& figures, const std::string& json_path);

}  // namespace weft::bench
