// UringSocket of uring_socket.h. Completions only note what happened; settle() then serves whoever waits with
// all of it, and flush() queues what the kernel is to do next.
#include "userspace-proxy/net/uring_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "userspace-proxy/net/system_calls.h"

namespace weft::proxy {

UringSocket::~UringSocket() {
  drop_request();
  if (leftover_ != nullptr) backend_.buffers().give(leftover_);
  drop_waiting();
}

void UringSocket::drop_waiting() {
  while (Chunk* chunk = waiting_) {
    waiting_ = chunk->next;
    backend_.buffers().give(chunk);
  }
  waiting_bytes_ = 0;
}

void UringSocket::close() {
  give_up();
  // Closing after a send, without waiting for it, sends what there is room for, as with any other socket.
  send_at_once();
  for (Operation* operation : {recv_operation_, send_operation_, reset_operation_}) {
    if (operation != nullptr) operation->cancel();
  }
  drop_waiting();
  closed_ = true;
  if (requested_ == 0) {
    fd_.reset();
    return backend_.free_later(*this);
  }
  // The requests hold the connection open until they have completed.
  for (unsigned tag = 0; tag < kTags; ++tag) {
    if (tag != kPost && requested(static_cast<Tag>(tag))) backend_.ring().cancel(this, tag);
  }
  backend_.keep_closed(*this);
}

void UringSocket::shutdown_write() {
  send_at_once();
  ::shutdown(fd_.get(), SHUT_WR);
}

void UringSocket::completed(unsigned tag, const io_uring_cqe& cqe) {
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) requested_ &= uint8_t(~(1u << tag));
  switch (static_cast<Tag>(tag)) {
    case kReceive:
      received(cqe);
      break;
    case kSend:
      if (!closed_) sent(cqe.res);
      break;
    case kConnect:
      if (!closed_) connected(cqe.res);
      break;
    case kReadable:
      if (receiving_ == Receiving::kPolling) receiving_ = Receiving::kUnarmed;
      break;
    case kStatus:
      if (!closed_) status_changed(cqe.res);
      break;
    case kPost:
      // post_settled() comes after this.
      note_request(kPost);
      if (!closed_) post_failed(cqe.res);
      break;
  }
  if (!closed_) return backend_.settle_later(*this);
  if (requested_ == 0) backend_.free_later(*this);
}

void UringSocket::received(const io_uring_cqe& cqe) {
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    Chunk* chunk = backend_.ring().take_chunk(cqe);
    if (closed_ || chunk->end == 0) {
      backend_.buffers().give(chunk);
    } else {
      BufferPool::charge(chunk, account_);
      (waiting_ == nullptr ? waiting_ : last_waiting_->next) = chunk;
      last_waiting_ = chunk;
      waiting_bytes_ += chunk->end;
    }
  }
  if ((cqe.flags & IORING_CQE_F_MORE) != 0) return;
  receiving_ = Receiving::kUnarmed;
  // Out of provided buffers (ENOBUFS), stopped (ECANCELED) or out of completions (a positive result): goes on
  // when somebody wants bytes.
  if (cqe.res > 0 || cqe.res == -ENOBUFS || cqe.res == -ECANCELED || cqe.res == -EINTR) return;
  end_receiving(cqe.res);
}

void UringSocket::end_receiving(int result) {
  receiving_ = Receiving::kEnded;
  end_ = result;
  if (result < 0) report_reset();
}

void UringSocket::report_reset() {
  if (reset_operation_ == nullptr) return;
  reset_operation_->result = -ECONNRESET;
  backend_.complete(reset_operation_);
}

bool UringSocket::recv(Operation& operation, InputBuffer& into) {
  if (waiting_ != nullptr) {
    deliver(operation, into);
    return true;
  }
  if (receiving_ == Receiving::kEnded) {
    operation.result = end_;
    return true;
  }
  if (receiving_ == Receiving::kUnarmed && arm(operation, into)) return true;
  recv_into_ = &into;
  operation.park(&recv_operation_);
  return false;
}

bool UringSocket::arm(Operation& operation, InputBuffer& into) {
  if (into.in_bulk()) {
    if (read(operation, into)) return true;
    receiving_ = Receiving::kPolling;
    note_request(kReadable);
    backend_.ring().poll_once(fd_.get(), POLLIN | POLLRDHUP, this, kReadable);
    return false;
  }
  receiving_ = Receiving::kMultishot;
  note_request(kReceive);
  backend_.ring().receive(fd_.get(), this, kReceive);
  return false;
}

bool UringSocket::read(Operation& operation, InputBuffer& into) {
  const std::span<char> space = into.space();
  const ssize_t count = receive(fd_.get(), space);
  if (count > 0) {
    into.commit(static_cast<size_t>(count));
  } else {
    into.trim();
    if (count == -EAGAIN) return false;
    end_receiving(static_cast<int>(count));
  }
  operation.result = static_cast<int>(count);
  return true;
}

