// The part of an exchange that HTTP and TCP share: an endpoint of a cluster, tried and counted, at most three
// of them. Holds the endpoint's active count while it is chosen. Pure bookkeeping, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "userspace-proxy/telemetry/outcome.h"
#include "userspace-proxy/upstream/balancer.h"
#include "userspace-proxy/upstream/connector.h"

namespace weft::proxy {

class DialTarget {
 public:
  explicit DialTarget(Balancer& balancer) : balancer_(balancer) {}
  ~DialTarget() { release(); }
  DialTarget(const DialTarget&) = delete;
  DialTarget& operator=(const DialTarget&) = delete;

  void aim(const GenerationRef& generation, uint32_t cluster) {
    generation_ = generation;
    cluster_ = cluster;
  }
  // Picks an endpoint that did not fail before; false when none is left.
  bool pick() {
    release();
    const std::span<const uint32_t> avoid(failed_.data(), failed_count_);
    endpoint_ = balancer_.pick_endpoint(*generation_, cluster_, avoid);
    if (endpoint_ == kNone) return false;
    state_ = &balancer_.state(*generation_, cluster_, endpoint_);
    ++state_->active;
    return true;
  }
  // The chosen endpoint did not take the connection. True when another may be tried.
  bool fail() {
    release();
    if (failed_count_ < kMaxFailures) failed_[failed_count_++] = endpoint_;
    return failed_count_ < kMaxFailures && failed_count_ < usable_endpoints();
  }
  // The chosen endpoint is done with, for a further try; `avoid` it, until all were avoided.
  void leave(bool avoid) {
    release();
    if (!avoid) return;
    if (failed_count_ < kMaxFailures) failed_[failed_count_++] = endpoint_;
    if (failed_count_ == kMaxFailures || failed_count_ >= usable_endpoints()) failed_count_ = 0;
  }
  void release() {
    if (state_ != nullptr) --state_->active;
    state_ = nullptr;
  }

  const Snapshot& snapshot() const { return generation_->snapshot(); }
  const Cluster& cluster() const { return generation_->snapshot().clusters[cluster_]; }
  const Endpoint& endpoint() const { return cluster().endpoints[endpoint_]; }
  uint32_t cluster_index() const { return cluster_; }
  uint32_t endpoint_index() const { return endpoint_; }

 private:
  static constexpr size_t kMaxFailures = 3;

  // Weight 0: drained, never picked.
  size_t usable_endpoints() const {
    size_t count = 0;
    for (const Endpoint& endpoint : cluster().endpoints) count += endpoint.weight > 0 ? 1 : 0;
    return count;
  }

  Balancer& balancer_;
  GenerationRef generation_;
  uint32_t cluster_ = kNone;
  uint32_t endpoint_ = kNone;
  EndpointState* state_ = nullptr;
  std::array<uint32_t, kMaxFailures> failed_{};
  size_t failed_count_ = 0;
};

// False: it is not the endpoint that fails.
inline bool may_try_another(ConnectStatus status) {
  return status != ConnectStatus::kNoCapacity && status != ConnectStatus::kNoDescriptor;
}

inline Outcome outcome_of(ConnectStatus status) {
  switch (status) {
    case ConnectStatus::kConnected:
      return Outcome::kOk;
    case ConnectStatus::kRefused:
      return Outcome::kConnectRefused;
    case ConnectStatus::kTimeout:
      return Outcome::kConnectTimeout;
    case ConnectStatus::kNoCapacity:
    case ConnectStatus::kNoDescriptor:
      return Outcome::kOverload;
    case ConnectStatus::kWaiting:
    case ConnectStatus::kFailed:
      return Outcome::kConnectFailed;
  }
  return Outcome::kConnectFailed;
}

}  // namespace weft::proxy
