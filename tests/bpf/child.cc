// Processes and sockets of the bpf suites. Used by tests/bpf only.
#include "tests/bpf/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "agent/dataplane/netns.h"
#include "base/strings.h"
#include "bpf/user/cgroup.h"

namespace weft::agent {
namespace {

constexpr int kMptcp = 262;  // IPPROTO_MPTCP of <netinet/in.h> since glibc 2.32

void set_timeouts(int socket) {
  const timeval timeout{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

bool join(const std::string& cgroup) {
  const UniqueFd procs(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return procs.valid() && ::write(procs.get(), "0", 1) == 1;
}

// The cgroup2 directory of this process.
std::string own_cgroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) return bpf::find_cgroup2_root().value() + line.substr(3);
  }
  return "";
}

bool enter(const std::string& cgroup, const std::string& netns_path) {
  if (!join(cgroup)) return false;
  const UniqueFd netns(::open(netns_path.c_str(), O_RDONLY | O_CLOEXEC));
  return netns.valid() && setns(netns.get(), CLONE_NEWNET) == 0;
}

sockaddr_in6 mapped_sockaddr(const SocketAddress& target) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(target.port);
  std::memcpy(&out.sin6_addr, target.ip.bytes.data(), target.ip.bytes.size());
  return out;
}

// Writes "<errno> <peer> <answer>" to control.
int dial_and_report(int control, const Dial& dial) {
  char go = 0;
  if (dial.wait && ::read(control, &go, 1) != 1) return 1;
  sockaddr_storage storage{};
  socklen_t length = dial.target.to_sockaddr(&storage);
  if (dial.mapped) {
    const sockaddr_in6 mapped = mapped_sockaddr(dial.target);
    std::memcpy(&storage, &mapped, sizeof(mapped));
    length = sizeof(mapped);
  }
  const UniqueFd socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, dial.mptcp ? kMptcp : 0));
  set_timeouts(socket.get());
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    write_all(control, str_cat(errno, " - "));
    return 0;
  }
  sockaddr_storage peer{};
  socklen_t peer_length = sizeof(peer);
  getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &peer_length);
  const auto seen = SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&peer));
  write_all(socket.get(), dial.send);
  shutdown(socket.get(), SHUT_WR);
  const std::string answer = read_all(socket.get());
  write_all(control, str_cat(0, " ", seen ? seen->to_string() : std::string("-"), " ", answer));
  return 0;
}

}  // namespace

InCgroup::InCgroup(const std::string& cgroup) : before_(own_cgroup()) { EXPECT_TRUE(join(cgroup)) << cgroup; }

InCgroup::~InCgroup() { EXPECT_TRUE(join(before_)) << before_; }

Child::Child(const std::string& cgroup, const std::string& netns_path, const std::function<int(int)>& body) {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  pid_ = fork();
  if (pid_ == 0) {
    // It would hold on to the test's mounts, and so to its programs.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    _exit(enter(cgroup, netns_path) ? body(ends[1]) : 99);
  }
  ::close(ends[1]);
  control_.reset(ends[0]);
  set_timeouts(control_.get());
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  wait();
}

int Child::wait() {
  int status = 0;
  const pid_t waited = waitpid(pid_, &status, 0);
  pid_ = -1;
  return waited > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Dialer::Dialer(const std::string& cgroup, const std::string& netns_path, const Dial& dial)
    : child_(cgroup, netns_path, [&dial](int control) { return dial_and_report(control, dial); }) {}

void Dialer::go() { write_all(child_.control(), "g"); }

ConnectResult Dialer::result() {
  const std::string text = read_all(child_.control());
  child_.wait();
  ConnectResult result{.error = ETIME};
  const size_t first = text.find(' ');
  const size_t second = text.find(' ', first + 1);
  if (first == std::string::npos || second == std::string::npos) return result;
  result.error = parse_integer<int>(std::string_view(text).substr(0, first)).value_or(ETIME);
  if (const auto peer = SocketAddress::parse(std::string_view(text).substr(first + 1, second - first - 1)))
    result.peer = *peer;
  result.received = text.substr(second + 1);
  return result;
}

UniqueFd listen_in(const std::string& netns_path, const SocketAddress& bound) {
  UniqueFd socket;
  const absl::StatusOr<UniqueFd> netns = open_netns(netns_path);
  if (!netns.ok()) return socket;
  run_in_netns(netns->get(), [&] {
    sockaddr_storage storage{};
    const socklen_t length = bound.to_sockaddr(&storage);
    const int on = 1;
    UniqueFd made(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(made.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 &&
        listen(made.get(), 64) == 0) {
      socket = std::move(made);
    }
    return absl::OkStatus();
  }).IgnoreError();
  return socket;
}

Accepted accept_one(int listener) {
  pollfd wait{.fd = listener, .events = POLLIN, .revents = 0};
  Accepted out;
  if (poll(&wait, 1, kTimeoutSeconds * 1000) != 1) return out;
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  out.socket.reset(accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_CLOEXEC));
  if (!out.socket.valid()) return out;
  set_timeouts(out.socket.get());
  out.peer =
      SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage)).value_or(SocketAddress{});
  length = sizeof(storage);
  getsockname(out.socket.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  out.local =
      SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage)).value_or(SocketAddress{});
  return out;
}

SocketAddress address(const std::string& ip, uint16_t port) {
  return {.ip = IpAddress::parse(ip).value(), .port = port};
}

std::string read_all(int socket) {
  std::string out;
  char buffer[16384];
  for (ssize_t n = 0; (n = ::read(socket, buffer, sizeof(buffer))) > 0;)
    out.append(buffer, static_cast<size_t>(n));
  return out;
}

void write_all(int socket, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::send(socket, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

}  // namespace weft::agent