void UringSocket::stop_multishot() {
  if (receiving_ != Receiving::kMultishot) return;
  receiving_ = Receiving::kStopping;
  backend_.ring().cancel(this, kReceive);
}

// One chunk changes hands; several become one, so that the stream goes on in larger steps.
void UringSocket::deliver(Operation& operation, InputBuffer& into) {
  if (waiting_->next == nullptr && into.empty()) {
    operation.result = static_cast<int>(waiting_bytes_);
    into.adopt(waiting_);
    waiting_ = nullptr;
    waiting_bytes_ = 0;
    return;
  }
  size_t copied = 0;
  while (waiting_ != nullptr) {
    const size_t wanted = waiting_->end - waiting_->begin;
    const size_t count = into.append(waiting_->unread(), waiting_bytes_);
    copied += count;
    waiting_bytes_ -= static_cast<uint32_t>(count);
    waiting_->begin += static_cast<uint32_t>(count);
    if (count < wanted) break;
    Chunk* empty = waiting_;
    waiting_ = empty->next;
    backend_.buffers().give(empty);
  }
  operation.result = static_cast<int>(copied);
}

void UringSocket::settle() {
  settle_receiving();
  backend_.flush_later(*this);
}

void UringSocket::settle_receiving() {
  const bool flood = waiting_bytes_ > kMaxWaiting;
  if (recv_operation_ != nullptr) {
    if (waiting_ != nullptr) {
      deliver(*recv_operation_, *recv_into_);
    } else if (receiving_ == Receiving::kEnded) {
      recv_operation_->result = end_;
    } else if (receiving_ != Receiving::kUnarmed || !arm(*recv_operation_, *recv_into_)) {
      return;
    }
    backend_.complete(recv_operation_);
  }
  if (flood) stop_multishot();
}

void UringSocket::watch_reset(Operation& operation) {
  operation.park(&reset_operation_);
  backend_.flush_later(*this);
}

void UringSocket::flush() {
  if (closed_) return;
  if (sending_ == Sending::kPosted) submit_post();
  if (sending_ == Sending::kQueued) submit_send();
  // A multishot receive tells about resets by itself.
  const bool told = receiving_ == Receiving::kMultishot || end_ < 0 || requested(kConnect);
  if (reset_operation_ != nullptr && !told) watch_status();
}

// Of both directions at once, and for good: the kernel reports changes only, so it costs nothing to keep.
void UringSocket::watch_status() {
  if (requested(kStatus)) return;
  note_request(kStatus);
  backend_.ring().poll_changes(fd_.get(), POLLOUT | POLLERR, this, kStatus);
}

void UringSocket::status_changed(int events) {
  if (events < 0) return;
  if ((events & POLLERR) != 0) report_reset();
  // A send says what is wrong, when something is.
  if (sending_ == Sending::kNoRoom && (events & (POLLOUT | POLLERR | POLLHUP)) != 0) queue_send();
}

bool UringSocket::send(Operation& operation, std::span<const iovec> pieces) {
  drop_request();
  if (sending_ == Sending::kPosted) send_at_once();
  request_ = backend_.requests().take(pieces);
  operation.park(&send_operation_);
  // What is left over goes first, and is under way when nothing is queued.
  if (sending_ == Sending::kNothing && leftover_ == nullptr) queue_send();
  return false;
}

void UringSocket::queue_send() {
  sending_ = Sending::kQueued;
  backend_.flush_later(*this);
}

bool UringSocket::post(std::span<const iovec> pieces) {
  if (sending_ != Sending::kNothing || request_ != nullptr || leftover_ != nullptr || requested(kPost))
    return false;
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  if (bytes == 0 || bytes > kMaxPost) return false;
  posted_ = backend_.ring().borrow(bytes);
  if (posted_ == nullptr) return false;
  posted_bytes_ = static_cast<uint32_t>(bytes);
  char* to = posted_;
  for (const iovec& piece : pieces) to = std::copy_n(static_cast<char*>(piece.iov_base), piece.iov_len, to);
  sending_ = Sending::kPosted;
  backend_.flush_later(*this);
  return true;
}

