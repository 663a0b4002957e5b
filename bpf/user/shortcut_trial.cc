// See shortcut_trial.h. Every step has a time limit: a kernel that loses a wake-up must not hold up the
// start.
#include "bpf/user/shortcut_trial.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "base/status_macros.h"
#include "bpf/shortcut_trial.skel.h"

namespace weft::bpf {
namespace {

constexpr uint64_t kFirst = 1;
constexpr uint64_t kSecond = 2;
constexpr std::array<char, 3000> kMessage = {'s', 'h', 'o', 'r', 't'};
constexpr int kPatienceMs = 1000;

struct Destroy {
  void operator()(::shortcut_trial* skeleton) const { shortcut_trial__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<::shortcut_trial, Destroy>;

struct Ends {
  UniqueFd first, second;
};

absl::StatusOr<Ends> connected() {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Ends out;
  out.first.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || !out.first.valid() || bind(listener.get(), generic, length) != 0 ||
      listen(listener.get(), 1) != 0 || getsockname(listener.get(), generic, &length) != 0 ||
      connect(out.first.get(), generic, length) != 0)
    return errno_status("connect two sockets on loopback", errno);
  out.second.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!out.second.valid()) return errno_status("connect two sockets on loopback", errno);
  for (const int fd : {out.first.get(), out.second.get()}) {
    const timeval limit{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  }
  return out;
}

absl::Status put(int map, uint64_t key, const UniqueFd& socket) {
  const uint64_t fd = static_cast<uint64_t>(socket.get());
  if (bpf_map_update_elem(map, &key, &fd, BPF_ANY) != 0)
    return errno_status("put a socket into a map of sockets", errno);
  return absl::OkStatus();
}

// One byte the other way, so that the program looks at the second socket.
absl::Status look(Skeleton& skeleton, const Ends& ends) {
  skeleton->bss->trial_to = kFirst;
  const uint64_t before = skeleton->bss->trial_runs;
  char byte = 'b';
  if (send(ends.second.get(), &byte, 1, MSG_NOSIGNAL) != 1 || skeleton->bss->trial_runs == before)
    return absl::UnavailableError("a send does not run the program of its socket");
  if (recv(ends.first.get(), &byte, 1, 0) != 1) return errno_status("read what came past TCP", errno);
  return absl::OkStatus();
}

void read_message(const Ends& ends, ShortcutFindings* out) {
  std::array<char, kMessage.size()> got{};
  pollfd readable{.fd = ends.second.get(), .events = POLLIN, .revents = 0};
  while (out->read < got.size() && poll(&readable, 1, kPatienceMs) == 1) {
    const ssize_t count =
        recv(ends.second.get(), got.data() + out->read, got.size() - out->read, MSG_DONTWAIT);
    if (count <= 0) break;
    out->read += static_cast<uint32_t>(count);
  }
  out->same = got == kMessage;
}

absl::Status exchange(Skeleton& skeleton, Ends& ends, ShortcutFindings* out) {
  RETURN_IF_ERROR(look(skeleton, ends));
  const uint32_t copied_before = skeleton->bss->trial_copied;
  skeleton->bss->trial_to = kSecond;
  if (send(ends.first.get(), kMessage.data(), kMessage.size(), MSG_NOSIGNAL) != kMessage.size())
    return errno_status("send past TCP", errno);
  out->sent = kMessage.size();
  const uint32_t written_before = skeleton->bss->trial_written;
  int readable = 0;
  ioctl(ends.second.get(), FIONREAD, &readable);
  out->readable = static_cast<uint32_t>(readable);
  RETURN_IF_ERROR(look(skeleton, ends));
  out->unread = skeleton->bss->trial_unread;
  read_message(ends, out);
  RETURN_IF_ERROR(look(skeleton, ends));
  out->unread_after = skeleton->bss->trial_unread;
  out->copied = skeleton->bss->trial_copied - copied_before;
  skeleton->bss->trial_to = kSecond;
  char byte = 'e';
  if (send(ends.first.get(), &byte, 1, MSG_NOSIGNAL) != 1) return errno_status("send past TCP", errno);
  out->written = skeleton->bss->trial_written - written_before;
  ends.first.reset();
  out->ended =
      recv(ends.second.get(), &byte, 1, 0) == 1 && byte == 'e' && recv(ends.second.get(), &byte, 1, 0) == 0;
  return absl::OkStatus();
}

}  // namespace

std::string shortcut_doubt(const ShortcutFindings& found) {
  if (found.read != found.sent || !found.same)
    return "bytes that go past TCP do not arrive as they were sent";
  if (found.readable != found.sent)
    return "FIONREAD does not count bytes that came past TCP (Linux before 2026), on which applications rely";
  if (found.unread < found.sent) return "the kernel does not charge bytes that came past TCP to their reader";
  if (found.unread_after != 0) return "the kernel still charges a reader with bytes that it has read";
  if (found.written != 0 || found.copied != 0) return "bytes that go past TCP move TCP's sequence numbers";
  if (!found.ended) return "the end of a connection does not follow bytes that went past TCP";
  return "";
}

absl::StatusOr<ShortcutFindings> try_shortcut() {
  Skeleton skeleton(shortcut_trial__open_and_load());
  if (skeleton == nullptr) return errno_status("load the program of the trial", errno);
  const int map = bpf_map__fd(skeleton->maps.trial_sockets);
  if (bpf_prog_attach(bpf_program__fd(skeleton->progs.shortcut_trial), map, BPF_SK_MSG_VERDICT, 0) != 0)
    return errno_status("attach to a map of sockets", errno);
  ASSIGN_OR_RETURN(Ends ends, connected());
  RETURN_IF_ERROR(put(map, kFirst, ends.first));
  RETURN_IF_ERROR(put(map, kSecond, ends.second));
  ShortcutFindings found;
  RETURN_IF_ERROR(exchange(skeleton, ends, &found));
  return found;
}

}  // namespace weft::bpf
