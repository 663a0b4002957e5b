// Http2Upstream: a multiplexed HTTP/2 connection to an endpoint, shared by the exchanges of one source, and
// Http2UpstreamStream, one request on it. Found and dialled through the pool; exchanges that come while it is
// dialled wait for the same dial. Worker thread only.
//
//   kConnecting -> kReady -> kDraining (GOAWAY, no ids left, idle) -> kEnded
//         \___________\________________________________________________/
#pragma once

#include <memory>
#include <vector>

#include "userspace-proxy/http/http2_message.h"
#include "userspace-proxy/net/frame_pool.h"
#include "userspace-proxy/upstream/connector.h"
#include "userspace-proxy/upstream/upstream_key.h"
#include "userspace-proxy/upstream/upstream_stream.h"

namespace weft::proxy {

class UpstreamPool;
class Http2Upstream;

// One who waits for a connection that is being dialled.
class Http2Waiter : public ListNode<Http2Waiter> {
 public:
  virtual void http2_connected(Http2Upstream* connection, ConnectStatus status) = 0;

 protected:
  ~Http2Waiter() = default;
};

class Http2UpstreamStream final : public UpstreamStream, public Http2Message {
 public:
  Http2UpstreamStream(Http2Upstream& connection, Http2Transport& transport)
      : Http2Message(transport), connection_(connection) {}
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  void write_request(const RequestHead& head, const RequestForm& form) override;
  BodySink& request() override { return *this; }
  bool read_response(Operation& operation) override;
  HeadStatus response_status() const override;
  const ResponseHead& response() const override { return response_; }
  Unanswered unanswered() const override;
  BodySource& response_body() override { return *this; }
  // Extended CONNECT (RFC 8441) is not spoken upstream.
  bool opens_tunnel() const override { return false; }
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
  std::vector<Arrived> heads_;  // not read yet
  FieldBlock block_;            // what response_ is a view of
  ResponseHead response_;
  HeadStatus status_ = HeadStatus::kWaiting;
  bool head_request_ = false;
  bool answered_ = false;
  bool unsent_ = false;  // the connection took no more streams
  Waiting head_waiter_, reset_;
};

class Http2Upstream final : public ListNode<>, public Retirable, private Http2Transport::Owner {
 public:
  Http2Upstream(UpstreamPool& pool, const UpstreamKey& key);
  ~Http2Upstream() override;

  // At most one of its own; the waiters are told how it ended.
  void dial(const DialParameters& dial);
  bool connecting() const { return state_ == State::kConnecting; }
  ConnectStatus connect_status() const { return connector_.status(); }
  void join(Http2Waiter& waiter) { waiters_.push_back(waiter); }
  // A stream can be opened, or will be possible once connected.
  bool has_room() const;
  UpstreamStreamPtr open();
  // The pool closes: idle now, or once its streams are done.
  void drain();
  const UpstreamKey& key() const { return key_; }

 private:
  friend class Http2UpstreamStream;
  enum class State : uint8_t { kConnecting, kReady, kDraining, kEnded };

  Http2Stream* new_stream() override { return nullptr; }
  void settings_received() override {}
  void goaway_received() override;
  void ping_acknowledged() override { ping_pending_ = false; }
  void received() override { heard_ = true; }
  void transport_ended() override;
  void on_connected(int);
  void connected();
  void on_timer();
  void stream_released();
  void end();

  UpstreamPool& pool_;
  const UpstreamKey key_;
  State state_ = State::kConnecting;
  uint32_t streams_ = 0;
  bool heard_ = false;  // since the last look
  bool ping_pending_ = false;
  Socket socket_;
  InputBuffer input_;
  Connector connector_;
  Http2Transport transport_;
  IntrusiveList<Http2Waiter, Http2Waiter> waiters_;
  Operation connected_{this, method<&Http2Upstream::on_connected>};
  Timer timer_{this, method<&Http2Upstream::on_timer>};  // idleness without streams, keep-alive with them
};

}  // namespace weft::proxy
