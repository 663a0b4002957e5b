// The accept loop of acceptor.h.
#include "userspace-proxy/net/acceptor.h"

#include <sys/socket.h>

#include <cerrno>

namespace weft::proxy {

Acceptor::~Acceptor() {
  if (listener_.valid()) loop_.forget(listener_.get(), *this);
}

bool Acceptor::start() { return loop_.watch(listener_.get(), *this, EPOLLIN); }

void Acceptor::pause() {
  paused_ = true;
  more_.cancel();
  backoff_.cancel();
}

void Acceptor::resume() {
  if (!paused_) return;
  paused_ = false;
  loop_.next_turn(more_);
}

void Acceptor::on_events(uint32_t) {
  if (!paused_ && !backoff_.armed() && !more_.pending()) accept_some(0);
}

bool Acceptor::accept_one() {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  UniqueFd fd(
      accept4(listener_.get(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    // accept(2): errors of the connection itself are to be skipped like EAGAIN, but more may be waiting.
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) return true;
    if (errno == EAGAIN) return false;
    receiver_.accept_failed(errno);
    loop_.arm(backoff_, kBackoffMs);
    return false;
  }
  const auto peer = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
  receiver_.accepted(std::move(fd), peer.value_or(SocketAddress{}));
  return true;
}

void Acceptor::accept_some(int) {
  for (int i = 0; i < kMaxPerTurn; ++i) {
    if (paused_ || !accept_one()) return;
  }
  loop_.next_turn(more_);
}

void Acceptor::take_waiting() {
  for (int i = 0; i < kMaxWaiting; ++i) {
    if (paused_ || !accept_one()) return;
  }
}

}  // namespace weft::proxy
