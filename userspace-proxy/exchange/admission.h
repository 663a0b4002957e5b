// Whether one more connection or request is taken on: budgets of each pod, and overload of the whole worker
// with hysteresis. Asked by the worker for connections and by exchanges for requests; counts what it refused.
// Worker thread only, allocates nothing. The limits are in docs/limits.md.
#pragma once

#include <cstdint>

namespace weft::proxy {

// What one pod uses of one worker.
struct PodUse {
  uint64_t connections = 0;
  uint64_t exchanges = 0;
  // Decoded heads of its HTTP/2 streams, and all that was received on its HTTP/2 connections that are open.
  uint64_t head_bytes = 0;
  uint64_t http2_received_bytes = 0;
};

struct AdmissionLimits {
  // Of the worker: downstream connections, and bytes of chunks in use.
  uint64_t connections = ~uint64_t{0};
  uint64_t buffered_bytes = ~uint64_t{0};
  // Of one pod on the worker.
  uint64_t pod_connections = ~uint64_t{0};
  uint64_t pod_exchanges = ~uint64_t{0};
  // Decoded heads that it may hold whatever it sent for them.
  uint64_t pod_head_bytes = 16 * 1024 * 1024;
};

class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits);

  // Once a turn and per new connection. Overloaded from 90 % of a limit of the worker until all are below
  // 80 %. True: this changed.
  bool observe(uint64_t connections, uint64_t buffered_bytes) {
    const Bounds& bounds = overloaded_ ? leave_ : enter_;
    const bool now = connections >= bounds.connections || buffered_bytes >= bounds.buffered_bytes;
    const bool changed = now != overloaded_;
    overloaded_ = now;
    return changed;
  }
  bool overloaded() const { return overloaded_; }
  // Connections to give up until the overload is over; only too many of them, or too many bytes, is a reason.
  uint64_t surplus(uint64_t connections) const {
    return overloaded_ && connections >= leave_.connections ? connections - leave_.connections + 1 : 0;
  }

  // For a request whose head is there; its exchange is counted in `pod` already.
  bool admit(const PodUse& pod) {
    if (!overloaded_ && pod.exchanges <= limits_.pod_exchanges) [[likely]]
      return true;
    ++shed_;
    return false;
  }
  // For a head of a new HTTP/2 stream, decoded, not counted in `pod` yet. Compression may save a client
  // much, but memory that it makes us hold costs it a part of that in bytes on the wire.
  bool admit_head(const PodUse& pod, uint64_t bytes) {
    if (pod.head_bytes + bytes <= limits_.pod_head_bytes + kHeldPerByte * pod.http2_received_bytes) [[likely]]
      return true;
    ++shed_;
    return false;
  }
  static constexpr uint64_t kHeldPerByte = 4;
  // Room for one more connection of the pod.
  bool has_room(const PodUse& pod) const { return pod.connections < limits_.pod_connections; }

  // Requests that were refused.
  uint64_t shed() const { return shed_; }

 private:
  // At least 1, so that nothing is no overload.
  struct Bounds {
    uint64_t connections, buffered_bytes;
  };

  AdmissionLimits limits_;
  Bounds enter_, leave_;
  bool overloaded_ = false;
  uint64_t shed_ = 0;
};

// Bytes that the process may use: memory.max of its cgroup and of those above it, or what the machine has.
// ~0 when neither can be read.
uint64_t memory_limit();

}  // namespace weft::proxy
