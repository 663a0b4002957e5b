// Http2Upstream: a multiplexed HTTP/2 connection to an endpoint, shared by the exchanges of one source, and
// Http2UpstreamStream, one request on it. Found and dialled through the pool; exchanges that come while it is
// dialled wait for the same dial. Worker thread only.
//
//   kConnecting -> kReady -> kDraining (GOAWAY, no ids left, idle) -> kEnded
//         \___________\________________________________________________/
#pragma once

#include <memory>

#include "userspace-proxy/http/http1_text.h"
#include "userspace-proxy/http/http2_message.h"
#include "userspace-proxy/net/frame_pool.h"
#include "userspace-proxy/upstream/connector.h"
#include "userspace-proxy/upstream/upstream_stream.h"

namespace weft::proxy {

class UpstreamPool;
class Http2Upstream;
struct UpstreamPoolEntry;

// One who waits for a connection that is being dialled.
class Http2Waiter : public ListNode<Http2Waiter> {
 public:
  virtual void http2_connected(Http2Upstream* connection, ConnectStatus status) = 0;
  // Also waits for the server's first settings: they say whether it knows extended CONNECT.
  virtual bool wants_settings() const = 0;

 protected:
  ~Http2Waiter() = default;
};

class Http2UpstreamStream final : public UpstreamStream, public Http2Message {
 public:
  Http2UpstreamStream(Http2Upstream& connection, Http2Transport& transport);
  ~Http2UpstreamStream() override;
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  void write_request(const RequestHead& head, const RequestForm& form) override;
  BodySink& request() override { return *this; }
  bool read_response(Operation& operation) override;
  HeadStatus response_status() const override;
  const ResponseHead& response() const override { return text_->head; }
  Unanswered unanswered() const override;
  BodySource& response_body() override { return *this; }
  bool opens_tunnel() const override;
  // Payload is payload, in a tunnel too.
  void start_tunnel() override {}
  void watch_reset(Operation& operation) override { reset_.park(operation); }
  void release(bool reset) override;

 private:
  void head_arrived(bool last) override;
  void closed_by(Http2StreamEnd end) override;
  // False when neither a head nor the end is here.
  bool take_head();

  struct Arrived {
    FieldBlock block;
    bool last = false;
  };
  static constexpr size_t kMaxWaitingHeads = 16;

  Http2Upstream& connection_;
  PooledVector<Arrived> heads_;  // not read yet
  FieldBlock block_;             // what the response's head is a view of
  Http1TextPool<ResponseHead>::Text text_;
  HeadStatus status_ = HeadStatus::kWaiting;
  bool head_request_ = false;
  bool answered_ = false;
  bool tunnel_ = false;       // asked for
  bool unsent_ = false;       // the connection took no more streams
  bool unsupported_ = false;  // the server does not know extended CONNECT
  Waiting head_waiter_, reset_;
};

class Http2Upstream final : public ListNode<>, public Retirable, private Http2Transport::Owner {
 public:
  Http2Upstream(UpstreamPool& pool, UpstreamPoolEntry& entry);
  ~Http2Upstream() override;

  // At most one of its own; the waiters are told how it ended.
  void dial(const DialParameters& dial);
  bool connecting() const { return state_ == State::kConnecting; }
  // kFailed also when it was connected and ended before anything could be sent.
  ConnectStatus connect_status() const;
  // The server's first settings did not come yet.
  bool awaits_settings() const { return state_ == State::kReady && !settled_; }
  // Only while connecting or, for one who wants them, while the settings are awaited.
  void join(Http2Waiter& waiter) { waiters_.push_back(waiter); }
  // One more stream can be opened, or will be possible once connected.
  bool has_room();
  UpstreamStreamPtr open();
  // The pool closes: idle now, or once its streams are done.
  void drain();

 private:
  friend class Http2UpstreamStream;
  enum class State : uint8_t { kConnecting, kReady, kDraining, kEnded };

  Http2Stream* new_stream(size_t) override { return nullptr; }
  void settings_received() override;
  void goaway_received() override;
  void ping_acknowledged() override { ping_pending_ = false; }
  size_t may_take(Operation&) override { return SIZE_MAX; }
  void received(size_t) override { heard_ = true; }
  void transport_ended() override;
  void on_connected(int);
  void connected();
  void on_timer();
  void stream_released();
  void tell_waiters();
  void on_settled(int) { tell_waiters(); }
  uint32_t joined();
  void leave_entry();
  void end();
  void end_and_tell();
  // Its terms allow it no further stream.
  bool is_spent() const;
  uint64_t idle_ms() const;
  // A connection with streams on which nothing came for so long is asked whether it lives, and has as long as
  // the second to answer (RFC 9113 §6.7).
  uint64_t quiet_ms() const { return ping_of(&ConnectionSettings::ping_interval_ms, 30'000); }
  uint64_t ping_ms() const { return ping_of(&ConnectionSettings::ping_timeout_ms, 10'000); }
  uint64_t ping_of(uint32_t ConnectionSettings::* setting, uint64_t otherwise) const {
    const uint32_t own = terms_ == nullptr ? 0 : (*terms_->settings).*setting;
    return own > 0 ? own : otherwise;
  }

  UpstreamPool& pool_;
  UpstreamPoolEntry* entry_;           // null when it takes no more streams
  const std::shared_ptr<PodUse> use_;  // of the source
  const ConnectionTermsPtr terms_;     // null: none
  const MonotonicNs born_;
  uint32_t opened_ = 0;  // streams
  State state_ = State::kConnecting;
  uint32_t streams_ = 0;
  bool settled_ = false;
  bool heard_ = false;  // since the last look
  bool ping_pending_ = false;
  Socket socket_;
  InputBuffer input_;
  Connector connector_;
  Http2Transport transport_;
  IntrusiveList<Http2Waiter, Http2Waiter> waiters_;
  Operation connected_{this, method<&Http2Upstream::on_connected>};
  Operation settled_waiters_{this, method<&Http2Upstream::on_settled>};
  Timer timer_{this, method<&Http2Upstream::on_timer>};  // idleness without streams, keep-alive with them
};

}  // namespace weft::proxy
