// Defaults of admission_limits.h.
#include "userspace-proxy/admission_limits.h"

#include <sys/resource.h>

#include <algorithm>

#include "userspace-proxy/net/descriptor_reserve.h"

namespace weft::proxy {
namespace {

// Descriptors that are not connections: logs, sockets to the agent, listeners of a few pods.
constexpr uint64_t kSpareDescriptors = 128;

constexpr uint64_t kPodWaiting = 1024;

// A worker's share of the process's descriptors, but for its reserve.
uint64_t descriptor_limit(uint32_t workers) {
  rlimit limit{};
  const uint64_t spare = kSpareDescriptors + uint64_t{workers} * DescriptorReserve::kCount;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= 2 * spare)
    return std::max<uint64_t>(kSpareDescriptors / workers, 2);
  return std::max<uint64_t>((limit.rlim_cur - spare) / workers, 2);
}

uint64_t share_of(uint64_t total, uint32_t workers, uint64_t fallback) {
  return total == 0 ? fallback : std::max<uint64_t>(total / workers, 1);
}

}  // namespace

AdmissionLimits admission_limits(const Worker::Options& options) {
  const uint64_t descriptors = descriptor_limit(options.count);
  AdmissionLimits limits;
  limits.descriptors = descriptors;
  // A connection may need one on each side; where most are idle few do, which whoever sets the option knows.
  limits.connections =
      std::min(descriptors, share_of(options.max_connections, options.count, descriptors / 2));
  limits.buffered_bytes =
      share_of(options.max_buffered_bytes, options.count, memory_limit() / 4 / options.count);
  const uint64_t half = std::max<uint64_t>(limits.connections / 2, 1);
  limits.pod_connections = share_of(options.pod_max_connections, options.count, half);
  limits.pod_exchanges = share_of(options.pod_max_exchanges, options.count, half);
  limits.pod_head_bytes = options.pod_head_bytes;
  limits.pod_buffered_bytes = share_of(options.pod_max_buffered_bytes, options.count,
                                       std::max<uint64_t>(limits.buffered_bytes / 2, 1));
  limits.pod_waiting = share_of(options.pod_max_waiting, options.count, kPodWaiting);
  return limits;
}

ExchangeLimits exchange_limits(const Worker::Options& options) {
  ExchangeLimits limits;
  limits.head_timeout_ms = static_cast<uint64_t>(options.head_timeout.count());
  limits.sniff_timeout_ms = static_cast<uint64_t>(options.sniff_timeout.count());
  limits.downstream_idle_ms = static_cast<uint64_t>(options.downstream_idle.count());
  limits.exchange_idle_ms = static_cast<uint64_t>(options.exchange_idle.count());
  limits.max_head_bytes = options.max_head_bytes;
  limits.min_progress_bytes = options.min_progress_bytes;
  return limits;
}

UpstreamLimits upstream_limits(const Worker::Options& options, const AdmissionLimits& admission) {
  UpstreamLimits limits;
  limits.idle_ms = static_cast<uint64_t>(options.upstream_idle.count());
  limits.max_idle = options.max_idle_upstream;
  limits.surplus_idle_ms = static_cast<uint64_t>(options.surplus_upstream_idle.count());
  limits.max_connections = options.max_upstream_connections;
  limits.max_streams = options.max_upstream_streams;
  limits.max_waiting = options.max_waiting;
  limits.max_wait_ms = static_cast<uint64_t>(options.max_wait.count());
  limits.max_head_bytes = options.max_head_bytes;
  limits.max_pod_waiting = admission.pod_waiting;
  return limits;
}

}  // namespace weft::proxy
