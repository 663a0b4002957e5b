// OutlierDetector of outlier_detector.h. What counts as what is Envoy's outlier detection.
#include "userspace-proxy/upstream/outlier_detector.h"

#include <algorithm>

namespace weft::proxy {
namespace {

constexpr uint16_t kUnavailable = 503, kGatewayTimeout = 504, kServerError = 500, kBadGateway = 502;

// Of a failure without a response, where those are not told apart.
uint16_t status_of(TryResult::Kind kind) {
  switch (kind) {
    case TryResult::Kind::kConnectFailed:
      return kUnavailable;
    case TryResult::Kind::kTimeout:
      return kGatewayTimeout;
    default:
      return kServerError;
  }
}

bool is_failure(const OutlierSettings& settings, uint16_t status) {
  const auto& codes = settings.error_codes;
  if (codes.empty()) return status >= kServerError && status < 600;
  return std::find(codes.begin(), codes.end(), status) != codes.end();
}

bool reaches(std::atomic<uint32_t>& count, uint32_t threshold) {
  if (threshold == 0 || count.fetch_add(1, std::memory_order_relaxed) + 1 < threshold) return false;
  count.store(0, std::memory_order_relaxed);
  return true;
}

// What is 0 stays in this core's cache.
void clear(std::atomic<uint32_t>& count) {
  if (count.load(std::memory_order_relaxed) != 0) count.store(0, std::memory_order_relaxed);
}

}  // namespace

std::shared_ptr<EndpointHealth> OutlierDetector::health(const SocketAddress& endpoint) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<EndpointHealth>& found = endpoints_[endpoint];
  if (found == nullptr) found = std::make_shared<EndpointHealth>();
  return found;
}

bool OutlierDetector::fails_by_status(EndpointHealth& health, const OutlierSettings& settings,
                                      uint16_t status) {
  if (!is_failure(settings, status)) {
    clear(health.failures);
    clear(health.gateway_failures);
    return false;
  }
  const bool gateway = status >= kBadGateway && status <= kGatewayTimeout;
  if (!gateway) clear(health.gateway_failures);
  const bool by_gateway = gateway && reaches(health.gateway_failures, settings.consecutive_gateway);
  return reaches(health.failures, settings.consecutive_5xx) || by_gateway;
}

bool OutlierDetector::fails(EndpointHealth& health, const OutlierSettings& settings, TryResult result) {
  const bool has_status = result.kind == TryResult::Kind::kStatus;
  if (!settings.split_local_origin) {
    if (result.kind == TryResult::Kind::kConnected) return false;
    return fails_by_status(health, settings, has_status ? result.status : status_of(result.kind));
  }
  if (result.kind == TryResult::Kind::kConnected || has_status) clear(health.local_failures);
  if (result.kind == TryResult::Kind::kConnected) return false;
  return has_status ? fails_by_status(health, settings, result.status)
                    : reaches(health.local_failures, settings.consecutive_local_origin);
}

uint64_t OutlierDetector::report(EndpointHealth& health, const OutlierSettings& settings, TryResult result,
                                 uint32_t hosts, MonotonicNs now) {
  return fails(health, settings, result) ? eject(health, settings, hosts, now) : 0;
}

// Each ejection is one base time longer than the one before; each interval without one takes one away again.
uint64_t OutlierDetector::eject(EndpointHealth& health, const OutlierSettings& settings, uint32_t hosts,
                                MonotonicNs now) {
  absl::MutexLock lock(&mutex_);
  if (health.ejected.load(std::memory_order_relaxed)) return 0;
  const uint32_t ejected = ejected_count_.load(std::memory_order_relaxed);
  if (hosts == 0 || uint64_t{100} * (ejected + 1) > uint64_t{settings.max_ejection_percent} * hosts) {
    withheld_.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
  if (health.multiplier > 0) {
    const uint64_t intervals = (now - health.returned_at) / (settings.interval_ms * kNsPerMs);
    health.multiplier -= static_cast<uint32_t>(std::min<uint64_t>(health.multiplier, intervals));
  }
  const uint64_t longest = std::max(kMaxEjectionMs, settings.base_ejection_ms);
  if (settings.base_ejection_ms * health.multiplier < longest) ++health.multiplier;
  const uint64_t rest_ms = std::min(settings.base_ejection_ms * health.multiplier, longest);
  health.return_at = now + rest_ms * kNsPerMs;
  health.ejected.store(true, std::memory_order_relaxed);
  ejected_count_.store(ejected + 1, std::memory_order_relaxed);
  ejections_.fetch_add(1, std::memory_order_relaxed);
  const MonotonicNs next = std::min(next_return_.load(std::memory_order_relaxed), health.return_at);
  next_return_.store(next, std::memory_order_relaxed);
  version_.fetch_add(1, std::memory_order_release);
  return rest_ms;
}

void OutlierDetector::return_due(MonotonicNs now) {
  absl::MutexLock lock(&mutex_);
  if (now < next_return_.load(std::memory_order_relaxed)) return;
  MonotonicNs next = kNever;
  for (auto& [address, health] : endpoints_) {
    if (!health->ejected.load(std::memory_order_relaxed)) continue;
    if (health->return_at > now) {
      next = std::min(next, health->return_at);
      continue;
    }
    for (std::atomic<uint32_t>* count :
         {&health->failures, &health->gateway_failures, &health->local_failures})
      count->store(0, std::memory_order_relaxed);
    health->returned_at = health->return_at;
    health->ejected.store(false, std::memory_order_relaxed);
    ejected_count_.fetch_sub(1, std::memory_order_relaxed);
  }
  next_return_.store(next, std::memory_order_relaxed);
  version_.fetch_add(1, std::memory_order_release);
}

void OutlierDetector::prune() {
  absl::MutexLock lock(&mutex_);
  absl::erase_if(endpoints_, [this](const auto& entry) {
    if (entry.second.use_count() > 1) return false;
    if (entry.second->ejected.load(std::memory_order_relaxed))
      ejected_count_.fetch_sub(1, std::memory_order_relaxed);
    return true;
  });
}

}  // namespace weft::proxy
