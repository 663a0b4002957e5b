// The part of an exchange that HTTP and TCP share: an endpoint of a cluster, tried and counted, at most three
// of them. Holds the endpoint's active count while it is chosen, and the source's place among the requests
// that the cluster's policy allows. Pure bookkeeping, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "userspace-proxy/telemetry/outcome.h"
#include "userspace-proxy/upstream/balancer.h"
#include "userspace-proxy/upstream/connector.h"

namespace weft::proxy {

class DialTarget {
 public:
  explicit DialTarget(Balancer& balancer) : balancer_(balancer) {}
  ~DialTarget() { end(); }
  DialTarget(const DialTarget&) = delete;
  DialTarget& operator=(const DialTarget&) = delete;

  // Whose request it is.
  struct Client {
    SocketAddress dialled;
    uint64_t netns_cookie = 0;
    uint32_t source = kNone;
    bool is_request = true;  // of HTTP: maxRequests counts it
    std::optional<uint64_t> hash;
  };
  // What failed before is of another aim.
  void aim(const GenerationRef& generation, uint32_t cluster, const Client& client) {
    begin(generation, cluster, client);
    terms_ = this->cluster().policy == nullptr
                 ? nullptr
                 : balancer_.terms(*generation_, cluster_, client_.netns_cookie);
  }
  // The address that the client dialled, and no cluster.
  void aim_at_dialled(const GenerationRef& generation, const Client& client) {
    begin(generation, kNone, client);
    terms_ = nullptr;
  }
  // Picks an endpoint that did not fail before: kOk, when none is left how the last one failed, kNoEndpoint
  // when there is none at all, kCircuitOpen when the source has as many requests there as it may. A further
  // try takes one that was avoided rather than none.
  Outcome pick(MonotonicNs now) {
    release();
    if (!enter()) return Outcome::kCircuitOpen;
    if (passes_through()) return failed_count_ == 0 || left_ ? Outcome::kOk : failure_;
    const PickFor who{.hash = client_.hash, .source = client_.source, .now = now};
    endpoint_ = balancer_.pick_endpoint(*generation_, cluster_, {failed_.data(), failed_count_}, who);
    if (endpoint_ == kNone && left_ && failed_count_ > 0) {
      failed_count_ = 0;
      endpoint_ = balancer_.pick_endpoint(*generation_, cluster_, {}, who);
    }
    if (endpoint_ == kNone) return failure_;
    state_ = &balancer_.state(*generation_, cluster_, endpoint_);
    ++state_->active;
    return Outcome::kOk;
  }
  // Failures of its endpoints count.
  bool watched() const {
    return cluster_ != kNone && cluster().policy != nullptr && cluster().policy->outlier;
  }
  // What the chosen endpoint did, for those that rest when they fail.
  void report(TryResult result, MonotonicNs now) {
    if (watched()) balancer_.report(*generation_, cluster_, endpoint_, result, now);
  }
  // The chosen endpoint did not take the connection, for this reason. True when another may be tried.
  bool fail(Outcome why) {
    release();
    failure_ = why;
    if (failed_count_ < kMaxFailures) failed_[failed_count_++] = endpoint_;
    return failed_count_ < kMaxFailures && failed_count_ < usable_endpoints();
  }
  // The chosen endpoint is done with, for a further try; `avoid` it, until all were avoided.
  void leave(bool avoid) {
    release();
    if (!avoid) return;
    left_ = true;
    if (failed_count_ < kMaxFailures) failed_[failed_count_++] = endpoint_;
    if (failed_count_ == kMaxFailures || failed_count_ >= usable_endpoints()) failed_count_ = 0;
  }
  // It is over.
  void end() {
    release();
    if (entered_) terms_->counts->requests.give();
    entered_ = false;
  }

  const Snapshot& snapshot() const { return generation_->snapshot(); }
  const Cluster& cluster() const {
    return cluster_ == kNone ? dialled_cluster() : generation_->snapshot().clusters[cluster_];
  }
  const SocketAddress& address() const {
    return passes_through() ? client_.dialled : cluster().endpoints[endpoint_].address;
  }
  // The workload behind address() when that takes tunnels; else null.
  const WorkloadSpec* tunnel() const {
    if (!passes_through()) return cluster().endpoints[endpoint_].tunnel.get();
    const auto known = snapshot().tunnels.find(SocketAddress{client_.dialled.ip, 0});
    return known == snapshot().tunnels.end() ? nullptr : known->second.get();
  }
  const ConnectionTermsPtr& terms() const { return terms_; }
  uint32_t cluster_index() const { return cluster_; }
  // kNone: the dialled address.
  uint32_t endpoint_index() const { return endpoint_; }
  RetryBudget& budget() { return balancer_.budget(*generation_, cluster_, terms_.get()); }
  const RetryLimits& retry_limits() const {
    static const RetryLimits kDefault;
    return cluster().policy != nullptr ? cluster().policy->retries : kDefault;
  }

 private:
  static constexpr size_t kMaxFailures = 3;

  static const Cluster& dialled_cluster() {
    static const Cluster kDialled{.load_balancer = LoadBalancer::kPassthrough};
    return kDialled;
  }

  void begin(const GenerationRef& generation, uint32_t cluster, const Client& client) {
    generation_ = generation;
    cluster_ = cluster;
    client_ = client;
    failed_count_ = 0;
    left_ = false;
    failure_ = Outcome::kNoEndpoint;
  }
  bool passes_through() const { return cluster().load_balancer == LoadBalancer::kPassthrough; }
  bool enter() {
    if (terms_ == nullptr || entered_ || !client_.is_request) return true;
    entered_ = terms_->counts->requests.take(terms_->settings->max_requests);
    return entered_;
  }
  void release() {
    if (state_ != nullptr) --state_->active;
    state_ = nullptr;
  }
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
  Client client_;
  ConnectionTermsPtr terms_;  // null: nothing is limited
  bool entered_ = false;
  EndpointState* state_ = nullptr;
  std::array<uint32_t, kMaxFailures> failed_{};
  size_t failed_count_ = 0;
  bool left_ = false;  // those are avoided for further tries
  Outcome failure_ = Outcome::kNoEndpoint;
};

// False: it is not the endpoint that fails.
inline bool may_try_another(ConnectStatus status) {
  return status != ConnectStatus::kNoCapacity && status != ConnectStatus::kNoDescriptor &&
         status != ConnectStatus::kCircuitOpen;
}

// What a connect says of the endpoint; nullopt: nothing.
inline std::optional<TryResult> result_of(ConnectStatus status) {
  switch (status) {
    case ConnectStatus::kConnected:
      return TryResult{.kind = TryResult::Kind::kConnected};
    case ConnectStatus::kRefused:
    case ConnectStatus::kFailed:
    case ConnectStatus::kTimeout:
    case ConnectStatus::kTlsFailed:
      return TryResult{.kind = TryResult::Kind::kConnectFailed};
    default:
      return std::nullopt;
  }
}

inline Outcome outcome_of(ConnectStatus status) {
  switch (status) {
    case ConnectStatus::kConnected:
      return Outcome::kOk;
    case ConnectStatus::kRefused:
      return Outcome::kConnectRefused;
    case ConnectStatus::kTimeout:
      return Outcome::kConnectTimeout;
    case ConnectStatus::kCircuitOpen:
      return Outcome::kCircuitOpen;
    case ConnectStatus::kTlsFailed:
      return Outcome::kTlsFailed;
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
