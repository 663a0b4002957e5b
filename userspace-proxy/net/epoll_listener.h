// A listening socket of the epoll backend: accepts one connection per call, when it is asked.
#pragma once

#include <cerrno>

#include "userspace-proxy/net/epoll_backend.h"
#include "userspace-proxy/net/system_calls.h"

namespace weft::proxy {

class EpollListener final : public ListenerIo, public EpollWatched {
 public:
  EpollListener(EpollBackend& backend, UniqueFd fd, Sink& sink)
      : ListenerIo(std::move(fd)), backend_(backend), sink_(sink) {}

  // The registration is the backend's; whoever paused does not ask.
  void start() override {}
  void stop() override {}
  int next(SocketAddress* peer) override { return accept_from(fd_.get(), peer); }
  int taken(SocketAddress*) override { return -EAGAIN; }
  void close() override {
    backend_.unwatch(fd_.get());
    fd_.reset();
    backend_.retire(*this);
  }

  void on_events(uint32_t) override { sink_.connections_wait(); }

 private:
  EpollBackend& backend_;
  Sink& sink_;
};

}  // namespace weft::proxy
