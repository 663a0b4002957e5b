// See heartbeat.h. Started by Proxy, given its map by the handover client.
#include "userspace-proxy/handover/heartbeat.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

constexpr std::chrono::milliseconds kPeriod{200};
// An idle loop turns once a second; one that has not for twice as long is stuck.
constexpr MonotonicNs kStuck = 2 * kNsPerSecond;

}  // namespace

Heartbeat::Heartbeat(std::vector<std::function<uint64_t()>> turns)
    : turns_(std::move(turns)), seen_(turns_.size()), thread_([this] { run(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  if (row_ != nullptr) ::munmap(row_, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
}

absl::Status Heartbeat::beat_into(const UniqueFd& map) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  if (memory == MAP_FAILED) return errno_status("map the heartbeat", errno);
  const std::lock_guard lock(mutex_);
  weft_beat* former = std::exchange(row_, static_cast<weft_beat*>(memory));
  if (former != nullptr) ::munmap(former, page);
  // At once: the kernel may be about to give up on the proxy before this one.
  beat(SystemClock().now());
  return absl::OkStatus();
}

void Heartbeat::beat(MonotonicNs now) {
  if (row_ != nullptr)
    std::atomic_ref(row_->heartbeat_ns).store(static_cast<uint64_t>(now), std::memory_order_relaxed);
}

bool Heartbeat::workers_turn(MonotonicNs now) {
  bool all = true;
  for (size_t i = 0; i < turns_.size(); ++i) {
    const uint64_t turns = turns_[i]();
    if (turns != seen_[i].turns || seen_[i].at == 0) seen_[i] = {turns, now};
    all = all && now - seen_[i].at < kStuck;
  }
  return all;
}

void Heartbeat::run() {
  bool alive = true;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const MonotonicNs now = SystemClock().now();
    const bool turning = workers_turn(now);
    if (turning) beat(now);
    if (alive && !turning)
      log::error("worker_stuck", {{"next", "the kernel lets each workload's fail mode decide; weft check"}});
    alive = turning;
    wake_.wait_for(lock, kPeriod, [this] { return stopping_; });
  }
}

}  // namespace weft::proxy
