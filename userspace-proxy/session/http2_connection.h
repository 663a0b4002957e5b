// Http2Connection: a client that speaks HTTP/2, from its preface or upgrade on: an exchange for each stream.
// Owned by DownstreamConnection, which lends the socket. Worker thread only.
//
//   kServing -> kClosing     idle or draining: GOAWAY went out, open streams finish
//       \___________\___ -> kEnded        its streams' exchanges end one by one, then the owner is told
#pragma once

#include <memory>

#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/session/http1_downstream_stream.h"
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
  // The connection spoke HTTP/1.1 before: its request becomes the first stream (RFC 7540 §3.2).
  void start_upgraded(Http1DownstreamStream::Upgraded upgraded);
  // Tells the client to go elsewhere; ends when its streams have.
  void drain();
  // The client reset the connection: ends as after any other loss.
  void lost() { end(false); }
  // Ends all exchanges now, recorded with this outcome. The owner closes.
  void cut(Outcome outcome);
  // The policy of what comes in changed: streams that it forbids now end.
  void recheck();
  // No stream is open.
  bool idle() const { return units_.empty(); }

 private:
  enum class State : uint8_t { kServing, kClosing, kEnded };
  // Looked at between two questions whether the pod has a share left: some seventy of the smallest heads,
  // some two hundred of the smallest frames, or a while of payload.
  static constexpr size_t kSliceOfSmallFrames = 2'048, kSliceOfPayload = 8'192;

  // One stream with its exchange.
  class Unit final : public ListNode<>, private Http2DownstreamStream::Host {
   public:
    explicit Unit(Http2Connection& connection);
    static void* operator new(size_t size) { return take_frame(size); }
    static void operator delete(void* block, size_t size) { give_frame(block, size); }
    Http2DownstreamStream& stream() { return stream_; }
    void adopt(Http1DownstreamStream::Upgraded upgraded);
    void begin() { connection_.context_.loop.soon(begin_); }
    // What has not begun does not begin any more.
    void withdraw() { begin_.cancel(); }
    void abandon(Outcome outcome) { exchange_.abandon(outcome); }
    bool forbidden() const { return exchange_.forbidden(); }

   private:
    void request_arrived() override { begin(); }
    void request_withdrawn() override { withdraw(); }
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

  Http2Stream* new_stream(size_t head_bytes) override;
  void settings_received() override;
  void goaway_received() override {}
  void ping_acknowledged() override {}
  void received(size_t bytes) override;
  size_t may_take(Operation& next) override;
  void transport_ended() override;
  Unit& add_unit();
  void unit_ended(Unit& unit);
  void charge_heads();
  void charge_share(size_t received);
  void watch_head();
  void on_head_timer();
  void on_timer();
  void stop();
  void end(bool clean);
  void cut_next(int);
  Outcome lost_outcome() const;
  static bool ends_clean(Http2Fault fault);

  ProxyContext& context_;
  const ClientSide client_;
  Owner& owner_;
  State state_ = State::kServing;
  const Http2Limits limits_;
  Http2Transport transport_;
  IntrusiveList<Unit> units_;
  // Of the request that asked for HTTP/2, until the client has spoken it.
  Unit* upgrading_ = nullptr;
  Timer timer_{this, method<&Http2Connection::on_timer>};  // idleness; then the grace of the end
  // While something has begun and is not whole; see Http2Session::unfinished().
  Timer head_timer_{this, method<&Http2Connection::on_head_timer>};
  uint64_t unfinished_ = 0;
  // Of the session's, what the pod's share was charged for; how much is looked at next.
  uint64_t charged_frames_ = 0, charged_heads_ = 0, charged_head_bytes_ = 0;
  size_t slice_ = kSliceOfSmallFrames;
  // Of an end that is under way.
  Outcome lost_by_ = Outcome::kDownstreamReset;
  bool ends_clean_ = true;
  Operation cutting_{this, method<&Http2Connection::cut_next>};
  // What the pod is charged for this connection, see PodUse.
  uint64_t received_bytes_ = 0;
  uint64_t head_bytes_ = 0;
};

}  // namespace weft::proxy
