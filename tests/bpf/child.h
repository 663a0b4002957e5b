// Application processes of the bpf suites: forked, placed in the scratch cgroup and a namespace, told what to
// do over a socket pair. Hooks see the process they would see in production. No helper blocks longer than
// kTimeoutSeconds.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"

namespace weft::agent {

inline constexpr int kTimeoutSeconds = 5;

// For conditions that the kernel reaches without telling: look again until it has passed.
class Deadline {
 public:
  bool passed() const { return SystemClock().now() > end_; }

 private:
  MonotonicNs end_ = SystemClock().now() + kTimeoutSeconds * kNsPerSecond;
};

// A process that runs `body(control)` and exits with its result. `control` is one end of a stream socket
// pair.
class Child {
 public:
  Child(const std::string& cgroup, const std::string& netns_path,
        const std::function<int(int control)>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  int control() const { return control_.get(); }
  // The exit status of the body; -1 when it died otherwise.
  int wait();

 private:
  pid_t pid_ = -1;
  UniqueFd control_;
};

// The test process itself is in the cgroup until the end of the scope, as an agent is in production: what it
// opens meanwhile belongs there.
class InCgroup {
 public:
  explicit InCgroup(const std::string& cgroup);
  ~InCgroup();
  InCgroup(const InCgroup&) = delete;
  InCgroup& operator=(const InCgroup&) = delete;

 private:
  std::string before_;
};

// What connect() said and what the client then sees.
struct ConnectResult {
  int error = 0;  // errno, 0 for success
  SocketAddress peer;
  std::string received;
};

struct Dial {
  SocketAddress target;
  bool mapped = false;  // IPv4 through an AF_INET6 socket
  bool mptcp = false;
  std::string send;   // then the sending side is shut down and the answer read to its end
  bool wait = false;  // waits for a byte on control before it dials
};

// Dials from a child of its own in the cgroup and namespace.
class Dialer {
 public:
  Dialer(const std::string& cgroup, const std::string& netns_path, const Dial& dial);
  pid_t pid() const { return child_.pid(); }
  void go();
  ConnectResult result();

 private:
  Child child_;
};

// A listening socket of the test process in a namespace (the test process is in no scratch cgroup).
UniqueFd listen_in(const std::string& netns_path, const SocketAddress& address);

struct Accepted {
  UniqueFd socket;
  SocketAddress local;  // getsockname: the original destination
  SocketAddress peer;
};
// Waits for one connection; invalid socket on timeout.
Accepted accept_one(int listener);

SocketAddress address(const std::string& ip, uint16_t port);
// Reads to the end of the stream.
std::string read_all(int socket);
void write_all(int socket, const std::string& bytes);

}  // namespace weft::agent
