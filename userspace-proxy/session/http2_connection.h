// Http2Connection: a client that speaks HTTP/2, from its preface on: an exchange for each stream. Owned by
// DownstreamConnection, which lends the socket. Worker thread only.
//
//   kServing -> kClosing     idle or draining: GOAWAY went out, open streams finish
//       \___________\___ -> kEnded
#pragma once

#include <memory>

#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/session/http2_downstream_stream.h"

namespace weft::proxy {

class Http2Connection final : private Http2Transport::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // No stream is left and nothing will be said: the socket can be closed. `clean` is false when the client
    // should see that something was lost.
    virtual void http2_ended(bool clean) = 0;
  };

  Http2Connection(ProxyContext& context, const ClientSide& client, Socket& socket, InputBuffer& input,
                  Owner& owner);
  ~Http2Connection() override;

  void start();
  // Tells the client to go elsewhere; ends when its streams have.
  void drain();
  // Ends all exchanges now, recorded with this outcome. The owner closes.
  void cut(Outcome outcome);
  // No stream is open.
  bool idle() const { return units_.empty(); }

 private:
  enum class State : uint8_t { kServing, kClosing, kEnded };

  // One stream with its exchange.
  class Unit final : public ListNode<>, private Http2DownstreamStream::Host {
   public:
    explicit Unit(Http2Connection& connection);
    static void* operator new(size_t size) { return take_frame(size); }
    static void operator delete(void* block, size_t size) { give_frame(block, size); }
    Http2DownstreamStream& stream() { return stream_; }
    void abandon(Outcome outcome) { exchange_.abandon(outcome); }

   private:
    void request_arrived() override { connection_.context_.loop.soon(begin_); }
    void stream_lost(Http2StreamEnd end) override;
    void on_begin(int) { exchange_.start(finished_); }
    void on_finished(int) { connection_.unit_ended(*this); }
    void on_lost(int);

    Http2Connection& connection_;
    Outcome lost_by_ = Outcome::kDownstreamReset;
    Http2DownstreamStream stream_;
    Exchange exchange_;
    Operation begin_{this, method<&Unit::on_begin>};
    Operation finished_{this, method<&Unit::on_finished>};
    Operation lost_{this, method<&Unit::on_lost>};
  };

  Http2Stream* new_stream() override;
  void settings_received() override {}
  void goaway_received() override {}
  void ping_acknowledged() override {}
  void received() override {}
  void transport_ended() override;
  void unit_ended(Unit& unit);
  void on_timer();
  void end(bool clean);
  Outcome lost_outcome() const;

  ProxyContext& context_;
  const ClientSide client_;
  Owner& owner_;
  State state_ = State::kServing;
  const Http2Limits limits_;
  Http2Transport transport_;
  IntrusiveList<Unit> units_;
  Timer timer_{this, method<&Http2Connection::on_timer>};  // idleness; then the grace of the end
};

}  // namespace weft::proxy
