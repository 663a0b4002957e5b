// SCM_RIGHTS over SOCK_SEQPACKET (unix(7)); see fd_passing.h.
#include "base/fd_passing.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstring>

#include "base/status_macros.h"

namespace weft {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(kMaxPacketFds * sizeof(int));

void collect_fds(const cmsghdr* control, std::vector<UniqueFd>* fds) {
  if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) return;
  const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; ++i) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
    fds->emplace_back(fd);
  }
}

}  // namespace

absl::Status send_with_fds(int socket, std::string_view payload, std::span<const int> fds) {
  if (payload.size() > kMaxPacketBytes || fds.size() > kMaxPacketFds) {
    return absl::InvalidArgumentError("packet too large to send");
  }
  iovec data{const_cast<char*>(payload.data()), payload.size()};
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return absl::OkStatus();
  if (errno == EPIPE || errno == ECONNRESET || errno == EAGAIN || errno == ENOTCONN) {
    return absl::UnavailableError(str_cat("send packet: ", std::strerror(errno)));
  }
  return errno_status("send packet", errno);
}

absl::StatusOr<FdMessage> receive_with_fds(int socket) {
  FdMessage out;
  out.payload.resize(kMaxPacketBytes);
  iovec data{out.payload.data(), out.payload.size()};
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && errno == EAGAIN) return absl::UnavailableError("no packet waiting");
  if (received < 0 && errno == ECONNRESET) return absl::OutOfRangeError("peer closed the socket");
  if (received < 0) return errno_status("receive packet", errno);
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    collect_fds(c, &out.fds);
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return absl::DataLossError("packet was cut");
  if (received == 0) return absl::OutOfRangeError("peer closed the socket");
  out.payload.resize(static_cast<size_t>(received));
  return out;
}

}  // namespace weft
