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
    // Bytes were received, events told: what streams became ready may run.
    virtual void received() = 0;
  };

  // The socket is connected, the input may hold bytes that came before.
  Http2Transport(EventLoop& loop, Socket& socket, InputBuffer& input, Http2Session::Role role,
                 const Http2Limits& limits, Owner& owner);

  // Begins to read and to write.
  void start();
  void stop();
  // The session has something to say: it is sent later in this turn.
  void output_due();
  Http2Session& session() { return *session_; }
  EventLoop& loop() { return loop_; }
  // Ends the session: its streams are told.
  void close();

 private:
  void receive();
  bool take_input(int result);
  void on_received(int result);
  void on_flush(int);
  void on_sent(int result);
  void flush();
  void end();

  EventLoop& loop_;
  Socket& socket_;
  InputBuffer& input_;
  Owner& owner_;
  std::optional<Http2Session> session_;
  Http2Output out_;
  bool sending_ = false;
  bool ended_ = false;
  Operation recv_{this, method<&Http2Transport::on_received>};
  Operation send_{this, method<&Http2Transport::on_sent>};
  Operation flush_{this, method<&Http2Transport::on_flush>};
};

}  // namespace weft::proxy
