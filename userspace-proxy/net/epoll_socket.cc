// EpollSocket of epoll_socket.h: try, else remember and go on when the kernel says so.
#include "userspace-proxy/net/epoll_socket.h"

#include <sys/socket.h>

#include <cerrno>

#include "userspace-proxy/net/system_calls.h"

namespace weft::proxy {
namespace {

size_t size_of(std::span<const iovec> pieces) {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

}  // namespace

bool EpollSocket::connect(Operation& operation, const SocketAddress& address) {
  const int result = begin_connect(fd_.get(), address);
  if (result != -EINPROGRESS) {
    writable_ = result == 0;
    operation.result = result;
    return true;
  }
  connecting_ = true;
  writable_ = false;
  operation.park(&send_operation_);
  return false;
}

bool EpollSocket::recv(Operation& operation, InputBuffer& into) {
  if (readable_ && try_recv(operation, into)) return true;
  recv_into_ = &into;
  operation.park(&recv_operation_);
  return false;
}

bool EpollSocket::try_recv(Operation& operation, InputBuffer& into) {
  const std::span<char> space = into.space();
  const ssize_t count = receive(fd_.get(), space);
  if (count > 0) {
    into.commit(static_cast<size_t>(count));
    // A short read emptied the queue; the next bytes raise a new edge. A FIN that already came raises none.
    if (static_cast<size_t>(count) < space.size() && !peer_closed_ && !has_two_queues()) readable_ = false;
    operation.result = static_cast<int>(count);
    return true;
  }
  into.trim();
  if (count == -EAGAIN) {
    readable_ = false;
    return false;
  }
  operation.result = static_cast<int>(count);
  return true;
}

bool EpollSocket::has_two_queues() {
  if (queues_ == Queues::kUnknown) queues_ = takes_shortcut(fd_.get()) ? Queues::kTwo : Queues::kOne;
  return queues_ == Queues::kTwo;
}

bool EpollSocket::send(Operation& operation, std::span<const iovec> pieces) {
  drop_request();
  size_t sent = 0;
  if (writable_ && try_send(operation, pieces, &sent)) return true;
  request_ = backend_.requests().take(pieces);
  request_->sent(sent);
  operation.park(&send_operation_);
  return false;
}

bool EpollSocket::try_send(Operation& operation, std::span<const iovec> pieces, size_t* sent) {
  ssize_t count = transmit(fd_.get(), pieces);
  if (may_be_put_off(static_cast<int>(count)) && has_two_queues()) count = kNotNow;
  if (count < 0 && count != -EAGAIN && count != kNotNow) {
    operation.result = static_cast<int>(count);
    return true;
  }
  *sent = count > 0 ? static_cast<size_t>(count) : 0;
  if (*sent == size_of(pieces)) {
    operation.result = 0;
    return true;
  }
  // A short write filled the queue: room raises a new edge. But where bytes go past TCP the rest may have
  // been put off, and no edge comes.
  writable_ = false;
  if (count > 0) succeeded();
  if (count == kNotNow || (count > 0 && has_two_queues())) backend_.retries().later(*this);
  return false;
}

void EpollSocket::go_on_sending() {
  size_t sent = 0;
  const bool done = try_send(*send_operation_, request_->left(), &sent);
  if (!done) {
    request_->sent(sent);
    return;
  }
  complete_send();
}

void EpollSocket::complete_send() {
  succeeded();
  drop_request();
  backend_.complete(send_operation_);
}

// With a byte, as the kernel copies all that it is given before it puts it off.
void EpollSocket::retry() {
  writable_ = true;
  if (send_operation_ == nullptr || request_ == nullptr) return;
  const iovec byte = request_->first_byte();
  size_t sent = 0;
  if (!try_send(*send_operation_, std::span(&byte, 1), &sent)) return;
  if (send_operation_->result == 0 && !request_->sent(1)) return go_on_sending();
  complete_send();
}

void EpollSocket::drop_request() {
  if (request_ != nullptr) backend_.requests().give(request_);
  request_ = nullptr;
}

void EpollSocket::finish_connect() {
  const int error = take_error(fd_.get());
  connecting_ = false;
  writable_ = error == 0;
  if (send_operation_ == nullptr) return;
  send_operation_->result = error;
  backend_.complete(send_operation_);
}

void EpollSocket::on_events(uint32_t events) {
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
    backend_.complete(recv_operation_);
  if (send_operation_ != nullptr && request_ != nullptr && writable_) go_on_sending();
  if (reset_operation_ != nullptr && (events & EPOLLERR) != 0) {
    reset_operation_->result = -ECONNRESET;
    backend_.complete(reset_operation_);
  }
}

void EpollSocket::shutdown_write() { ::shutdown(fd_.get(), SHUT_WR); }

void EpollSocket::close() {
  for (Operation* operation : {recv_operation_, send_operation_, reset_operation_}) {
    if (operation != nullptr) operation->cancel();
  }
  drop_request();
  give_up();
  fd_.reset();
  backend_.retire(*this);
}

}  // namespace weft::proxy
