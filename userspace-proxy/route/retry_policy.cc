// See retry_policy.h.
#include "userspace-proxy/route/retry_policy.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"

namespace weft::proxy {
namespace {

// An upstream that ends without a response counts as the 5xx that the client would get.
constexpr uint32_t kOnAnyFailure = kRetryOn5xx | kRetryOnGatewayError | kRetryOnReset;

std::optional<uint32_t> grpc_bit(std::string_view status) {
  switch (parse_integer<uint32_t>(status).value_or(0)) {
    case 1:
      return kRetryOnCancelled;
    case 4:
      return kRetryOnDeadlineExceeded;
    case 8:
      return kRetryOnResourceExhausted;
    case 13:
      return kRetryOnInternal;
    case 14:
      return kRetryOnUnavailable;
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_idempotent(std::string_view method) {
  for (const std::string_view idempotent : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}) {
    if (method == idempotent) return true;
  }
  return false;
}

bool retries_failure(const RetryPolicy& policy, TryFailure failure, bool idempotent) {
  switch (failure) {
    case TryFailure::kConnect:
      return (policy.on & (kOnAnyFailure | kRetryOnConnectFailure | kRetryOnResetBeforeRequest)) != 0;
    case TryFailure::kRefused:
      return (policy.on & (kOnAnyFailure | kRetryOnRefusedStream)) != 0;
    case TryFailure::kReset:
    case TryFailure::kTimeout:
      return idempotent && (policy.on & kOnAnyFailure) != 0;
  }
  return false;
}

bool retries_response(const RetryPolicy& policy, const ResponseHead& response, bool idempotent) {
  if ((policy.on & kRetryOnRateLimited) == 0 && response.find("x-envoy-ratelimited")) return false;
  if (const auto grpc = response.find("grpc-status")) {
    const auto bit = grpc_bit(*grpc);
    if (bit) return (policy.on & *bit) != 0;
  }
  if (!idempotent) return false;
  const uint16_t status = response.status;
  if ((policy.on & kRetryOn5xx) != 0 && status >= 500 && status < 600) return true;
  if ((policy.on & kRetryOnGatewayError) != 0 && status >= 502 && status <= 504) return true;
  if ((policy.on & kRetryOnRetriable4xx) != 0 && status == 409) return true;
  if ((policy.on & kRetryOnRateLimited) != 0 && response.find("x-envoy-ratelimited")) return true;
  if ((policy.on & kRetryOnStatusCodes) == 0) return false;
  return std::find(policy.status_codes.begin(), policy.status_codes.end(), status) !=
         policy.status_codes.end();
}

uint32_t back_off_bound_ms(const RetryPolicy& policy, uint32_t retry) {
  constexpr uint32_t kMost = 10;
  const uint32_t factor = retry >= 4 ? kMost : std::min(kMost, (1u << retry) - 1);
  return std::max(1u, policy.base_interval_ms * factor);
}

}  // namespace weft::proxy
