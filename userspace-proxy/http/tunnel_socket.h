// A stream of an HTTP/2 connection that CONNECT opened, as a socket: what its owner sends and receives are
// DATA frames, a FIN is END_STREAM, and the other way round (RFC 9113 §8.5). Of either side; who made it
// handles the heads and then gives it to a Socket, which frees it by closing. Worker thread only.
#pragma once

#include <vector>

#include "userspace-proxy/http/http2_transport.h"
#include "userspace-proxy/http/payload_queue.h"
#include "userspace-proxy/net/io_backend.h"

namespace weft::proxy {

class TunnelSocket;

// What a tunnel has carried so far. Whoever goes first, this or the socket that counts, tells the other.
class TunnelTraffic {
 public:
  TunnelTraffic() = default;
  TunnelTraffic(const TunnelTraffic&) = delete;
  TunnelTraffic& operator=(const TunnelTraffic&) = delete;
  ~TunnelTraffic();

  uint64_t received = 0;
  uint64_t sent = 0;  // and accepted by the connection

 private:
  friend class TunnelSocket;
  TunnelSocket* counting_ = nullptr;
};

class TunnelSocket final : public SocketIo, public Http2Stream {
 public:
  // The connection that the stream is of.
  class Host {
   public:
    virtual ~Host() = default;
    // The request (of a server) or a response; later heads of the same stream are not told.
    virtual void tunnel_head(TunnelSocket& tunnel, FieldBlock& block, bool last) = 0;
    // The stream ended while nobody's Socket had it yet.
    virtual void tunnel_lost(TunnelSocket& tunnel, Http2StreamEnd end) = 0;
    // About to be freed.
    virtual void tunnel_freed(TunnelSocket& tunnel) = 0;
  };

  // All outlive it. What it holds for a slow reader is charged to `account`.
  TunnelSocket(Http2Transport& transport, Host& host, Gauge& account)
      : SocketIo(UniqueFd()), transport_(transport), host_(host), account_(account) {}

  // Payload of both directions is added to `traffic` from here on.
  void count_in(TunnelTraffic& traffic) {
    traffic_ = &traffic;
    traffic.counting_ = this;
  }
  // From here on a Socket owns it.
  SocketIo* open() {
    open_ = true;
    return this;
  }
  // For who made it and gave it to no Socket.
  void abandon() { close(); }

  bool connect(Operation& operation, const SocketAddress& address) override;
  bool recv(Operation& operation, InputBuffer& into) override;
  bool send(Operation& operation, std::span<const iovec> pieces) override;
  bool post(std::span<const iovec>) override { return false; }
  bool unsent() const override { return false; }
  void watch_reset(Operation& operation) override { operation.park(&reset_operation_); }
  void shutdown_write() override;
  // Ends what is left of the stream: a client's with NO_ERROR, which its server takes for a FIN; a server's
  // with END_STREAM, unless something is still being sent, and then NO_ERROR. It goes once that is sent.
  void close() override;
  // RST_STREAM with CONNECT_ERROR: an application's connection that broke (RFC 9113 §8.5).
  void reset() override;

 private:
  ~TunnelSocket() override;

  void head_received(FieldBlock& block, bool last) override;
  void trailers_received(FieldBlock&) override { end_received(); }
  void data_received(std::string_view bytes) override;
  void end_received() override;
  void payload_taken() override;
  void stream_closed(Http2StreamEnd end) override;

  bool try_recv(Operation& operation, InputBuffer& into);
  size_t take_queued(InputBuffer& into);
  void on_deliver(int);
  void finish(Operation** slot, int result);
  void cancel_operations();
  void leave();

  Http2Transport& transport_;
  Host& host_;
  Gauge& account_;
  friend class TunnelTraffic;
  TunnelTraffic* traffic_ = nullptr;
  size_t offered_ = 0;  // to the session, of what is being sent
  PayloadQueue queue_;
  size_t copied_ = 0;     // to recv_into_, and not told yet
  size_t came_ = 0;       // since deliver_ ran
  size_t came_last_ = 0;  // before that
  bool open_ = false;
  bool head_told_ = false;
  bool received_end_ = false;
  bool sent_end_ = false;
  bool end_taken_ = false;  // END_STREAM is out
  bool closing_ = false;    // nobody's any more; our end is still to be sent
  bool closed_ = false;
  bool cut_ = false;           // the peer, or its connection, broke off
  std::vector<iovec> pieces_;  // offered to the session
  Operation* recv_operation_ = nullptr;
  Operation* send_operation_ = nullptr;
  Operation* reset_operation_ = nullptr;
  InputBuffer* recv_into_ = nullptr;
  Operation deliver_{this, method<&TunnelSocket::on_deliver>};
};

}  // namespace weft::proxy
