// StreamRequest: how an exchange gets a stream to an endpoint: an idle connection of the pool at once, else a
// new one, dialled. Embedded in the exchange, used again for each attempt. Worker thread only.
#pragma once

#include <memory>

#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

class StreamRequest final : private Http2Waiter {
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
  bool start_http2(Operation& operation, const UpstreamKey& key, const DialParameters& dial, bool fresh);
  void http2_connected(Http2Upstream* connection, ConnectStatus status) override;
  void on_connected(int);

  UpstreamPool& pool_;
  ConnectStatus status_ = ConnectStatus::kFailed;
  std::unique_ptr<Http1Upstream> connection_;
  Http2Upstream* http2_ = nullptr;  // has room for the stream that take() opens
  Connector connector_;
  WaitSlot waiting_;
  Operation connected_{this, method<&StreamRequest::on_connected>};
};

}  // namespace weft::proxy
