// See wait.h.
#include "tests/harness/wait.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#include <cerrno>
#include <thread>

#include "base/fd.h"
#include "base/status_macros.h"
#include "tests/harness/process.h"

namespace weft::harness {
namespace {

constexpr int kPollMs = 20;

bool connects(const SocketAddress& address) {
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(&storage);
  const UniqueFd socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket.valid() && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0;
}

}  // namespace

absl::Status in_namespace(const std::string& netns, const std::function<void()>& work) {
  if (netns.empty()) {
    work();
    return absl::OkStatus();
  }
  const UniqueFd fd(::open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(str_cat("open ", netns), errno);
  int error = 0;
  std::thread thread([&fd, &work, &error] {
    if (::setns(fd.get(), CLONE_NEWNET) != 0) {
      error = errno;
    } else {
      work();
    }
  });
  thread.join();
  return error == 0 ? absl::OkStatus() : errno_status(str_cat("enter ", netns), error);
}

bool wait_until(milliseconds deadline, const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    ::poll(nullptr, 0, kPollMs);
  }
  return true;
}

absl::Status wait_for_port(const std::string& netns, const SocketAddress& address, Process* server,
                           milliseconds deadline) {
  bool died = false;
  bool connected = false;
  RETURN_IF_ERROR(in_namespace(netns, [&] {
    wait_until(deadline, [&] {
      connected = connects(address);
      died = !connected && server != nullptr && !server->running();
      return connected || died;
    });
  }));
  if (connected) return absl::OkStatus();
  const std::string what = died ? "the server ended" : "nobody accepts";
  return absl::UnavailableError(str_cat(address.to_string(), ": ", what,
                                        server != nullptr ? str_cat("; it wrote: ", server->output()) : ""));
}

ReservedPort::ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const int one = 1;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage{};
  socklen_t length = SocketAddress::parse("127.0.0.1:0")->to_sockaddr(&storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (::bind(socket_.get(), address, length) != 0 || ::getsockname(socket_.get(), address, &length) != 0)
    return;
  number_ = SocketAddress::from_sockaddr(address)->port;
}

}  // namespace weft::harness
