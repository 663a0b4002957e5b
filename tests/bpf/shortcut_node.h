// Two pods of a scratch node that ask for the shortcut, and connections of them with the proxy. The test is
// the proxy: it accepts at the capture listener, and dials for the client's namespace. Used by the suites
// about the shortcut.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "agent/dataplane/netns.h"
#include "base/strings.h"
#include "bpf/abi/shortcut.h"
#include "bpf/user/shortcut_trial.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {

inline constexpr uint16_t kPort = 8080;

enum class Kind { kCaptured, kDialled };
struct Case {
  Kind kind;
  const char* server;
  const char* vip;
};

inline std::string name_of(const testing::TestParamInfo<Case>& info) {
  return str_cat(info.param.kind == Kind::kCaptured ? "Captured" : "Dialled",
                 info.param.server == kServerV4 ? "V4" : "V6");
}

// The two ends of one connection: non-blocking.
struct Ends {
  UniqueFd pod, proxy;
};

inline std::string pattern(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string out(bytes, 0);
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

inline bool wait_for(int socket, short events) {
  pollfd wanted{.fd = socket, .events = events, .revents = 0};
  return poll(&wanted, 1, kTimeoutSeconds * 1000) == 1;
}

// As the proxy's loop does it: what is put off is tried again.
inline int send_all(int socket, std::string_view bytes) {
  const Deadline deadline;
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EINVAL && !deadline.passed()) {
      poll(nullptr, 0, 1);  // put off: nothing tells when
    } else if (errno != EAGAIN || !wait_for(socket, POLLOUT)) {
      return errno;
    }
  }
  return 0;
}

inline std::string receive_some(int socket, size_t most) {
  std::string out(most, 0);
  if (!wait_for(socket, POLLIN)) return "";
  const ssize_t count = ::recv(socket, out.data(), most, MSG_DONTWAIT);
  out.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return out;
}

inline std::string receive(int socket, size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const std::string more = receive_some(socket, bytes - out.size());
    if (more.empty()) break;
    out += more;
  }
  return out;
}

class ShortcutTest : public FlowNode, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    ScratchNode::SetUp();
    if (HasFatalFailure()) return;
    in_cgroup_ = std::make_unique<InCgroup>(cgroup_);
    shortcut_ = true;
    open_dataplane();
    if (HasFatalFailure()) return;
    // Older kernels cannot have it, and serve by TCP (NoShortcutTest). Anything else that keeps it off is a
    // fault.
    if (const std::string problem = dataplane_->shortcut_problem(); !problem.empty()) {
      const auto found = bpf::try_shortcut();
      ASSERT_TRUE(found.ok() && found->same && found->readable != found->sent) << problem;
      GTEST_SKIP() << "this kernel's FIONREAD does not count bytes that came past TCP";
    }
    enroll_both(true);
  }
  void TearDown() override {
    client_namespace_ = {};
    server_namespace_ = {};
    in_cgroup_.reset();
    ScratchNode::TearDown();
  }

  void enroll_both(bool shortcut) {
    NamespacePlan client = client_plan();
    client.shortcut = shortcut;
    const NamespacePlan server{
        .netns_path = netns_path(server_), .workload_id = kServerId, .shortcut = shortcut};
    auto first = dataplane_->enroll(client);
    auto second = dataplane_->enroll(server);
    ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
    client_namespace_ = *std::move(first);
    server_namespace_ = *std::move(second);
  }
  // `mark`: that the socket has before it dials.
  UniqueFd dial(const SocketAddress& target, uint32_t mark = 0) {
    UniqueFd out;
    const absl::Status done = run_in_netns(client_namespace_.netns.get(), [&]() -> absl::Status {
      sockaddr_storage to{};
      const socklen_t length = target.to_sockaddr(&to);
      out.reset(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (mark != 0) setsockopt(out.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
      if (::connect(out.get(), reinterpret_cast<sockaddr*>(&to), length) != 0)
        return absl::UnavailableError(std::strerror(errno));
      return absl::OkStatus();
    });
    EXPECT_TRUE(done.ok()) << done;
    return out;
  }
  // A connection of the case's kind; `first` bytes of both ends are exchanged.
  Ends connect(size_t first = 100) {
    Ends out;
    if (GetParam().kind == Kind::kCaptured) {
      out.pod = dial(address(GetParam().vip, kPort));
      out.proxy = accept_one(client_namespace_.listeners.at(0).get()).socket;
    } else {
      const UniqueFd listener = listen_in(netns_path(server_), address(GetParam().server, kPort));
      EXPECT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(getpid())).ok());
      out.proxy = dial(address(GetParam().server, kPort));
      dataplane_->forget_proxy(static_cast<uint32_t>(getpid()));
      out.pod = accept_one(listener.get()).socket;
    }
    if (first != 0) exchange(out, first);
    return out;
  }
  // A question and its answer, asked by whoever dialled.
  static void exchange(const Ends& ends, size_t bytes) {
    const bool captured = GetParam().kind == Kind::kCaptured;
    const int asks = captured ? ends.pod.get() : ends.proxy.get();
    const int answers = captured ? ends.proxy.get() : ends.pod.get();
    const std::string question = pattern(bytes, 1);
    const std::string answer = pattern(2 * bytes, 2);
    EXPECT_EQ(send_all(asks, question), 0);
    EXPECT_EQ(receive(answers, question.size()), question);
    EXPECT_EQ(send_all(answers, answer), 0);
    EXPECT_EQ(receive(asks, answer.size()), answer);
  }
  uint64_t open_rows(const std::string& map = "m_shortcut") const {
    const auto dump = dataplane_->dump_map(map, 0);
    return dump.ok() ? dump->total : ~uint64_t{0};
  }
  bool rows_become(const std::string& map, uint64_t count) const {
    const Deadline deadline;
    while (open_rows(map) != count && !deadline.passed()) continue;
    return open_rows(map) == count;
  }
  static int readable(const UniqueFd& socket) {
    int bytes = -1;
    ioctl(socket.get(), FIONREAD, &bytes);
    return bytes;
  }

  std::unique_ptr<InCgroup> in_cgroup_;
  EnrolledNamespace server_namespace_;
};

}  // namespace weft::agent
