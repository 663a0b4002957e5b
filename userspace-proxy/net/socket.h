// One non-blocking TCP socket on a loop, with completion-style operations: each call either finishes at once
// (true, result in the operation) or parks the operation, which then runs from the loop. One recv and one
// send may be pending at a time. Knows no HTTP. Worker thread only.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/fd.h"
#include "userspace-proxy/net/buffer.h"
#include "userspace-proxy/net/event_loop.h"

namespace weft::proxy {

class Socket final : public EventSource {
 public:
  static constexpr size_t kMaxPieces = 40;

  explicit Socket(EventLoop& loop) : loop_(loop) {}
  ~Socket() override { close(); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Takes a connected descriptor (`writable`) or one about to connect. False when the kernel refuses to watch
  // it.
  bool open(UniqueFd fd, bool writable);
  bool is_open() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }

  // Result 0 when connected.
  bool connect(Operation& operation, const SocketAddress& address);
  // Appends what arrived to `into`, which must have space or no bytes: result bytes, 0 at end of stream. The
  // buffer takes a chunk only when there are bytes.
  bool recv(Operation& operation, InputBuffer& into);
  // Sends all pieces, which must stay where they are until done: result 0.
  bool send(Operation& operation, std::span<const iovec> pieces);
  // Completes when the peer reset the connection (not at a normal end of stream).
  void watch_reset(Operation& operation);

  void shutdown_write();
  void close();
  // Closes with RST instead of FIN (SO_LINGER 0, socket(7)).
  void reset();

  void on_events(uint32_t events) override;

 private:
  bool try_recv(Operation& operation, InputBuffer& into);
  bool try_send(Operation& operation);
  void finish_connect();
  void complete(Operation** slot);
  void drop_operations();

  EventLoop& loop_;
  UniqueFd fd_;
  bool readable_ = false;
  bool writable_ = false;
  bool peer_closed_ = false;  // FIN or RST seen: a short read does not mean that nothing more is to be read
  bool connecting_ = false;
  Operation* recv_operation_ = nullptr;
  Operation* send_operation_ = nullptr;
  Operation* reset_operation_ = nullptr;
  InputBuffer* recv_into_ = nullptr;
  std::array<iovec, kMaxPieces> pieces_;
  uint32_t piece_next_ = 0;
  uint32_t piece_count_ = 0;
};

// The local address of a connection; for a captured one, the destination the client dialled.
SocketAddress local_address(int fd);
void set_tcp_options(int fd);

}  // namespace weft::proxy
