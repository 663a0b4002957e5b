// Accepts connections of one listening socket, hands out at most a few per turn, and backs off by a timer
// when descriptors run out. Closing it closes our descriptor without shutdown(): the listener lives on where
// it is also held.
#pragma once

#include "base/address.h"
#include "base/fd.h"
#include "userspace-proxy/net/event_loop.h"

namespace weft::proxy {

class Acceptor final : public ListenerIo::Sink {
 public:
  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void accepted(UniqueFd fd, const SocketAddress& peer) = 0;
    // Out of descriptors or memory. True: room was made, try again at once; false: after a while.
    virtual bool accept_failed(int error) = 0;
  };

  Acceptor(EventLoop& loop, UniqueFd listener, Receiver& receiver)
      : loop_(loop), listener_(std::move(listener)), receiver_(receiver) {}
  ~Acceptor() override;

  // False when the kernel refuses to watch the listener.
  bool start();
  void pause();
  void resume();
  // Pauses, and hands out what has left the listener's queue already: closing would end those connections.
  // What still waits there stays for whoever else holds the listener.
  void finish();
  // Accepts all that waits, before the listener is closed.
  void take_waiting();

  void connections_wait() override;

 private:
  static constexpr int kMaxPerTurn = 64;
  static constexpr int kMaxWaiting = 4096;  // somaxconn: no queue is longer
  static constexpr uint64_t kBackoffMs = 50;

  // Takes the answer of the listener: a descriptor or an error. False: nothing more to take now.
  bool take(int fd_or_error, const SocketAddress& peer);
  bool accept_one();
  void accept_some(int);
  void retry();

  EventLoop& loop_;
  UniqueFd listener_;  // until start()
  ListenerIo* io_ = nullptr;
  Receiver& receiver_;
  bool paused_ = false;
  Operation more_{this, method<&Acceptor::accept_some>};
  Timer backoff_{this, method<&Acceptor::retry>};
};

}  // namespace weft::proxy
