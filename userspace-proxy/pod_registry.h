// The pods that a worker serves, for readers on other threads: written by the worker when a listener comes or
// goes, so what is reported of a pod ends with its listeners.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "userspace-proxy/telemetry/pod_use.h"

namespace weft::proxy {

class PodRegistry {
 public:
  using Pods = std::vector<std::shared_ptr<const PodUse>>;

  // Instead of what was known of its namespace.
  void add(std::shared_ptr<const PodUse> use) {
    const absl::MutexLock lock(&mutex_);
    erase(use->netns_cookie);
    pods_.push_back(std::move(use));
  }
  void remove(uint64_t netns_cookie) {
    const absl::MutexLock lock(&mutex_);
    erase(netns_cookie);
  }
  // Any thread.
  Pods pods() const {
    const absl::MutexLock lock(&mutex_);
    return pods_;
  }

 private:
  void erase(uint64_t netns_cookie) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::erase_if(pods_, [&](const auto& use) { return use->netns_cookie == netns_cookie; });
  }

  mutable absl::Mutex mutex_;
  Pods pods_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
