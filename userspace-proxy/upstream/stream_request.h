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

  // `fresh`: only a new connection will do. True when it is over at once, else the operation runs when it is.
  bool start(Operation& operation, const UpstreamKey& key, const DialParameters& dial, bool fresh);
  // Gives the wait up, or the stream that nobody took.
  void cancel();

  ConnectStatus status() const { return status_; }
  // Once, when connected.
  UpstreamStreamPtr take();

 private:
  friend class UpstreamPool;
  // From the pool, for the first that waits: a connection, or (null) the place of one that was closed.
  void serve(Http1Upstream* connection);
  bool enqueue();
  void leave_queue();
  bool dial();
  void drop_connection();
  bool start_http2(Operation& operation, const UpstreamKey& key, const DialParameters& dial, bool fresh);
  void http2_connected(Http2Upstream* connection, ConnectStatus status) override;
  void on_connected(int);
  void on_served(int) { waiting_.run(); }
  void on_wait_over();

  UpstreamPool& pool_;
  UpstreamPoolEntry* entry_ = nullptr;  // valid while it is waited in or a connection is held
  DialParameters dial_;
  bool fresh_ = false;
  ConnectStatus status_ = ConnectStatus::kFailed;
  std::unique_ptr<Http1Upstream> connection_;
  Http2Upstream* http2_ = nullptr;  // has room for the stream that take() opens
  Connector connector_;
  WaitSlot waiting_;
  Operation connected_{this, method<&StreamRequest::on_connected>};
  Operation served_{this, method<&StreamRequest::on_served>};
  Timer wait_over_{this, method<&StreamRequest::on_wait_over>};
};

}  // namespace weft::proxy
