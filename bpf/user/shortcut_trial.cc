// See shortcut_trial.h. Every step has a time limit: a kernel that loses a wake-up must not hold up the
// start.
#include "bpf/user/shortcut_trial.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "base/status_macros.h"
#include "bpf/shortcut_trial.skel.h"
#include "bpf/user/shortcut_plug.h"

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

// A kernel that loses a wake-up must not hold up the start.
void limit_waits(const ConnectedPair& ends) {
  for (const int fd : {ends.first.get(), ends.second.get()}) {
    const timeval limit{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  }
}

// One byte the other way, so that the program looks at the second socket.
absl::Status look(Skeleton& skeleton, const ConnectedPair& ends) {
  skeleton->bss->trial_to = kFirst;
  const uint64_t before = skeleton->bss->trial_runs;
  char byte = 'b';
  if (send(ends.second.get(), &byte, 1, MSG_NOSIGNAL) != 1 || skeleton->bss->trial_runs == before)
    return absl::UnavailableError("a send does not run the program of its socket");
  if (recv(ends.first.get(), &byte, 1, 0) != 1) return errno_status("read what came past TCP", errno);
  return absl::OkStatus();
}

void read_message(const ConnectedPair& ends, ShortcutFindings* out) {
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

// Twice, because a kernel may take the first answer for the answer to all that follows; then a byte as
// before.
absl::Status put_off(Skeleton& skeleton, const ConnectedPair& ends, ShortcutFindings* out) {
  ASSIGN_OR_RETURN(const ShortcutPlug plug, ShortcutPlug::put(bpf_map__fd(skeleton->maps.trial_sockets)));
  char byte = 'l';
  skeleton->bss->trial_to = 0;
  skeleton->bss->trial_flags = 0;
  out->put_off = true;
  for (int i = 0; i < 2; ++i) {
    const ssize_t count = send(ends.first.get(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    out->put_off = out->put_off && count < 0 && errno == EINVAL;
  }
  skeleton->bss->trial_to = kSecond;
  skeleton->bss->trial_flags = BPF_F_INGRESS;
  const uint64_t before = skeleton->bss->trial_runs;
  if (send(ends.first.get(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1 ||
      skeleton->bss->trial_runs == before || recv(ends.second.get(), &byte, 1, 0) != 1 || byte != 'l')
    out->put_off = false;
  return absl::OkStatus();
}

absl::Status exchange(Skeleton& skeleton, ConnectedPair& ends, ShortcutFindings* out) {
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
  RETURN_IF_ERROR(put_off(skeleton, ends, out));
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
  if (!found.put_off) return "a send that is put off does not answer EINVAL, or is put off for ever";
  if (!found.ended) return "the end of a connection does not follow bytes that went past TCP";
  return "";
}

absl::StatusOr<ShortcutFindings> try_shortcut() {
  Skeleton skeleton(shortcut_trial__open_and_load());
  if (skeleton == nullptr) return errno_status("load the program of the trial", errno);
  const int map = bpf_map__fd(skeleton->maps.trial_sockets);
  if (bpf_prog_attach(bpf_program__fd(skeleton->progs.shortcut_trial), map, BPF_SK_MSG_VERDICT, 0) != 0)
    return errno_status("attach to a map of sockets", errno);
  skeleton->bss->trial_flags = BPF_F_INGRESS;
  ASSIGN_OR_RETURN(ConnectedPair ends, connected_pair());
  limit_waits(ends);
  RETURN_IF_ERROR(put_socket(map, kFirst, ends.first));
  RETURN_IF_ERROR(put_socket(map, kSecond, ends.second));
  ShortcutFindings found;
  RETURN_IF_ERROR(exchange(skeleton, ends, &found));
  return found;
}

}  // namespace weft::bpf
