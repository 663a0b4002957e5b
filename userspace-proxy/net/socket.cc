// Socket of socket.h, and of SocketIo what needs no backend.
#include "userspace-proxy/net/socket.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace weft::proxy {

bool Socket::open(UniqueFd fd, bool writable) {
  close();
  io_ = loop_.io().open_socket(std::move(fd), writable);
  return io_ != nullptr;
}

bool Socket::connect(Operation& operation, const SocketAddress& address) {
  return io_->connect(operation, address);
}

bool Socket::recv(Operation& operation, InputBuffer& into) {
  if (io_ != nullptr) return io_->recv(operation, into);
  operation.result = -ECONNRESET;
  return true;
}

bool Socket::send(Operation& operation, std::span<const iovec> pieces) {
  if (io_ != nullptr) return io_->send(operation, pieces);
  operation.result = -EPIPE;
  return true;
}

bool Socket::post(std::span<const iovec> pieces) { return io_ != nullptr && io_->post(pieces); }

void Socket::watch_reset(Operation& operation) {
  if (io_ != nullptr) io_->watch_reset(operation);
}

void Socket::shutdown_write() {
  if (io_ != nullptr) io_->shutdown_write();
}

void Socket::close() {
  if (io_ == nullptr) return;
  io_->close();
  io_ = nullptr;
}

// socket(7), SO_LINGER of 0.
void SocketIo::reset() {
  const linger option{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd(), SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  close();
}

void Socket::reset() {
  if (io_ == nullptr) return;
  io_->reset();
  io_ = nullptr;
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)).value_or(SocketAddress{});
}

void set_tcp_options(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // tcp(7): a silent peer that is gone is noticed after kIdle + kCount * kInterval seconds. No
  // TCP_USER_TIMEOUT: it would also end a connection whose peer only pauses with a full window.
  constexpr int kIdle = 60, kInterval = 10, kCount = 6;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kIdle, sizeof(kIdle));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kInterval, sizeof(kInterval));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kCount, sizeof(kCount));
}

}  // namespace weft::proxy
