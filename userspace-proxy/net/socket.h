// One non-blocking TCP socket on a loop, with completion-style operations: each call either finishes at once
// (true, result in the operation) or parks the operation, which then runs from the loop. One recv and one
// send may be pending at a time. Knows no HTTP and no kernel interface: the loop's backend does the work.
// Worker thread only.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/address.h"
#include "base/fd.h"
#include "userspace-proxy/net/buffer.h"
#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/send_request.h"

namespace weft::proxy {

class Socket final {
 public:
  static constexpr size_t kMaxPieces = kMaxSendPieces;

  explicit Socket(EventLoop& loop) : loop_(loop) {}
  ~Socket() { close(); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Takes a connected descriptor (`writable`) or one about to connect. False when the kernel refuses to watch
  // it.
  bool open(UniqueFd fd, bool writable);
  bool is_open() const { return io_ != nullptr; }
  // For layers over the socket: what does the work now, and what does it from now on. Only while no operation
  // is pending. The new one closes the old one.
  SocketIo* io() { return io_; }
  void replace_io(SocketIo* io) { io_ = io; }
  // -1 when not open.
  int fd() const { return io_ == nullptr ? -1 : io_->fd(); }

  // Result 0 when connected.
  bool connect(Operation& operation, const SocketAddress& address);
  // Appends what arrived to `into`, which must have space or no bytes, and be of the loop's buffers: result
  // bytes, 0 at end of stream. The buffer takes a chunk only when there are bytes.
  bool recv(Operation& operation, InputBuffer& into);
  // Sends all pieces (at most kMaxPieces), whose bytes must stay where they are until done: result 0.
  bool send(Operation& operation, std::span<const iovec> pieces);
  // Takes a copy of the pieces, which goes out in this turn; nobody is told, and what is wrong the next call
  // on the socket says. False: they are too many bytes for that, or earlier ones are not sent yet; use
  // send(). A connection that is to be closed afterwards needs send() too: its end waits for the bytes.
  bool post(std::span<const iovec> pieces);
  // Posted bytes wait for room.
  bool unsent() const { return io_ != nullptr && io_->unsent(); }
  // Completes when the peer reset the connection (not at a normal end of stream).
  void watch_reset(Operation& operation);

  void shutdown_write();
  // Once open: whose the bytes are that come before recv() asks for them.
  void charge_to(Gauge& account) {
    if (io_ != nullptr) io_->charge_to(account);
  }
  void close();
  // Closes so that the peer cannot take it for an end: with RST instead of FIN.
  void reset();

 private:
  EventLoop& loop_;
  SocketIo* io_ = nullptr;
};

// The local address of a connection; for a captured one, the destination the client dialled.
SocketAddress local_address(int fd);
void set_tcp_options(int fd);

}  // namespace weft::proxy
