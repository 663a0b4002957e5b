// Fans exchanges out from the proxy to the operators who watch (`weft observe`). The proxy's stream
// publishes, each watcher reads its own bounded queue; a slow watcher loses exchanges, counted, and never
// holds anybody up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

// True when the request's filters let the exchange through. Pure.
bool wanted(const admin::v1::ObserveRequest& filter, const proxy::v1::Exchange& exchange);

class ObserveHub {
 public:
  static constexpr size_t kMaxWatchers = 16;
  static constexpr size_t kQueueLength = 1024;

  class Watch {
   public:
    ~Watch();
    // The next exchange; nullopt after `timeout` without one.
    std::optional<proxy::v1::Exchange> next(std::chrono::milliseconds timeout);

   private:
    friend class ObserveHub;
    Watch(ObserveHub& hub, admin::v1::ObserveRequest filter) : hub_(hub), filter_(std::move(filter)) {}

    ObserveHub& hub_;
    admin::v1::ObserveRequest filter_;
    std::deque<proxy::v1::Exchange> queue_;
  };

  // Told when the first watcher comes and the last one goes, under the hub's lock: must not call the hub.
  void on_active(std::function<void(bool)> listener);
  // nullptr when kMaxWatchers watch already. The hub outlives its watches.
  std::unique_ptr<Watch> watch(const admin::v1::ObserveRequest& filter);
  void publish(const proxy::v1::Exchange& exchange);
  bool active() const;
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::set<Watch*> watches_;
  std::function<void(bool)> on_active_;
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace weft::agent
