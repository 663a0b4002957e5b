// See loopback.h.
#include "tools/bench/loopback.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "userspace-proxy/net/socket.h"

namespace weft::bench {

void run_on(int first_cpu, int last_cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (int cpu = first_cpu; cpu <= last_cpu; ++cpu) CPU_SET(static_cast<size_t>(cpu), &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

int last_cpu() { return static_cast<int>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L)) - 1; }

UniqueFd listen_at(const char* wanted, SocketAddress* address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_storage any;
  const socklen_t size = SocketAddress::parse(wanted)->to_sockaddr(&any);
  // A run right after another: connections of that one are remembered for a minute.
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), size) != 0 || ::listen(fd.get(), 128) != 0) {
    std::fprintf(stderr, "cannot listen at %s: %s\n", wanted, std::strerror(errno));
    std::exit(1);
  }
  *address = proxy::local_address(fd.get());
  return fd;
}

}  // namespace weft::bench