// MSG_WAITALL with MSG_DONTWAIT: what finds no room for all of it is a failure with a count, and only
// failures complete.
void UringSocket::submit_post() {
  sending_ = Sending::kNothing;
  io_uring_sqe* sqe = backend_.ring().request(this, kPost);
  io_uring_prep_send(sqe, fd_.get(), posted_, posted_bytes_, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
  io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
  note_request(kPost);
  backend_.posted(*this);
}

void UringSocket::post_failed(int result) {
  result = put_off_or(result);
  // Anything else the next call says, and the receiving side.
  if (result < 0 && result != -EAGAIN && result != -EINTR && result != kNotNow) return;
  keep_leftover(static_cast<size_t>(std::max(result, 0)));
  if (leftover_ != nullptr) wait_for_room(result);
}

void UringSocket::post_settled() {
  requested_ &= uint8_t(~(1u << kPost));
  if (closed_ && requested_ == 0) backend_.free_later(*this);
}

void UringSocket::keep_leftover(size_t sent) {
  if (sent >= posted_bytes_) return;
  leftover_ = backend_.buffers().take(ChunkSize::kSmall);
  std::copy_n(posted_ + sent, posted_bytes_ - sent, leftover_->bytes);
  leftover_->end = static_cast<uint32_t>(posted_bytes_ - sent);
}

int UringSocket::put_off_or(int result) const {
  return may_be_put_off(result) && takes_shortcut(fd_.get()) ? kNotNow : result;
}

// In our own socket, or of the peer to read first: the kernel tells about the former only, and of what was
// sent in part not which of both it is.
void UringSocket::wait_for_room(int result) {
  if (std::exchange(probing_, false) && result > 0) return queue_send();
  sending_ = Sending::kNoRoom;
  if (result > 0) succeeded();
  if (result == kNotNow || (result > 0 && takes_shortcut(fd_.get()))) return backend_.retries().later(*this);
  watch_status();
}

// With a byte, as the kernel copies all that it is given before it puts it off.
void UringSocket::retry() {
  if (closed_ || sending_ != Sending::kNoRoom) return;
  probing_ = true;
  queue_send();
}

// True: it is gone, and what was to follow may.
bool UringSocket::leftover_sent(int result) {
  const bool retry = result == -EAGAIN || result == -EINTR || result == kNotNow;
  if (result >= 0) leftover_->begin += static_cast<uint32_t>(result);
  if (retry || (result >= 0 && leftover_->begin < leftover_->end)) {
    wait_for_room(result);
    return false;
  }
  backend_.buffers().give(leftover_);
  leftover_ = nullptr;
  probing_ = false;
  succeeded();
  return true;
}

// Completes before the submission returns, so nothing can happen to the pieces in between.
void UringSocket::submit_send() {
  sending_ = Sending::kNothing;
  if (leftover_ != nullptr) {
    const std::string_view bytes = leftover_->unread();
    io_uring_prep_send(backend_.ring().request(this, kSend), fd_.get(), bytes.data(),
                       probing_ ? 1 : bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return note_request(kSend);
  }
  if (send_operation_ == nullptr) return drop_request();
  if (probing_) {
    const iovec byte = request_->first_byte();
    io_uring_prep_send(backend_.ring().request(this, kSend), fd_.get(), byte.iov_base, byte.iov_len,
                       MSG_NOSIGNAL | MSG_DONTWAIT);
    return note_request(kSend);
  }
  request_->message.msg_iov = &request_->pieces[request_->first];
  request_->message.msg_iovlen = request_->count;
  io_uring_prep_sendmsg(backend_.ring().request(this, kSend), fd_.get(), &request_->message,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
  note_request(kSend);
}

void UringSocket::sent(int result) {
  result = put_off_or(result);
  if (leftover_ != nullptr) {
    if (leftover_sent(result) && request_ != nullptr) queue_send();
    return;
  }
  if (request_ == nullptr) return;
  const bool retry = result == -EAGAIN || result == -EINTR || result == kNotNow;
  if (retry || (result >= 0 && !request_->sent(static_cast<size_t>(result)))) return wait_for_room(result);
  probing_ = false;
  succeeded();
  drop_request();
  if (send_operation_ == nullptr) return;
  send_operation_->result = std::min(result, 0);
  backend_.complete(send_operation_);
}

// What is queued, before the connection ends or another send follows in the same turn.
void UringSocket::send_at_once() {
  if (sending_ == Sending::kPosted) {
    const iovec piece{posted_, posted_bytes_};
    const ssize_t count = transmit(fd_.get(), std::span(&piece, 1));
    sending_ = Sending::kNothing;
    post_failed(static_cast<int>(count));
  } else if (sending_ == Sending::kQueued && leftover_ == nullptr && send_operation_ != nullptr) {
    transmit(fd_.get(), request_->left());
    sending_ = Sending::kNothing;
    drop_request();
  }
}

void UringSocket::drop_request() {
  if (request_ != nullptr) backend_.requests().give(request_);
  request_ = nullptr;
}

bool UringSocket::connect(Operation& operation, const SocketAddress& address) {
  connect_to_ = std::make_unique<sockaddr_storage>();
  const socklen_t length = address.to_sockaddr(connect_to_.get());
  io_uring_prep_connect(backend_.ring().request(this, kConnect), fd_.get(),
                        reinterpret_cast<sockaddr*>(connect_to_.get()), length);
  note_request(kConnect);
  operation.park(&send_operation_);
  return false;
}

void UringSocket::connected(int result) {
  connect_to_.reset();
  if (send_operation_ == nullptr) return;
  send_operation_->result = result;
  backend_.complete(send_operation_);
}

}  // namespace weft::proxy
