// Http1Upstream: an HTTP/1 connection to an endpoint and, because it carries one at a time, the stream of the
// request on it. Owned by the pool while idle, by the exchange's StreamRequest and then by the exchange
// otherwise; back in the pool when both messages were whole. Worker thread only.
#pragma once

#include "userspace-proxy/http/head_reader.h"
#include "userspace-proxy/http/http1_text.h"
#include "userspace-proxy/http/socket_stream.h"
#include "userspace-proxy/http/websocket_key.h"
#include "userspace-proxy/upstream/upstream_key.h"
#include "userspace-proxy/upstream/upstream_stream.h"

namespace weft::proxy {

class UpstreamPool;
struct UpstreamPoolEntry;

class Http1Upstream final : public UpstreamStream, public ListNode<> {
 public:
  // `entry` outlives this.
  Http1Upstream(EventLoop& loop, BufferPool& buffers, UpstreamPool& pool, UpstreamPoolEntry& entry);
  ~Http1Upstream() override;

  Socket& socket() { return socket_; }

  void write_request(const RequestHead& head, const RequestForm& form) override;
  BodySink& request() override { return sink_; }
  bool read_response(Operation& operation) override;
  HeadStatus response_status() const override { return status_; }
  const ResponseHead& response() const override { return text_->head; }
  Unanswered unanswered() const override;
  BodySource& response_body() override { return source_; }
  bool opens_tunnel() const override;
  void start_tunnel() override;
  void watch_reset(Operation& operation) override { socket_.watch_reset(operation); }
  void release(bool reset) override;

 private:
  friend class UpstreamPool;
  void on_head(int);
  void parse_head();
  bool reusable() const;
  // Its terms allow it no further request.
  bool is_over_age() const;
  // How long it may wait for a request.
  uint64_t idle_ms() const;
  void on_idle_timer();
  void on_readable(int);

  UpstreamPool& pool_;
  UpstreamPoolEntry& entry_;
  Socket socket_;
  InputBuffer input_;
  Http1TextPool<ResponseHead>::Text text_;  // null while idle
  HeadReader reader_;
  SocketSource source_;
  SocketSink sink_;
  HeadStatus status_ = HeadStatus::kAborted;
  bool head_request_ = false;
  MonotonicNs born_;
  uint32_t requests_ = 0;  // that were sent on it
  bool served_ = false;    // a request before this one
  bool answered_ = false;  // a head came for this one
  bool upgrade_ = false;   // asked for
  bool connect_ = false;   // asked for by CONNECT
  bool keyed_ = false;     // asked for WebSocket, with a key of ours
  WebSocketKey key_;
  bool tunnel_ = false;
  WaitSlot waiting_;
  Operation head_{this, method<&Http1Upstream::on_head>};
  Operation watch_{this, method<&Http1Upstream::on_readable>};  // while idle
  // Stays armed while the connection is used again and again: when it runs, idle_until_ says what it means.
  Timer idle_{this, method<&Http1Upstream::on_idle_timer>};
  MonotonicNs idle_until_ = 0;
};

}  // namespace weft::proxy
