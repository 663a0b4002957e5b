// Socket on edge-triggered epoll: readiness is remembered in flags, so a call makes a system call only when
// it may succeed.
#include "userspace-proxy/net/socket.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace weft::proxy {

bool Socket::open(UniqueFd fd, bool writable) {
  close();
  fd_ = std::move(fd);
  readable_ = peer_closed_ = connecting_ = false;
  writable_ = writable;
  if (loop_.watch(fd_.get(), *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP)) return true;
  fd_.reset();
  return false;
}

bool Socket::connect(Operation& operation, const SocketAddress& address) {
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(&storage);
  int result = 0;
  do {
    result = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), length);
  } while (result != 0 && errno == EINTR);
  if (result == 0) {
    writable_ = true;
    operation.result = 0;
    return true;
  }
  if (errno != EINPROGRESS) {
    operation.result = -errno;
    return true;
  }
  connecting_ = true;
  writable_ = false;
  operation.park(&send_operation_);
  return false;
}

bool Socket::recv(Operation& operation, InputBuffer& into) {
  if (!fd_.valid()) {
    operation.result = -ECONNRESET;
    return true;
  }
  if (readable_ && try_recv(operation, into)) return true;
  recv_into_ = &into;
  operation.park(&recv_operation_);
  return false;
}

bool Socket::try_recv(Operation& operation, InputBuffer& into) {
  const std::span<char> space = into.space();
  ssize_t count = 0;
  do {
    count = ::recv(fd_.get(), space.data(), space.size(), 0);
  } while (count < 0 && errno == EINTR);
  const int error = errno;
  if (count > 0) {
    into.commit(static_cast<size_t>(count));
    // A short read emptied the queue; the next bytes raise a new edge. A FIN that already came raises none.
    if (static_cast<size_t>(count) < space.size() && !peer_closed_) readable_ = false;
    operation.result = static_cast<int>(count);
    return true;
  }
  into.trim();
  if (count < 0 && error == EAGAIN) {
    readable_ = false;
    return false;
  }
  operation.result = count == 0 ? 0 : -error;
  return true;
}

bool Socket::send(Operation& operation, std::span<const iovec> pieces) {
  if (!fd_.valid()) {
    operation.result = -EPIPE;
    return true;
  }
  piece_next_ = 0;
  piece_count_ = static_cast<uint32_t>(std::min(pieces.size(), kMaxPieces));
  std::copy_n(pieces.begin(), piece_count_, pieces_.begin());
  if (writable_ && try_send(operation)) return true;
  operation.park(&send_operation_);
  return false;
}

bool Socket::try_send(Operation& operation) {
  while (piece_next_ < piece_count_) {
    msghdr message{};
    message.msg_iov = &pieces_[piece_next_];
    message.msg_iovlen = piece_count_ - piece_next_;
    const ssize_t count = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      writable_ = false;
      return false;
    }
    if (count < 0) {
      operation.result = -errno;
      return true;
    }
    size_t left = static_cast<size_t>(count);
    while (piece_next_ < piece_count_ && left >= pieces_[piece_next_].iov_len) {
      left -= pieces_[piece_next_++].iov_len;
    }
    if (left > 0) {
      pieces_[piece_next_].iov_base = static_cast<char*>(pieces_[piece_next_].iov_base) + left;
      pieces_[piece_next_].iov_len -= left;
    }
  }
  operation.result = 0;
  return true;
}

void Socket::watch_reset(Operation& operation) { operation.park(&reset_operation_); }

void Socket::complete(Operation** slot) {
  Operation* operation = *slot;
  operation->unpark();
  loop_.soon(*operation);
}

void Socket::finish_connect() {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  connecting_ = false;
  writable_ = error == 0;
  if (send_operation_ == nullptr) return;
  send_operation_->result = -error;
  complete(&send_operation_);
}

void Socket::on_events(uint32_t events) {
  if (connecting_) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) finish_connect();
    if ((events & EPOLLIN) != 0) readable_ = true;
    if ((events & EPOLLRDHUP) != 0) readable_ = peer_closed_ = true;
    return;
  }
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) readable_ = writable_ = peer_closed_ = true;
  if ((events & EPOLLRDHUP) != 0) readable_ = peer_closed_ = true;
  if ((events & EPOLLIN) != 0) readable_ = true;
  if ((events & EPOLLOUT) != 0) writable_ = true;
  if (recv_operation_ != nullptr && readable_ && try_recv(*recv_operation_, *recv_into_))
    complete(&recv_operation_);
  if (send_operation_ != nullptr && writable_ && try_send(*send_operation_)) complete(&send_operation_);
  if (reset_operation_ != nullptr && (events & EPOLLERR) != 0) {
    reset_operation_->result = -ECONNRESET;
    complete(&reset_operation_);
  }
}

void Socket::shutdown_write() {
  if (fd_.valid()) ::shutdown(fd_.get(), SHUT_WR);
}

void Socket::drop_operations() {
  for (Operation* operation : {recv_operation_, send_operation_, reset_operation_}) {
    if (operation != nullptr) operation->cancel();
  }
}

void Socket::close() {
  if (!fd_.valid()) return;
  drop_operations();
  loop_.forget(fd_.get(), *this);
  fd_.reset();
}

void Socket::reset() {
  if (!fd_.valid()) return;
  const linger option{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  close();
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
