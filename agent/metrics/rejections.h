// Counts refusals over time from what is refused now: a manifest or resource counts when it begins to be
// refused, and again when it is refused for another reason. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

namespace weft::agent {

class Rejections {
 public:
  // All that one source refuses now, one text each.
  void update(std::set<std::string> now) {
    const std::lock_guard lock(mutex_);
    for (const std::string& refusal : now) total_ += known_.contains(refusal) ? 0 : 1;
    known_ = std::move(now);
  }
  uint64_t total() const {
    const std::lock_guard lock(mutex_);
    return total_;
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> known_;
  uint64_t total_ = 0;
};

}  // namespace weft::agent
