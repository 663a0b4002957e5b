// See route_window.h.
#include "tools/bench/route_window.h"

#include <algorithm>
#include <cstdio>

namespace weft::bench {
namespace {

constexpr MonotonicNs kPart = kNsPerMs / 4;
constexpr int kParts = 16;
constexpr int kBefore = -1;  // requests that were due shortly before a change, and were not answered by then

double quantile(std::vector<double> values, double share) {
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace

void ChangeWindow::add(const std::vector<MonotonicNs>& changes, const std::vector<Answered>& answers) {
  for (const Answered& answer : answers) {
    const auto next = std::upper_bound(changes.begin(), changes.end(), answer.due);
    int part = kParts;
    if (next != changes.begin())
      part = static_cast<int>(std::min<MonotonicNs>((answer.due - *(next - 1)) / kPart, kParts));
    if (part == kParts && next != changes.end() && answer.end > *next) part = kBefore;
    by_part_[part].push_back(static_cast<double>(answer.end - answer.due) / 1000);
  }
}

void ChangeWindow::print() const {
  for (const auto& [part, latencies] : by_part_) {
    const double begin = 0.25 * part;
    if (part == kBefore)
      std::printf("requests before a change that ended in it:");
    else if (part == kParts)
      std::printf("all others:                               ");
    else
      std::printf("requests %.2f to %.2f ms behind its begin:  ", begin, begin + 0.25);
    std::printf(" %6zu, median %.0f us, p90 %.0f, p99 %.0f\n", latencies.size(), quantile(latencies, 0.5),
                quantile(latencies, 0.9), quantile(latencies, 0.99));
  }
}

}  // namespace weft::bench
