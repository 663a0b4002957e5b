// A worker without a data path: notes what it is told and lets a test wait for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "userspace-proxy/worker.h"

namespace weft::proxy {

// Long enough for a loaded machine; a test that reaches it fails.
inline constexpr std::chrono::seconds kTestPatience{20};

class FakeWorker final : public Worker {
 public:
  void set_snapshot(SnapshotPtr snapshot) override {
    note([&] { generation_ = snapshot->generation; });
  }
  void set_credentials(CredentialSetPtr) override {}
  void add_listener(CaptureListener listener) override {
    note([&] { listeners_.push_back(std::move(listener)); });
  }
  void remove_listener(uint64_t netns_cookie) override {
    note([&] {
      removed_.push_back(netns_cookie);
      std::erase_if(listeners_, [&](const CaptureListener& l) { return l.netns_cookie == netns_cookie; });
    });
  }
  void drain(std::chrono::milliseconds, std::function<void()> done) override { done(); }
  WorkerGauges gauges() const override {
    std::lock_guard lock(mutex_);
    WorkerGauges out;
    out.loop_turns = stuck_ ? turns_ : ++turns_;
    out.downstream_connections = 2;
    return out;
  }
  std::vector<std::shared_ptr<const PodUse>> pods() const override { return pods_; }
  uint64_t snapshot_generation() const override {
    std::lock_guard lock(mutex_);
    return generation_;
  }

  template <typename Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience, condition);
  }
  bool wait_for_listeners(size_t count) {
    return wait([&] { return listeners_.size() == count; });
  }
  size_t listeners() const {
    std::lock_guard lock(mutex_);
    return listeners_.size();
  }
  void get_stuck() {
    std::lock_guard lock(mutex_);
    stuck_ = true;
  }

  std::vector<std::shared_ptr<const PodUse>> pods_;  // set before others look
  std::vector<CaptureListener> listeners_;
  std::vector<uint64_t> removed_;

 private:
  template <typename Change>
  void note(Change change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t generation_ = 0;
  mutable uint64_t turns_ = 0;
  bool stuck_ = false;
};

}  // namespace weft::proxy
