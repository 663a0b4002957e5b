// Defaults of admission_limits.h.
#include "userspace-proxy/admission_limits.h"

#include <sys/resource.h>

#include <algorithm>

namespace weft::proxy {
namespace {

// Descriptors that are not connections: logs, sockets to the agent, listeners of a few pods.
constexpr uint64_t kSpareDescriptors = 128;

// A worker's share of the process's descriptors; a connection needs one on each side.
uint64_t descriptor_limit(uint32_t workers) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= 2 * kSpareDescriptors)
    return std::max<uint64_t>(kSpareDescriptors / (2 * workers), 1);
  return std::max<uint64_t>((limit.rlim_cur - kSpareDescriptors) / (2 * uint64_t{workers}), 1);
}

uint64_t share_of(uint64_t total, uint32_t workers, uint64_t fallback) {
  return total == 0 ? fallback : std::max<uint64_t>(total / workers, 1);
}

}  // namespace

AdmissionLimits admission_limits(const Worker::Options& options) {
  const uint64_t descriptors = descriptor_limit(options.count);
  AdmissionLimits limits;
  limits.connections = std::min(descriptors, share_of(options.max_connections, options.count, descriptors));
  limits.buffered_bytes =
      share_of(options.max_buffered_bytes, options.count, memory_limit() / 4 / options.count);
  const uint64_t half = std::max<uint64_t>(limits.connections / 2, 1);
  limits.pod_connections = share_of(options.pod_max_connections, options.count, half);
  limits.pod_exchanges = share_of(options.pod_max_exchanges, options.count, half);
  limits.pod_head_bytes = options.pod_head_bytes;
  return limits;
}

}  // namespace weft::proxy
