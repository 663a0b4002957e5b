// StreamRequest: how an exchange gets a stream to an endpoint: an idle connection of the pool at once, else a
// new one, dialled, and where connections are limited the next that becomes free. Embedded in the exchange,
// used again for each attempt. Worker thread only.
#pragma once

#include <memory>

#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

class StreamRequest final : public ListNode<>, private Http2Waiter {
 public:
  explicit StreamRequest(UpstreamPool& pool) : pool_(pool), connector_(pool.loop(), pool.home()) {}
  ~StreamRequest() { cancel(); }
  StreamRequest(const StreamRequest&) = delete;
  StreamRequest& operator=(const StreamRequest&) = delete;

  struct Wants {
    bool fresh = false;     // only a new connection will do
    bool settings = false;  // of an HTTP/2 server, known, see Http2Waiter
  };
  // `dial.use` is charged for what the stream holds, and for the wait. True when it is over at once, else the
  // operation runs when it is.
  bool start(Operation& operation, const UpstreamKey& key, const DialParameters& dial, Wants wants);
  // Gives the wait up, or the stream that nobody took.
  void cancel();

  ConnectStatus status() const { return status_; }
  // Once, when connected.
  UpstreamStreamPtr take();

 private:
  friend class UpstreamPool;
  // From the pool, for the first that waits: a connection, or (null) the place of one that was closed.
  void serve(Http1Upstream* connection);
  void serve_http2(Http2Upstream* connection);
  bool enqueue();
  // False: the source waits for too many already. Else counted until stop_waiting().
  bool begin_waiting();
  void stop_waiting();
  void leave_queue();
  bool dial();
  void drop_connection();
  void no_descriptor();
  // Each: true when it is over at once.
  bool start_http1();
  bool start_http2();
  // False: its dial is under way and this waits for it.
  bool take_http2(Http2Upstream& connection);
  void http2_connected(Http2Upstream* connection, ConnectStatus status) override;
  bool wants_settings() const override { return wants_.settings; }
  void on_connected(int);
  void on_served(int) { over(); }
  // False: as many wait for connections as the terms allow. Else counted until stop_pending().
  bool begin_pending();
  void stop_pending();
  void over() {
    stop_pending();
    waiting_.run();
  }
  void on_wait_over();

  UpstreamPool& pool_;
  UpstreamPoolEntry* entry_ = nullptr;  // valid while it is waited in or a connection is held
  DialParameters dial_;
  Wants wants_;
  bool counted_ = false;  // among the source's waiting
  bool pending_ = false;  // among those of the terms
  ConnectStatus status_ = ConnectStatus::kFailed;
  std::unique_ptr<Http1Upstream> connection_;
  UpstreamStreamPtr stream_;  // of HTTP/2, open already: nobody takes the room for it
  Connector connector_;
  WaitSlot waiting_;
  Operation connected_{this, method<&StreamRequest::on_connected>};
  Operation served_{this, method<&StreamRequest::on_served>};
  Timer wait_over_{this, method<&StreamRequest::on_wait_over>};
};

}  // namespace weft::proxy
