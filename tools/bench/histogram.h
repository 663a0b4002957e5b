// Latency histogram with a relative error below 1.6 % from 1 us to hours in a few KiB: 64 linear steps per
// power of two. Used by weft-bench-load, one per interval and one per run; never shared between threads.
#pragma once

#include <stddef.h>

#include <array>
#include <bit>
#include <cstdint>

namespace weft::bench {

class Histogram {
 public:
  void add(uint64_t microseconds) {
    ++counts_[index_of(microseconds)];
    ++total_;
    if (microseconds > max_) max_ = microseconds;
  }

  void merge(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    if (other.max_ > max_) max_ = other.max_;
  }

  uint64_t count() const { return total_; }
  uint64_t max() const { return max_; }

  // The smallest recorded bound that `quantile` (0 to 1) of all values do not exceed; 0 when nothing was
  // recorded.
  uint64_t quantile(double quantile) const {
    if (total_ == 0) return 0;
    const auto wanted = static_cast<uint64_t>(quantile * static_cast<double>(total_) + 0.5);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted && seen > 0) return upper_bound(i) < max_ ? upper_bound(i) : max_;
    }
    return max_;
  }

 private:
  static constexpr uint32_t kStepBits = 6;
  static constexpr uint32_t kSteps = 1u << kStepBits;
  static constexpr uint32_t kPowers = 36;

  // Values below kSteps have a bucket each; above, the top kStepBits bits after the leading one choose the
  // step.
  static size_t index_of(uint64_t value) {
    if (value < kSteps) return static_cast<size_t>(value);
    const auto power = static_cast<uint32_t>(std::bit_width(value)) - 1;
    const uint32_t shift = power - kStepBits;
    if (shift + 1 >= kPowers) return kPowers * kSteps - 1;
    return (shift + 1) * kSteps + static_cast<size_t>((value >> shift) - kSteps);
  }

  static uint64_t upper_bound(size_t index) {
    const uint64_t group = index / kSteps;
    const uint64_t step = index % kSteps;
    if (group == 0) return step;
    return ((kSteps + step + 1) << (group - 1)) - 1;
  }

  std::array<uint64_t, kPowers * kSteps> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace weft::bench
