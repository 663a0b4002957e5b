// Http2Transport: an HTTP/2 session on a socket. Reads, and writes what the session has to say once per turn
// of the loop, so that frames of many streams share a system call. Used by the connections of both sides;
// worker thread only.
#pragma once

#include <optional>

#include "userspace-proxy/http/http2_session.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {

class Http2Transport {
 public:
  class Owner : public Http2Session::Owner {
   public:
    // The socket ended, or the session did and said why to the peer. Nothing more happens; the owner may
    // destroy the transport, but not inside this call.
    virtual void transport_ended() = 0;
    // So many bytes were received, and their events told.
    virtual void received(size_t bytes) = 0;
    // How many bytes of what was received may be looked at now; 0: none, and `next` runs when some may.
    virtual size_t may_take(Operation& next) = 0;
  };

  // The socket is connected, the input may hold bytes that came before.
  Http2Transport(EventLoop& loop, Socket& socket, InputBuffer& input, Http2Session::Role role,
                 const Http2Limits& limits, Owner& owner);

  // Begins to read and to write. `front`, which must stay, goes out before all that the session says.
  void start(std::string_view front = {});
  void stop();
  // The session has something to say: it is sent later in this turn.
  void output_due();
  Http2Session& session() { return *session_; }
  const Http2Session& session() const { return *session_; }
  EventLoop& loop() { return loop_; }
  // Ends the session: its streams are told.
  void close();

 private:
  void receive();
  bool take_input(int result);
  // All that was received, as far as the owner lets it. False: reading does not go on now.
  bool take_slices();
  bool take_slice(size_t most);
  void on_received(int result);
  void on_may_take(int);
  void on_flush(int);
  void on_sent(int result);
  void on_stalled();
  void flush();
  void end();

  EventLoop& loop_;
  Socket& socket_;
  InputBuffer& input_;
  Owner& owner_;
  const uint64_t stall_ms_;
  std::string_view front_;
  std::optional<Http2Session> session_;
  Http2Output out_;
  uint64_t batches_ = 0;  // given to the socket
  uint64_t batches_at_last_look_ = 0;
  bool sending_ = false;
  bool ended_ = false;
  Operation recv_{this, method<&Http2Transport::on_received>};
  Operation may_take_{this, method<&Http2Transport::on_may_take>};
  Operation send_{this, method<&Http2Transport::on_sent>};
  Operation flush_{this, method<&Http2Transport::on_flush>};
  // Armed when a batch has to wait, and left alone when it is gone: so most cost no arming.
  Timer stalled_{this, method<&Http2Transport::on_stalled>};
};

}  // namespace weft::proxy
