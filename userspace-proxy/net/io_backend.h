// How the loop talks to the kernel: one interface, two backends (epoll_backend.h, uring_backend.h). A backend
// waits, then completes operations by putting them on the loop's list; it never runs them. Socket and
// Acceptor are the faces of its sockets and listeners. Worker thread only, but for wake().
#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/fd.h"
#include "userspace-proxy/net/buffer.h"
#include "userspace-proxy/net/io_kind.h"
#include "userspace-proxy/net/operation.h"

namespace weft::proxy {

// One TCP socket inside a backend, or a layer over one; the calls are those of Socket.
class SocketIo {
 public:
  virtual int fd() const { return fd_.get(); }

  virtual bool connect(Operation& operation, const SocketAddress& address) = 0;
  virtual bool recv(Operation& operation, InputBuffer& into) = 0;
  virtual bool send(Operation& operation, std::span<const iovec> pieces) = 0;
  virtual bool post(std::span<const iovec> pieces) = 0;
  virtual bool unsent() const = 0;
  virtual void watch_reset(Operation& operation) = 0;
  virtual void shutdown_write() = 0;
  // What it receives ahead of recv() is charged to `account`, which stays until close().
  virtual void charge_to(Gauge&) {}
  // Cancels what is pending and closes; the object frees itself when the kernel is done with it.
  virtual void close() = 0;
  // The same, but the peer learns that this is no end: what it was told before may be a part only.
  virtual void reset();

 protected:
  explicit SocketIo(UniqueFd fd) : fd_(std::move(fd)) {}
  virtual ~SocketIo() = default;
  SocketIo(const SocketIo&) = delete;
  SocketIo& operator=(const SocketIo&) = delete;

  UniqueFd fd_;
};

// One listening socket inside a backend.
class ListenerIo {
 public:
  class Sink {
   public:
    virtual ~Sink() = default;
    // next() has something: a connection or an error. Must not close the listener.
    virtual void connections_wait() = 0;
  };

  int fd() const { return fd_.get(); }

  // From now on the sink is told. Also after an error, to go on.
  virtual void start() = 0;
  // No further connection leaves the kernel's queue; those that have are still to be taken with taken().
  virtual void stop() = 0;
  // A connection's descriptor, or a negative errno; -EAGAIN: none now.
  virtual int next(SocketAddress* peer) = 0;
  // The same, but only of connections that have left the kernel's queue already.
  virtual int taken(SocketAddress* peer) = 0;
  // Closes our descriptor; the listener lives on where it is also held.
  virtual void close() = 0;

 protected:
  explicit ListenerIo(UniqueFd fd) : fd_(std::move(fd)) {}
  virtual ~ListenerIo() = default;
  ListenerIo(const ListenerIo&) = delete;
  ListenerIo& operator=(const ListenerIo&) = delete;

  UniqueFd fd_;
};

class IoBackend {
 public:
  // Completed operations go to the end of `completed`, received bytes into chunks of `buffers`; both outlive
  // the backend.
  static absl::StatusOr<std::unique_ptr<IoBackend>> open(IoKind kind, IntrusiveList<Operation>& completed,
                                                         BufferPool& buffers);
  virtual ~IoBackend() = default;

  virtual IoKind kind() const = 0;
  // Gives the kernel what was asked for since the last wait, and waits until something happened or
  // `max_wait_ms` have passed (-1: no limit). `in_flight`: exchanges that wait for an answer, or
  // kUnknownInFlight.
  virtual void wait(int max_wait_ms, uint64_t in_flight) = 0;
  // Gives the kernel what it can do at once of that; a backend that keeps nothing back has no such.
  virtual void send_out() {}
  // Completes what happened.
  virtual void dispatch() = 0;
  // Ends a wait that is under way or else the next one. Any thread.
  virtual void wake() = 0;

  // Null when the kernel refuses to watch it (errno is set).
  virtual SocketIo* open_socket(UniqueFd fd, bool writable) = 0;
  virtual ListenerIo* open_listener(UniqueFd fd, ListenerIo::Sink& sink) = 0;
};

}  // namespace weft::proxy
