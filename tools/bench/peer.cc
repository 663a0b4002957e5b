// See peer.h. Blocking sockets and one thread for each connection of the server: what is measured is the
// path, and the same ends serve every arm.
#include "tools/bench/peer.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace weft::bench {
namespace {

constexpr size_t kMessage = 1024;
constexpr size_t kBlock = 64 * 1024;
// Long enough for the slowest slice on a loaded machine; a measurement never hangs.
constexpr int kGiveUpSeconds = 60;
constexpr timespec kAcceptEvery{0, 10'000'000};

struct Order {
  Job job;
  uint32_t count;
  SocketAddress target;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "weft-bench-l4: %s: %s\n", what, std::strerror(errno));
  ::_exit(1);
}

void enter(const Place& place) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!place.cgroup.empty()) {
    const UniqueFd procs(::open((place.cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs.valid() || ::write(procs.get(), "0", 1) != 1) fail("join the cgroup");
  }
  const UniqueFd netns(::open(place.netns_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns.valid() || ::setns(netns.get(), CLONE_NEWNET) != 0) fail("enter the namespace");
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(place.cpu, &cpus);
  // A machine with one CPU measures on that.
  ::sched_setaffinity(0, sizeof(cpus), &cpus);
}

void prepare(int socket) {
  const int on = 1;
  const timeval limit{kGiveUpSeconds, 0};
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

bool read_exactly(int socket, char* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::recv(socket, data + done, size - done, 0);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

bool write_exactly(int socket, const char* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::send(socket, data + done, size - done, MSG_NOSIGNAL);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// Each job on a connection starts with its kind and count; a connection that says nothing is one of kConnect.
void serve(UniqueFd socket) {
  prepare(socket.get());
  std::vector<char> block(kBlock);
  uint32_t head[2];
  while (read_exactly(socket.get(), reinterpret_cast<char*>(head), sizeof(head))) {
    const bool bulk = static_cast<Job>(head[0]) == Job::kBulk;
    for (uint32_t i = 0; i < head[1]; ++i) {
      if (!read_exactly(socket.get(), block.data(), bulk ? kBlock : kMessage)) return;
      if (!bulk && !write_exactly(socket.get(), block.data(), kMessage)) return;
    }
    if (bulk && !write_exactly(socket.get(), "d", 1)) return;
  }
}

void take(int listener) {
  UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return;
  // What a measured connect() left is gone already; only a connection with a job costs a thread.
  char byte = 0;
  if (::recv(socket.get(), &byte, 1, MSG_PEEK) == 1) std::thread(serve, std::move(socket)).detach();
}

void run_server(const Place& place, const SocketAddress& at, int ready) {
  enter(place);
  sockaddr_storage storage{};
  const socklen_t length = at.to_sockaddr(&storage);
  UniqueFd listener(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
      ::listen(listener.get(), 4096) != 0) {
    fail("listen");
  }
  if (::write(ready, "r", 1) != 1) fail("report");
  // Waking a server costs a connect() several times what a mesh does, and not every time: so this one takes
  // what has come by the clock.
  const UniqueFd clock(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const itimerspec tick{kAcceptEvery, kAcceptEvery};
  if (!clock.valid() || ::timerfd_settime(clock.get(), 0, &tick, nullptr) != 0) fail("set a timer");
  pollfd dialled{listener.get(), POLLIN, 0};
  for (uint64_t ticks = 0; ::read(clock.get(), &ticks, sizeof(ticks)) == sizeof(ticks);) {
    while (::poll(&dialled, 1, 0) == 1) take(listener.get());
  }
}

UniqueFd dial(const SocketAddress& target, uint64_t* took) {
  sockaddr_storage storage{};
  const socklen_t length = target.to_sockaddr(&storage);
  UniqueFd socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const MonotonicNs start = SystemClock().now();
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) fail("connect");
  *took = SystemClock().now() - start;
  return socket;
}

// The median: one interrupt or one other task on this CPU is as long as hundreds of connects.
uint64_t connect_many(const Order& order) {
  std::vector<uint64_t> took(order.count);
  for (uint64_t& one : took) {
    const UniqueFd socket = dial(order.target, &one);
    // No TIME_WAIT: ports would run out.
    const linger reset{1, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  const auto middle = took.begin() + static_cast<ptrdiff_t>(took.size() / 2);
  std::nth_element(took.begin(), middle, took.end());
  return *middle;
}

uint64_t move_bytes(const Order& order, int socket) {
  static const std::vector<char> block(kBlock, 'x');
  std::vector<char> answer(kMessage);
  const uint32_t head[2] = {static_cast<uint32_t>(order.job), order.count};
  const bool bulk = order.job == Job::kBulk;
  const MonotonicNs start = SystemClock().now();
  if (!write_exactly(socket, reinterpret_cast<const char*>(head), sizeof(head))) fail("start");
  for (uint32_t i = 0; i < order.count; ++i) {
    if (!write_exactly(socket, block.data(), bulk ? kBlock : kMessage)) fail("send");
    if (!bulk && !read_exactly(socket, answer.data(), kMessage)) fail("receive");
  }
  if (bulk && !read_exactly(socket, answer.data(), 1)) fail("receive");
  return SystemClock().now() - start;
}

void run_client(const Place& place, int control) {
  enter(place);
  UniqueFd socket;
  Order order{};
  while (::read(control, &order, sizeof(order)) == sizeof(order)) {
    uint64_t spent = 0;
    if (order.job == Job::kConnect) {
      spent = connect_many(order);
    } else if (order.job == Job::kEstablish) {
      socket = dial(order.target, &spent);
      prepare(socket.get());
      // The server gives a connection its thread when it says something.
      const Order first{Job::kPingPong, 1, {}};
      spent = move_bytes(first, socket.get());
    } else {
      spent = move_bytes(order, socket.get());
    }
    if (::write(control, &spent, sizeof(spent)) != sizeof(spent)) return;
  }
}

void end(pid_t pid) {
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace

ServerPeer::ServerPeer(const Place& place, const SocketAddress& address) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair");
  pid_ = ::fork();
  if (pid_ == 0) run_server(place, address, pair[1]);
  ::close(pair[1]);
  char ready = 0;
  const bool started = ::read(pair[0], &ready, 1) == 1;
  ::close(pair[0]);
  if (!started) std::exit(1);
}

ServerPeer::~ServerPeer() { end(pid_); }

ClientPeer::ClientPeer(const Place& place) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(pair[0]);
    run_client(place, pair[1]);
    ::_exit(0);
  }
  ::close(pair[1]);
  control_.reset(pair[0]);
}

ClientPeer::~ClientPeer() {
  control_.reset();
  end(pid_);
}

uint64_t ClientPeer::run(Job job, uint32_t count, const SocketAddress& target) {
  const Order order{job, count, target};
  uint64_t spent = 0;
  if (::write(control_.get(), &order, sizeof(order)) != sizeof(order) ||
      ::read(control_.get(), &spent, sizeof(spent)) != sizeof(spent)) {
    std::fprintf(stderr, "weft-bench-l4: a client ended early\n");
    std::exit(1);
  }
  return spent;
}

}  // namespace weft::bench
