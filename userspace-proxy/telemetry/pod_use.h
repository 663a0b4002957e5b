// What one pod uses of one worker, and what it was refused there and why: budgets are held against it
// (exchange/admission.h, upstream/stream_request.h), and the reporter reads it. Written by the worker only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "userspace-proxy/telemetry/counter.h"

namespace weft::proxy {

// X(kName, "label", "what was refused"): one closed list, label values of weft_pod_refused_total.
#define WEFT_REFUSALS(X)                                                                                     \
  X(kPodConnections, "pod_connections", "connections: the pod had all it may have, none of them quiet")      \
  X(kEvicted, "evicted", "quiet connections, closed to make room for newer ones")                            \
  X(kPodRequests, "pod_requests", "requests and TCP connections: the pod had as many under way as it may")   \
  X(kPodBytes, "pod_buffered_bytes", "requests and TCP connections: the pod's buffers held what they may")   \
  X(kPodHeads, "pod_heads", "HTTP/2 streams: their decoded heads would hold more than the pod's may")        \
  X(kPodWaiting, "pod_waiting", "requests: as many of the pod waited for endpoints' connections as may")     \
  X(kEndpointWaiting, "endpoint_waiting", "requests: as many waited for connections to the endpoint as may") \
  X(kWaitTimeout, "wait_timeout", "requests: no connection to the endpoint became free in time")             \
  X(kOverload, "overload", "requests and TCP connections: the proxy was near a limit of its own")            \
  X(kCircuitOpen, "circuit_open",                                                                            \
    "requests and TCP connections: a DestinationRule's connectionPool allows no more")                       \
  X(kDescriptors, "descriptors", "requests and TCP connections: no descriptor for their endpoint was left")

enum class Refusal : uint8_t {
#define X(name, label, help) name,
  WEFT_REFUSALS(X)
#undef X
};

inline constexpr std::array kRefusalLabels = {
#define X(name, label, help) std::string_view(label),
    WEFT_REFUSALS(X)
#undef X
};

struct PodUse : std::enable_shared_from_this<PodUse> {
  explicit PodUse(uint64_t cookie = 0, std::string uid = {})
      : netns_cookie(cookie), workload_uid(std::move(uid)) {}

  void refuse(Refusal why) { refused[static_cast<size_t>(why)].add(1); }
  uint64_t refusals(Refusal why) const { return refused[static_cast<size_t>(why)].get(); }

  const uint64_t netns_cookie;
  const std::string workload_uid;
  Gauge connections;     // of clients
  Gauge exchanges;       // requests and TCP connections under way
  Gauge waiting;         // requests that wait for a connection to their endpoint
  Gauge buffered_bytes;  // of the chunks that hold something of the pod's
  // Decoded heads of its HTTP/2 streams, and all that was received on its HTTP/2 connections that are open.
  // For the worker only.
  uint64_t head_bytes = 0;
  uint64_t http2_received_bytes = 0;
  // Questions to providers (ExternalCheck) about requests to it that are under way. For the worker only.
  uint32_t external_checks = 0;
  // Nobody dials from its namespace any more. For the worker only.
  bool gone = false;
  std::array<Counter, kRefusalLabels.size()> refused;
};

}  // namespace weft::proxy
