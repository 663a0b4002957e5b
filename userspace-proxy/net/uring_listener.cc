// The multishot accept of uring_listener.h.
#include "userspace-proxy/net/uring_listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weft::proxy {

void UringListener::accept() {
  state_ = State::kAccepting;
  io_uring_prep_multishot_accept(backend_.ring().request(this, kAccept), fd_.get(), nullptr, nullptr,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void UringListener::start() {
  if (state_ == State::kIdle) accept();
  if (state_ == State::kStopping) state_ = State::kRestarting;
}

void UringListener::stop() {
  if (state_ == State::kAccepting) backend_.ring().cancel(this, kAccept);
  if (state_ == State::kAccepting || state_ == State::kRestarting) state_ = State::kStopping;
}

int UringListener::taken(SocketAddress* peer) {
  if (next_accepted_ == accepted_.size()) return error_ == 0 ? -EAGAIN : std::exchange(error_, 0);
  const int fd = accepted_[next_accepted_++].release();
  if (next_accepted_ == accepted_.size()) {
    accepted_.clear();
    next_accepted_ = 0;
  }
  // A multishot accept does not say who it was.
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  *peer = {};
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0)
    *peer = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)).value_or(SocketAddress{});
  return fd;
}

void UringListener::close() {
  stop();
  accepted_.clear();
  if (state_ == State::kIdle) {
    fd_.reset();
    return backend_.free_later(*this);
  }
  state_ = State::kClosed;
  backend_.keep_closed(*this);
}

void UringListener::completed(unsigned, const io_uring_cqe& cqe) {
  if (cqe.res >= 0) {
    accepted_.emplace_back(cqe.res);
  } else if (cqe.res != -ECANCELED) {
    error_ = cqe.res;
  }
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
    if (state_ == State::kClosed) return backend_.free_later(*this);
    // After an error the acceptor starts again, when it thinks fit.
    const bool go_on = state_ == State::kRestarting || (state_ == State::kAccepting && cqe.res >= 0);
    state_ = State::kIdle;
    if (go_on) accept();
  }
  if (state_ != State::kClosed) backend_.settle_later(*this);
}

void UringListener::settle() { sink_.connections_wait(); }

void UringListener::flush() {}

}  // namespace weft::proxy
