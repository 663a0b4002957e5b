// Accepts connections of one listening socket, at most a few per turn, and backs off by a timer when
// descriptors run out. Closing it closes our descriptor without shutdown(): the listener lives on where it is
// also held.
#pragma once

#include "base/address.h"
#include "base/fd.h"
#include "userspace-proxy/net/event_loop.h"

namespace weft::proxy {

class Acceptor final : public EventSource {
 public:
  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void accepted(UniqueFd fd, const SocketAddress& peer) = 0;
    // Out of descriptors or memory; the acceptor tries again by itself.
    virtual void accept_failed(int error) = 0;
  };

  Acceptor(EventLoop& loop, UniqueFd listener, Receiver& receiver)
      : loop_(loop), listener_(std::move(listener)), receiver_(receiver) {}
  ~Acceptor() override;

  // False when the kernel refuses to watch the listener.
  bool start();
  void pause();
  void resume();
  // Accepts all that waits, before the listener is closed.
  void take_waiting();

  void on_events(uint32_t events) override;

 private:
  static constexpr int kMaxPerTurn = 64;
  static constexpr int kMaxWaiting = 4096;  // somaxconn: no queue is longer
  static constexpr uint64_t kBackoffMs = 50;

  // False: nothing more to take now.
  bool accept_one();
  void accept_some(int);
  void retry() { accept_some(0); }

  EventLoop& loop_;
  UniqueFd listener_;
  Receiver& receiver_;
  bool paused_ = false;
  Operation more_{this, method<&Acceptor::accept_some>};
  Timer backoff_{this, method<&Acceptor::retry>};
};

}  // namespace weft::proxy
