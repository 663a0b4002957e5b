// Whether one more connection or request is taken on: budgets of each pod, and overload of the whole worker
// with hysteresis. Asked by the worker for connections and by exchanges for requests; counts what it refused.
// Worker thread only, allocates nothing. The limits are in docs/limits.md.
#pragma once

#include <cstdint>

#include "userspace-proxy/telemetry/pod_use.h"

namespace weft::proxy {

struct AdmissionLimits {
  // Of the worker: downstream connections, bytes of chunks in use, connections of both sides.
  uint64_t connections = ~uint64_t{0};
  uint64_t buffered_bytes = ~uint64_t{0};
  uint64_t descriptors = ~uint64_t{0};
  // Of one pod on the worker.
  uint64_t pod_connections = ~uint64_t{0};
  uint64_t pod_exchanges = ~uint64_t{0};
  // Decoded heads that it may hold whatever it sent for them.
  uint64_t pod_head_bytes = 16 * 1024 * 1024;
  uint64_t pod_buffered_bytes = ~uint64_t{0};
  uint64_t pod_waiting = ~uint64_t{0};
};

class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits);

  // What the worker uses.
  struct Use {
    uint64_t connections = 0;  // downstream
    uint64_t buffered_bytes = 0;
    uint64_t descriptors = 0;
    bool starved = false;  // descriptors ran out
  };
  // Once a turn. Overloaded from 90 % of a limit of the worker until all are below 80 %, and while it is
  // starved. True: this changed.
  bool observe(const Use& use) {
    const Bounds& bounds = overloaded_ ? leave_ : enter_;
    const bool now = use.starved || use.connections >= bounds.connections ||
                     use.buffered_bytes >= bounds.buffered_bytes || use.descriptors >= bounds.descriptors;
    const bool changed = now != overloaded_;
    overloaded_ = now;
    return changed;
  }
  bool overloaded() const { return overloaded_; }
  // Connections to give up until the overload is over; only too many of them, or too many bytes, is a reason.
  uint64_t surplus(uint64_t connections) const {
    return overloaded_ && connections >= leave_.connections ? connections - leave_.connections + 1 : 0;
  }

  // Idle connections to endpoints are given up first: this many, from 80 % of the descriptors on.
  uint64_t idle_surplus(uint64_t descriptors) const {
    return descriptors >= leave_.descriptors ? descriptors - leave_.descriptors + 1 : 0;
  }

  // For a request whose head is there, or a TCP connection; it is counted in `pod` already. Refusals are
  // counted there too.
  bool admit(PodUse& pod) {
    if (!overloaded_ && pod.exchanges.get() <= limits_.pod_exchanges &&
        pod.buffered_bytes.get() <= limits_.pod_buffered_bytes) [[likely]]
      return true;
    refuse(pod);
    return false;
  }
  // For a head of a new HTTP/2 stream, decoded, not counted in `pod` yet. Compression may save a client
  // much, but memory that it makes us hold costs it a part of that in bytes on the wire.
  bool admit_head(PodUse& pod, uint64_t bytes) {
    if (pod.head_bytes + bytes <= limits_.pod_head_bytes + kHeldPerByte * pod.http2_received_bytes) [[likely]]
      return true;
    ++shed_;
    pod.refuse(Refusal::kPodHeads);
    return false;
  }
  static constexpr uint64_t kHeldPerByte = 4;
  // Room for one more connection of the pod.
  bool has_room(const PodUse& pod) const { return pod.connections.get() < limits_.pod_connections; }

  // Requests and TCP connections that admit() refused.
  uint64_t shed() const { return shed_; }

 private:
  // At least 1, so that nothing is no overload.
  struct Bounds {
    uint64_t connections, buffered_bytes, descriptors;
  };

  void refuse(PodUse& pod);

  AdmissionLimits limits_;
  Bounds enter_, leave_;
  bool overloaded_ = false;
  uint64_t shed_ = 0;
};

// Bytes that the process may use: memory.max of its cgroup and of those above it, or what the machine has.
// ~0 when neither can be read.
uint64_t memory_limit();

}  // namespace weft::proxy
