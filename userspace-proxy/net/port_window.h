// From which local ports a connection may be dialled. connect(2) searches the whole range of the namespace
// for a port whose pair with the destination is free: where a pod has used nearly all of them (TIME_WAIT
// holds each for a minute), that takes milliseconds of the thread that all pods share. A window bounds it.
#pragma once

#include <cstdint>

namespace weft::proxy {

inline constexpr uint32_t kWindowPorts = 128;
// How many windows are tried: with one port in a hundred free, all have none once in 30,000 dials.
inline constexpr uint32_t kMostWindows = 8;

// One of the windows of Linux' default range (ip_local_port_range, 32768 to 60999), which one is up to
// `entropy`: connect(2) on `fd` chooses from it, and fails with EADDRNOTAVAIL when none of it is free. Where
// the namespace's own range does not have the window, it chooses from all of that as before. False: this
// kernel has no windows (IP_LOCAL_PORT_RANGE of ip(7), Linux 6.3), and nothing has changed.
bool choose_port_window(int fd, uint64_t entropy);

}  // namespace weft::proxy
