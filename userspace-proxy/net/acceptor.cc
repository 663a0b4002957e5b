// The accept loop of acceptor.h.
#include "userspace-proxy/net/acceptor.h"

#include <cerrno>

#include "userspace-proxy/net/system_calls.h"

namespace weft::proxy {

Acceptor::~Acceptor() {
  if (io_ != nullptr) io_->close();
}

bool Acceptor::start() {
  io_ = loop_.io().open_listener(std::move(listener_), *this);
  if (io_ == nullptr) return false;
  if (!paused_) io_->start();
  return true;
}

void Acceptor::pause() {
  paused_ = true;
  more_.cancel();
  backoff_.cancel();
  if (io_ != nullptr) io_->stop();
}

void Acceptor::resume() {
  if (!paused_) return;
  paused_ = false;
  if (io_ == nullptr) return;
  io_->start();
  loop_.next_turn(more_);
}

void Acceptor::finish() {
  pause();
  if (io_ == nullptr) return;
  SocketAddress peer;
  for (int fd = io_->taken(&peer); take(fd, peer); fd = io_->taken(&peer)) {
  }
  backoff_.cancel();
}

void Acceptor::connections_wait() {
  if (!paused_ && !backoff_.armed() && !more_.pending()) accept_some(0);
}

bool Acceptor::take(int fd_or_error, const SocketAddress& peer) {
  if (fd_or_error >= 0) {
    receiver_.accepted(UniqueFd(fd_or_error), peer);
    return true;
  }
  // accept(2): errors of the connection itself are to be skipped like EAGAIN, but more may be waiting.
  if (fd_or_error == -EINTR || fd_or_error == -ECONNABORTED || fd_or_error == -EPROTO) return true;
  if (fd_or_error == -EAGAIN) return false;
  if (!receiver_.accept_failed(-fd_or_error)) {
    loop_.arm(backoff_, kBackoffMs);
  } else if (!paused_) {
    io_->start();
    loop_.next_turn(more_);
  }
  return false;
}

bool Acceptor::accept_one() {
  SocketAddress peer;
  const int fd = io_->next(&peer);
  return take(fd, peer);
}

void Acceptor::accept_some(int) {
  for (int i = 0; i < kMaxPerTurn; ++i) {
    if (paused_ || !accept_one()) return;
  }
  loop_.next_turn(more_);
}

void Acceptor::retry() {
  io_->start();
  accept_some(0);
}

void Acceptor::take_waiting() {
  if (paused_ || io_ == nullptr) return;
  finish();
  SocketAddress peer;
  for (int i = 0; i < kMaxWaiting; ++i) {
    const int fd = accept_from(io_->fd(), &peer);
    if (!take(fd, peer)) break;
  }
  backoff_.cancel();
}

}  // namespace weft::proxy
