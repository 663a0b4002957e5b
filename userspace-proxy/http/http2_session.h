// One HTTP/2 connection without its socket, for both roles: bytes in become events of streams, what is
// submitted becomes bytes out (RFC 9113, by nghttp2). Credit is given only for payload that its receiver says
// was accepted. A peer that asks too much (Http2Limits) gets GOAWAY with ENHANCE_YOUR_CALM, and a reason.
// Used by the downstream and upstream connections; one thread.
//
//   kOpen -> kNoticed -> kDraining -> (done)      graceful: notice, one round trip, last stream id
//      \________\___________\______-> kFailed     GOAWAY, then the caller closes
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "userspace-proxy/http/http2_fields.h"
#include "userspace-proxy/http/http2_frame_meter.h"
#include "userspace-proxy/http/http2_limits.h"
#include "userspace-proxy/http/http2_memory.h"
#include "userspace-proxy/http/http2_output.h"
#include "userspace-proxy/http/http2_stream.h"

namespace weft::proxy {

class Http2Session {
 public:
  enum class Role : uint8_t { kServer, kClient };

  class Owner {
   public:
    virtual ~Owner() = default;
    // Server: a request arrives; its head follows, which holds so many bytes decoded, as RFC 9113 §6.5.2
    // counts. Null: refused, unprocessed.
    virtual Http2Stream* new_stream(size_t head_bytes) = 0;
    // Client: the peer's limit of streams may have changed.
    virtual void settings_received() = 0;
    // The peer takes no new streams; those above its last id were closed as refused.
    virtual void goaway_received() = 0;
    virtual void ping_acknowledged() = 0;
  };

  // `limits` must outlive the session. Settings and, for a client, the preface are ready to be sent.
  Http2Session(Role role, const Http2Limits& limits, Owner& owner);
  // Streams that are still open are told kConnectionLost.
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Takes `bytes`, or the first taken() of them when limits.decoded_at_once ends it: the rest is to be given
  // again, with what follows, also when it is nothing. Not kNone: the connection is at its end, send the
  // output and close.
  Http2Fault receive(MonotonicNs now, std::string_view bytes);
  size_t taken() const { return taken_; }
  // The last receive() ended early.
  bool paused() const { return paused_; }
  // Adds what is to be sent until there is no more or `out` is full. Only when all before was sent, or kept.
  void output(MonotonicNs now, Http2Output* out);
  bool wants_output() const;
  // Nothing more will be read or written.
  bool done() const;
  Http2Fault fault() const { return fault_; }

  // On a fresh session: the request of "Upgrade: h2c" becomes stream 1, half closed by the client. `settings`
  // is the decoded HTTP2-Settings field. False: these settings are not valid.
  bool upgrade(std::string_view settings, bool request_was_head, Http2Stream& stream);

  // Client: opens a stream. False when none can be opened on this connection (any more).
  bool send_request(Http2Stream& stream, const Http2Fields& fields, bool last);
  bool can_open_stream() const;
  // Streams that the peer allows at a time.
  uint32_t peer_max_streams() const;

  // Client: the peer's settings, as far as they came, allow extended CONNECT (RFC 8441 §3).
  bool peer_knows_tunnels() const;

  // Server. False when the fields do not make a frame; the stream is then reset.
  bool send_interim(Http2Stream& stream, const Http2Fields& fields);
  bool send_response(Http2Stream& stream, const Http2Fields& fields, bool last);
  // Ends a response whose head was sent and whose end was not: what was offered and is not sent is left out.
  bool cut_response(Http2Stream& stream, const Http2Fields& trailers);

  // Payload, after a head that was not the last: stays where it is until payload_taken(). One offer at a
  // time. `last` ends our side; `trailers` then follow, and stay as long. No bytes is fine.
  void offer(Http2Stream& stream, std::span<const iovec> pieces, bool last, std::span<const Header> trailers);
  // The other side took so many bytes of what data_received() gave: the peer may send as many more.
  void accepted(Http2Stream& stream, uint32_t bytes);
  // RST_STREAM; `code` is of RFC 9113 §7. The stream is told when it is closed.
  void reset(Http2Stream& stream, uint32_t code);
  // The session forgets the object; resets the stream with CANCEL when it is open.
  void detach(Http2Stream& stream);

  void send_ping();
  // Graceful end: no new streams, those that are open go on. A server first announces it, and ends what the
  // client could not know about only after a round trip (RFC 9113 §6.8).
  void begin_shutdown();
  // At once, with GOAWAY.
  void fail(Http2Fault fault);

  // See Http2FrameMeter: what the peer has begun to say and not finished; 0 for nothing.
  uint64_t unfinished() const { return meter_.unfinished(); }
  uint32_t open_streams() const { return open_streams_; }
  // Decoded heads of the open streams.
  size_t held_head_bytes() const { return held_head_bytes_; }
  // All frames and heads so far, refused ones too, and what was decoded of heads.
  uint64_t frames() const { return meter_.frames(); }
  uint64_t heads() const { return heads_; }
  uint64_t decoded_head_bytes() const { return decoded_head_bytes_; }
  size_t memory_in_use() const { return memory_.in_use() + held_head_bytes_; }
  Role role() const { return role_; }

 private:
  friend class Http2Callbacks;
  enum class State : uint8_t { kOpen, kNoticed, kDraining, kFailed };

  void submit_settings();
  void tiny_window();
  void grow_window(Http2Stream& stream, uint32_t accepted);
  // It has no share in anything any more.
  void forget(Http2Stream& stream);
  void attach(Http2Stream& stream, int32_t id);
  void stream_ended(Http2Stream& stream, Http2StreamEnd end);
  bool reset_answered();
  Http2Fault meter(std::string_view bytes);
  void write_goaway(Http2Output* out);
  void final_goaway();

  const Role role_;
  const Http2Limits& limits_;
  Owner& owner_;
  Http2Memory memory_;
  Http2FrameMeter meter_;
  nghttp2_session* session_ = nullptr;
  Http2Output* out_ = nullptr;  // while output() runs
  MonotonicNs now_ = 0;
  State state_ = State::kOpen;
  Http2Fault fault_ = Http2Fault::kNoFault;
  bool goaway_due_ = false;  // ours, when nghttp2 cannot write it any more
  uint32_t open_streams_ = 0;
  uint32_t grown_bytes_ = 0;    // of the windows of all streams
  uint32_t orphan_resets_ = 0;  // of ours, not yet sent, whose streams were detached
  // Answered before their requests had ended: reset once the answer is out. The library throws away what it
  // has queued for a stream when a reset is submitted.
  PooledVector<int32_t> answered_;
  size_t held_head_bytes_ = 0;
  uint64_t heads_ = 0, decoded_head_bytes_ = 0;
  uint64_t pause_at_ = 0;  // of decoded_head_bytes_, in this receive()
  bool paused_ = false;
  size_t taken_ = 0;
  size_t metered_ = 0;   // bytes that the meter has seen and the library has not
  FieldBlock incoming_;  // of the head being received: heads never interleave
  IntrusiveList<Http2Stream> streams_;
};

}  // namespace weft::proxy
