// When a route's request is tried again: Istio's HTTPRetry, with the words of Envoy's retry policies. Pure
// decisions on what became of a try; the exchange asks them, counts and waits.
#pragma once

#include <cstdint>
#include <vector>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// Bits of RetryPolicy::on.
enum RetryOn : uint32_t {
  kRetryOn5xx = 1u << 0,
  kRetryOnGatewayError = 1u << 1,
  kRetryOnReset = 1u << 2,
  kRetryOnResetBeforeRequest = 1u << 3,
  kRetryOnConnectFailure = 1u << 4,
  kRetryOnRefusedStream = 1u << 5,
  kRetryOnRetriable4xx = 1u << 6,
  kRetryOnStatusCodes = 1u << 7,
  kRetryOnRateLimited = 1u << 8,
  kRetryOnCancelled = 1u << 9,
  kRetryOnDeadlineExceeded = 1u << 10,
  kRetryOnInternal = 1u << 11,
  kRetryOnResourceExhausted = 1u << 12,
  kRetryOnUnavailable = 1u << 13,
};

struct RetryPolicy {
  uint32_t attempts = 2;  // beyond the first; 0: none
  uint32_t on = 0;
  uint32_t per_try_timeout_ms = 0;     // until the response's head; 0: none
  uint32_t base_interval_ms = 25;      // of the back-off
  std::vector<uint16_t> status_codes;  // for kRetryOnStatusCodes
  bool ignore_previous_hosts = true;   // other endpoints first
};

// How a try ended without a response.
enum class TryFailure : uint8_t {
  kConnect,  // no connection: nothing was sent
  kRefused,  // the server said that it did not process it
  kReset,    // it ended; the server may have processed it
  kTimeout,  // the try's own time was over
};

// RFC 9110 §9.2.2: may be repeated although it may have been processed.
bool is_idempotent(std::string_view method);

// Whether the policy repeats a request after this. One that may have been processed and is not idempotent is
// never repeated.
bool retries_failure(const RetryPolicy& policy, TryFailure failure, bool idempotent);
// After the head of a response. gRPC's statuses count where they stand in the head (a response of trailers
// only); naming one in retryOn says that the calls may be repeated.
bool retries_response(const RetryPolicy& policy, const ResponseHead& response, bool idempotent);

// Upper bound, exclusive, of the wait before the `retry`th further try (from 1), in milliseconds: grows to
// 2^N-1 times the base interval, at most ten times. At least 1.
uint32_t back_off_bound_ms(const RetryPolicy& policy, uint32_t retry);

}  // namespace weft::proxy
