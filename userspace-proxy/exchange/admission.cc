// Thresholds of admission.h.
#include "userspace-proxy/exchange/admission.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace weft::proxy {
namespace {

// Without overflow for a limit that is "none".
uint64_t percent(uint64_t limit, uint64_t share) {
  return std::max<uint64_t>(limit / 100 * share + limit % 100 * share / 100, 1);
}

}  // namespace

Admission::Admission(const AdmissionLimits& limits)
    : limits_(limits),
      enter_{percent(limits.connections, 90), percent(limits.buffered_bytes, 90),
             percent(limits.descriptors, 90)},
      leave_{percent(limits.connections, 80), percent(limits.buffered_bytes, 80),
             percent(limits.descriptors, 80)} {}

void Admission::refuse(PodUse& pod) {
  ++shed_;
  if (overloaded_) return pod.refuse(Refusal::kOverload);
  pod.refuse(pod.exchanges.get() > limits_.pod_exchanges ? Refusal::kPodRequests : Refusal::kPodBytes);
}

uint64_t memory_limit() {
  struct sysinfo machine{};
  uint64_t limit = ~uint64_t{0};
  if (::sysinfo(&machine) == 0) limit = uint64_t{machine.totalram} * machine.mem_unit;
  // "0::/path": the unified hierarchy.
  std::ifstream own("/proc/self/cgroup");
  std::string line, path;
  while (std::getline(own, line)) {
    if (line.starts_with("0::")) path = line.substr(3);
  }
  while (path.starts_with('/')) {
    std::ifstream file("/sys/fs/cgroup" + path + "/memory.max");
    // "max" is no number and leaves the limit as it is.
    if (uint64_t bytes = 0; file >> bytes) limit = std::min(limit, bytes);
    path.erase(path == "/" ? 0 : path.rfind('/'));
  }
  return limit;
}

}  // namespace weft::proxy
