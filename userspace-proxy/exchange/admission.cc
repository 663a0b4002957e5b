// Thresholds of admission.h.
#include "userspace-proxy/exchange/admission.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace weft::proxy {
namespace {

// Without overflow for a limit that is "none".
uint64_t percent(uint64_t limit, uint64_t share) { return limit / 100 * share + limit % 100 * share / 100; }

bool reached(uint64_t value, uint64_t limit, uint64_t share) {
  return value >= std::max<uint64_t>(percent(limit, share), 1);
}

}  // namespace

bool Admission::observe(uint64_t connections, uint64_t buffered_bytes) {
  const uint64_t share = overloaded_ ? 80 : 90;
  const bool now = reached(connections, limits_.connections, share) ||
                   reached(buffered_bytes, limits_.buffered_bytes, share);
  const bool changed = now != overloaded_;
  overloaded_ = now;
  return changed;
}

uint64_t Admission::surplus(uint64_t connections) const {
  const uint64_t wanted = percent(limits_.connections, 80);
  return overloaded_ && connections >= wanted ? connections - wanted + 1 : 0;
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
