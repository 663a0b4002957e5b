// StreamRequest of stream_request.h.
#include "userspace-proxy/upstream/stream_request.h"

#include <utility>

namespace weft::proxy {

bool StreamRequest::start(Operation& operation, const UpstreamKey& key, const DialParameters& dial_parameters,
                          Wants wants) {
  cancel();
  entry_ = &pool_.entry(key, dial_parameters);
  dial_ = dial_parameters;
  wants_ = wants;
  if (!(key.protocol == UpstreamProtocol::kHttp2 ? start_http2() : start_http1())) {
    waiting_.park(operation);
    return false;
  }
  stop_pending();
  return true;
}

bool StreamRequest::start_http1() {
  // Nobody overtakes those that wait already.
  if (!wants_.fresh && entry_->waiting.empty()) connection_ = pool_.take(*entry_);
  if (connection_ != nullptr) {
    status_ = ConnectStatus::kConnected;
    return true;
  }
  if (!begin_pending()) return true;
  // A new connection takes the place of an idle one.
  if (wants_.fresh && pool_.full(*entry_)) pool_.take(*entry_);
  return pool_.full(*entry_) ? enqueue() : dial();
}

// A request that was refused goes to a connection that is dialled now or from now on, where there may be one;
// those that are refused together share it.
bool StreamRequest::start_http2() {
  Http2Upstream* connection =
      entry_->waiting.empty() ? UpstreamPool::find_http2(*entry_, wants_.fresh) : nullptr;
  const bool at_once = connection != nullptr && !connection->connecting();
  if (!at_once && !begin_pending()) return true;
  if (connection == nullptr && pool_.full(*entry_)) {
    if (wants_.fresh && entry_->waiting.empty()) connection = UpstreamPool::find_http2(*entry_, false);
    if (connection == nullptr) return enqueue();
  }
  if (connection == nullptr) connection = &pool_.dial_http2(*entry_, dial_);
  return take_http2(*connection);
}

bool StreamRequest::take_http2(Http2Upstream& connection) {
  if (connection.connecting() || (wants_.settings && connection.awaits_settings())) {
    status_ = ConnectStatus::kNoCapacity;
    if (!begin_waiting()) return true;
    status_ = ConnectStatus::kWaiting;
    connection.join(*this);
    return false;
  }
  status_ = connection.connect_status();
  if (status_ == ConnectStatus::kNoDescriptor) no_descriptor();
  if (status_ == ConnectStatus::kConnected) stream_ = connection.open();
  return true;
}

void StreamRequest::serve_http2(Http2Upstream* connection) {
  leave_queue();
  if (connection == nullptr) connection = &pool_.dial_http2(*entry_, dial_);
  if (take_http2(*connection)) pool_.loop_.soon(served_);
}

void StreamRequest::http2_connected(Http2Upstream* connection, ConnectStatus status) {
  stop_waiting();
  status_ = status;
  if (connection != nullptr) stream_ = connection->open();
  over();
}

UpstreamStreamPtr StreamRequest::take() {
  if (stream_ != nullptr) return std::move(stream_);
  return UpstreamStreamPtr(connection_.release());
}

void StreamRequest::cancel() {
  Http2Waiter::unlink();
  stream_.reset();
  stop_waiting();
  stop_pending();
  leave_queue();
  connector_.cancel();
  connected_.cancel();
  served_.cancel();
  drop_connection();
}

bool StreamRequest::begin_waiting() {
  if (dial_.use->waiting.get() >= pool_.limits_.max_pod_waiting) {
    dial_.use->refuse(Refusal::kPodWaiting);
    return false;
  }
  counted_ = true;
  dial_.use->waiting.add(1);
  return true;
}

void StreamRequest::stop_waiting() {
  if (counted_) dial_.use->waiting.subtract(1);
  counted_ = false;
}

bool StreamRequest::begin_pending() {
  if (entry_->terms == nullptr || pending_) return true;
  if (!entry_->terms->counts->pending.take(entry_->terms->settings->max_pending)) {
    status_ = ConnectStatus::kCircuitOpen;
    return false;
  }
  pending_ = true;
  return true;
}

void StreamRequest::stop_pending() {
  if (pending_) dial_.terms->counts->pending.give();
  pending_ = false;
}

// True: there are too many.
bool StreamRequest::enqueue() {
  status_ = ConnectStatus::kNoCapacity;
  if (entry_->waiting_count >= pool_.limits_.max_waiting) {
    dial_.use->refuse(Refusal::kEndpointWaiting);
    return true;
  }
  if (!begin_waiting()) return true;
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
  stop_waiting();
}

// True: it is over, for good or bad.
bool StreamRequest::dial() {
  connection_ = pool_.make(*entry_);
  if (!connector_.start(connected_, connection_->socket(), entry_->key.address, dial_)) {
    status_ = ConnectStatus::kWaiting;
    return false;
  }
  status_ = connector_.status();
  if (status_ == ConnectStatus::kNoDescriptor) no_descriptor();
  if (status_ != ConnectStatus::kConnected) drop_connection();
  return true;
}

void StreamRequest::no_descriptor() {
  pool_.starve();
  dial_.use->refuse(Refusal::kDescriptors);
}

// By the pool, so that those that wait get its place.
void StreamRequest::drop_connection() {
  if (connection_ != nullptr) pool_.discard(connection_.release());
}

// The exchange goes on from the loop: the one that gave the connection is not over yet.
void StreamRequest::serve(Http1Upstream* connection) {
  leave_queue();
  if (connection != nullptr && wants_.fresh) {
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
  dial_.use->refuse(Refusal::kWaitTimeout);
  status_ = ConnectStatus::kNoCapacity;
  over();
}

void StreamRequest::on_connected(int) {
  status_ = connector_.status();
  if (status_ != ConnectStatus::kConnected) drop_connection();
  over();
}

}  // namespace weft::proxy
