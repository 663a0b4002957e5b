// The proxy's proof of life: while every worker's loop turns, the time is written into memory that the kernel
// programs read (m_beat, bpf/abi/capture.h). No agent is needed in between, so an agent that restarts does
// not make the proxy look dead. Owns a thread and the mapping.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/fd.h"
#include "bpf/abi/capture.h"

namespace weft::proxy {

class Heartbeat {
 public:
  // `turns`: for each worker, how often its loop has turned; an idle one turns every second.
  explicit Heartbeat(std::vector<std::function<uint64_t()>> turns);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Any thread. Beats into this map from now on, and no longer into a former one (an agent may come with new
  // maps). kInvalidArgument when it cannot be mapped.
  absl::Status beat_into(const UniqueFd& map);

 private:
  void run();
  bool workers_turn(MonotonicNs now);
  void beat(MonotonicNs now);

  struct Seen {
    uint64_t turns = 0;
    MonotonicNs at = 0;
  };
  const std::vector<std::function<uint64_t()>> turns_;
  std::vector<Seen> seen_;  // the thread's
  std::mutex mutex_;
  std::condition_variable wake_;
  weft_beat* row_ = nullptr;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace weft::proxy
