// See port_window.h.
#include "userspace-proxy/net/port_window.h"

#include <netinet/in.h>
#include <sys/socket.h>

// Newer than the C library's headers of some distributions.
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

namespace weft::proxy {
namespace {

constexpr uint32_t kLowest = 32'768, kHighest = 60'999;

// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014), figure 17: close ones come
// apart.
uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

bool choose_port_window(int fd, uint64_t entropy) {
  const auto low = static_cast<uint32_t>(kLowest + mix(entropy) % (kHighest - kLowest + 2 - kWindowPorts));
  const uint32_t range = (low + kWindowPorts - 1) << 16 | low;
  return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)) == 0;
}

}  // namespace weft::proxy
