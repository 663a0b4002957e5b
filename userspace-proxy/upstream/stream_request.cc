// StreamRequest of stream_request.h.
#include "userspace-proxy/upstream/stream_request.h"

#include <utility>

namespace weft::proxy {

bool StreamRequest::start(Operation& operation, const UpstreamKey& key, const DialParameters& dial_parameters,
                          bool fresh) {
  cancel();
  if (key.protocol == UpstreamProtocol::kHttp2) return start_http2(operation, key, dial_parameters, fresh);
  entry_ = &pool_.entry(key);
  dial_ = dial_parameters;
  fresh_ = fresh;
  // Nobody overtakes those that wait already.
  if (!fresh && entry_->waiting.empty()) connection_ = pool_.take(*entry_);
  if (connection_ != nullptr) {
    status_ = ConnectStatus::kConnected;
    return true;
  }
  // A new connection takes the place of an idle one.
  if (fresh && pool_.full(*entry_)) pool_.take(*entry_);
  if (pool_.full(*entry_) ? enqueue() : dial()) return true;
  waiting_.park(operation);
  return false;
}

bool StreamRequest::start_http2(Operation& operation, const UpstreamKey& key,
                                const DialParameters& dial_parameters, bool fresh) {
  bool made = false;
  Http2Upstream& connection = pool_.http2(key, fresh, &made);
  if (made) connection.dial(dial_parameters);
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
  Http2Waiter::unlink();
  http2_ = nullptr;
  leave_queue();
  connector_.cancel();
  connected_.cancel();
  served_.cancel();
  drop_connection();
}

// True: there are too many.
bool StreamRequest::enqueue() {
  status_ = ConnectStatus::kNoCapacity;
  if (entry_->waiting_count >= pool_.limits_.max_waiting) return true;
  status_ = ConnectStatus::kWaiting;
  entry_->waiting.push_back(*this);
  ++entry_->waiting_count;
  pool_.loop_.arm(wait_over_, pool_.limits_.max_wait_ms);
  return false;
}

void StreamRequest::leave_queue() {
  wait_over_.cancel();
  if (!ListNode<>::linked()) return;
  ListNode<>::unlink();
  --entry_->waiting_count;
}

// True: it is over, for good or bad.
bool StreamRequest::dial() {
  connection_ = pool_.make(*entry_);
  if (!connector_.start(connected_, connection_->socket(), entry_->key.address, dial_)) {
    status_ = ConnectStatus::kWaiting;
    return false;
  }
  status_ = connector_.status();
  if (status_ != ConnectStatus::kConnected) drop_connection();
  return true;
}

// By the pool, so that those that wait get its place.
void StreamRequest::drop_connection() {
  if (connection_ != nullptr) pool_.discard(connection_.release());
}

// The exchange goes on from the loop: the one that gave the connection is not over yet.
void StreamRequest::serve(Http1Upstream* connection) {
  leave_queue();
  if (connection != nullptr && fresh_) {
    // Its place is what is wanted; nobody else gets it in between, for this one waits no more.
    delete connection;
    connection = nullptr;
  }
  connection_.reset(connection);
  status_ = ConnectStatus::kConnected;
  if (connection != nullptr || dial()) pool_.loop_.soon(served_);
}

void StreamRequest::on_wait_over() {
  leave_queue();
  status_ = ConnectStatus::kNoCapacity;
  waiting_.run();
}

void StreamRequest::on_connected(int) {
  status_ = connector_.status();
  if (status_ != ConnectStatus::kConnected) drop_connection();
  waiting_.run();
}

}  // namespace weft::proxy
