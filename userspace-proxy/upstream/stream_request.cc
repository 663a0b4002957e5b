// StreamRequest of stream_request.h.
#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

bool StreamRequest::start(Operation& operation, const UpstreamKey& key, const DialParameters& dial,
                          bool fresh) {
  cancel();
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

void StreamRequest::cancel() {
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
