// StreamRequest of stream_request.h.
#include "userspace-proxy/upstream/stream_request.h"

#include <utility>

namespace weft::proxy {

bool StreamRequest::start(Operation& operation, const UpstreamKey& key, const DialParameters& dial,
                          bool fresh) {
  cancel();
  if (key.protocol == UpstreamProtocol::kHttp2) return start_http2(operation, key, dial, fresh);
  connection_ = fresh ? nullptr : pool_.take(key);
  if (connection_ != nullptr) {
    status_ = ConnectStatus::kConnected;
    return true;
  }
  connection_ = pool_.make(key);
  if (!connector_.start(connected_, connection_->socket(), key.address, dial)) {
    status_ = ConnectStatus::kWaiting;
    waiting_.park(operation);
    return false;
  }
  status_ = connector_.status();
  if (status_ != ConnectStatus::kConnected) connection_.reset();
  return true;
}

bool StreamRequest::start_http2(Operation& operation, const UpstreamKey& key, const DialParameters& dial,
                                bool fresh) {
  bool made = false;
  Http2Upstream& connection = pool_.http2(key, fresh, &made);
  if (made) connection.dial(dial);
  if (connection.connecting()) {
    status_ = ConnectStatus::kWaiting;
    connection.join(*this);
    waiting_.park(operation);
    return false;
  }
  status_ = made ? connection.connect_status() : ConnectStatus::kConnected;
  http2_ = status_ == ConnectStatus::kConnected ? &connection : nullptr;
  return true;
}

void StreamRequest::http2_connected(Http2Upstream* connection, ConnectStatus status) {
  status_ = status;
  http2_ = connection;
  waiting_.run();
}

UpstreamStreamPtr StreamRequest::take() {
  if (http2_ != nullptr) return std::exchange(http2_, nullptr)->open();
  return UpstreamStreamPtr(connection_.release());
}

void StreamRequest::cancel() {
  unlink();
  http2_ = nullptr;
  connector_.cancel();
  connected_.cancel();
  connection_.reset();
}

void StreamRequest::on_connected(int) {
  status_ = connector_.status();
  if (status_ != ConnectStatus::kConnected) connection_.reset();
  waiting_.run();
}

}  // namespace weft::proxy
