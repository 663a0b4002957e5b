// Http2Upstream of http2_upstream.h.
#include "userspace-proxy/upstream/http2_upstream.h"

#include <algorithm>
#include <utility>

#include "userspace-proxy/http/http2_head.h"
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {
Http2Upstream::Http2Upstream(UpstreamPool& pool, UpstreamPoolEntry& entry)
    : pool_(pool),
      entry_(&entry),
      use_(entry.use),
      terms_(entry.terms),
      born_(pool.loop().now()),
      socket_(pool.loop()),
      input_(pool.buffers(), &use_->buffered_bytes),
      connector_(pool.loop(), pool.home()),
      transport_(pool.loop(), socket_, input_, Http2Session::Role::kClient, pool.http2_limits(), *this) {
  pool_.http2_opened();
  ++entry.open;
  if (terms_ != nullptr) terms_->counts->connections.take(0);
}

Http2Upstream::~Http2Upstream() {
  if (state_ != State::kEnded) pool_.http2_closed();
  if (entry_ != nullptr) --entry_->open;
  if (terms_ != nullptr) terms_->counts->connections.give();
}

bool Http2Upstream::is_spent() const {
  if (terms_ == nullptr) return false;
  const ConnectionSettings& settings = *terms_->settings;
  const bool old =
      settings.max_duration_ms > 0 && pool_.loop().now() - born_ >= settings.max_duration_ms * kNsPerMs;
  return old || terms_->over ||
         (settings.max_requests_per_connection > 0 && opened_ >= settings.max_requests_per_connection);
}

// How long it is kept without streams.
uint64_t Http2Upstream::idle_ms() const {
  const uint64_t idle = pool_.idle_ms(terms_.get());
  if (terms_ == nullptr || terms_->settings->max_duration_ms == 0) return idle;
  const uint64_t age = (pool_.loop().now() - born_) / kNsPerMs;
  return std::min(idle, terms_->settings->max_duration_ms - std::min(age, terms_->settings->max_duration_ms));
}

void Http2Upstream::dial(const DialParameters& dial) {
  if (!connector_.start(connected_, socket_, entry_->key.address, dial)) return;
  if (connector_.status() == ConnectStatus::kConnected) return connected();
  end();
}

void Http2Upstream::on_connected(int) {
  UpstreamPoolEntry& entry = *entry_;
  if (connector_.status() == ConnectStatus::kConnected) connected();
  const bool good = connect_status() == ConnectStatus::kConnected;
  if (!good) leave_entry();
  tell_waiters();
  if (!good) end();
  pool_.serve_http2(entry);
  if (state_ == State::kReady && streams_ == 0) pool_.loop().arm(timer_, idle_ms());
}

void Http2Upstream::tell_waiters() {
  const ConnectStatus status = connect_status();
  const bool good = status == ConnectStatus::kConnected;
  for (uint32_t left = joined(); left > 0; --left) {
    Http2Waiter* waiter = waiters_.pop_front();
    // What one does may end the wait of others.
    if (waiter == nullptr) return;
    if (good && !settled_ && waiter->wants_settings()) {
      waiters_.push_back(*waiter);
    } else {
      waiter->http2_connected(good ? this : nullptr, status);
    }
  }
}

ConnectStatus Http2Upstream::connect_status() const {
  const ConnectStatus status = connector_.status();
  return state_ == State::kEnded && status == ConnectStatus::kConnected ? ConnectStatus::kFailed : status;
}

void Http2Upstream::connected() {
  state_ = State::kReady;
  transport_.start();
}

uint32_t Http2Upstream::joined() {
  uint32_t count = 0;
  for (Http2Waiter* each = waiters_.front(); each != nullptr; each = waiters_.after(*each)) ++count;
  return count;
}

bool Http2Upstream::has_room() {
  // Streams that were given out and have sent nothing yet, and those that are promised, are ours alone to
  // count.
  const uint32_t taken = streams_ + joined();
  if (taken >= pool_.limits().max_streams || is_spent()) return false;
  if (terms_ != nullptr) {
    const ConnectionSettings& settings = *terms_->settings;
    if (settings.max_streams > 0 && taken >= settings.max_streams) return false;
    const uint32_t most = settings.max_requests_per_connection;
    if (most > 0 && opened_ + joined() >= most) return false;
  }
  if (state_ != State::kReady) return state_ == State::kConnecting;
  const Http2Session& session = transport_.session();
  return taken < session.peer_max_streams() && session.can_open_stream();
}

UpstreamStreamPtr Http2Upstream::open() {
  if (streams_++ == 0) pool_.loop().arm(timer_, quiet_ms());
  ++opened_;
  return UpstreamStreamPtr(new Http2UpstreamStream(*this, transport_));
}

void Http2Upstream::stream_released() {
  transport_.output_due();
  --streams_;
  if (entry_ != nullptr && !entry_->waiting.empty()) pool_.serve_http2(*entry_);
  if (streams_ > 0) return;
  if (state_ == State::kEnded) {
    pool_.loop().retire(std::unique_ptr<Retirable>(this));
  } else if (state_ == State::kDraining) {
    end();
  } else {
    // What is spent ends as soon as its last stream is out of hand.
    pool_.loop().arm(timer_, is_spent() ? 0 : idle_ms());
  }
}

void Http2Upstream::drain() {
  if (state_ == State::kEnded) return;
  // Those who wait for it still get their stream.
  if (!waiters_.empty()) return;
  leave_entry();
  if (streams_ == 0) return end();
  state_ = State::kDraining;
}

void Http2Upstream::goaway_received() {
  if (state_ != State::kReady) return;
  state_ = State::kDraining;
  UpstreamPoolEntry& entry = *entry_;
  leave_entry();
  // Not now: the session is at work.
  if (streams_ == 0) pool_.loop().arm(timer_, 0);
  pool_.serve_http2(entry);
}

// The limit may be another one now.
void Http2Upstream::settings_received() {
  settled_ = true;
  if (!waiters_.empty()) pool_.loop().soon(settled_waiters_);
  if (entry_ != nullptr) pool_.serve_http2(*entry_);
}

void Http2Upstream::leave_entry() {
  if (entry_ == nullptr) return;
  unlink();
  --entry_->open;
  entry_ = nullptr;
}

void Http2Upstream::on_timer() {
  if (streams_ == 0) return end_and_tell();
  if (heard_) {
    heard_ = ping_pending_ = false;
  } else if (ping_pending_) {
    return end_and_tell();
  } else {
    ping_pending_ = true;
    transport_.session().send_ping();
    transport_.output_due();
  }
  pool_.loop().arm(timer_, ping_pending_ ? ping_ms() : quiet_ms());
}

void Http2Upstream::transport_ended() {
  pool_.http2_ended_by(transport_.session().fault());
  end_and_tell();
}

// Those who wait for the server's settings, and those who wait for its place.
void Http2Upstream::end_and_tell() {
  UpstreamPoolEntry* entry = entry_;
  end();
  tell_waiters();
  if (entry != nullptr) pool_.serve_http2(*entry);
}

// The streams learn it by their ends; the object stays until the last of them is released.
void Http2Upstream::end() {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  leave_entry();
  timer_.cancel();
  connector_.cancel();
  connected_.cancel();
  settled_waiters_.cancel();
  transport_.close();
  socket_.close();
  input_.clear();
  pool_.http2_closed();
  if (streams_ == 0) pool_.loop().retire(std::unique_ptr<Retirable>(this));
}

Http2UpstreamStream::Http2UpstreamStream(Http2Upstream& connection, Http2Transport& transport)
    : Http2Message(transport), connection_(connection), text_(connection.pool_.texts().take()) {}

Http2UpstreamStream::~Http2UpstreamStream() { connection_.pool_.texts().give(std::move(text_)); }

void Http2UpstreamStream::write_request(const RequestHead& head, const RequestForm& form) {
  head_request_ = head.method == "HEAD";
  tunnel_ = form.upgrade;
  const bool last = head.body == BodyKind::kNone && !tunnel_;
  head_submitted(last);
  const bool ended = connection_.state_ == Http2Upstream::State::kEnded;
  if (tunnel_ && head.method != "CONNECT" && !ended && !transport().session().peer_knows_tunnels()) {
    unsupported_ = true;
    return;
  }
  Http2Fields fields;
  fields.add_request(head, form);
  unsent_ = ended || !transport().session().send_request(*this, fields, last);
}

bool Http2UpstreamStream::opens_tunnel() const {
  const uint16_t status = text_->head.status;
  return tunnel_ && status >= 200 && status < 300;
}

void Http2UpstreamStream::head_arrived(bool last) {
  if (heads_.size() >= kMaxWaitingHeads) return session()->reset(*this, NGHTTP2_ENHANCE_YOUR_CALM);
  heads_.push_back(Arrived{std::move(head_block()), last});
  answered_ = true;
  head_waiter_.complete(transport().loop(), 0);
}

bool Http2UpstreamStream::take_head() {
  if (!heads_.empty()) {
    block_ = std::move(heads_.front().block);
    const bool last = heads_.front().last;
    heads_.erase(heads_.begin());
    const bool good = make_response(block_, last, head_request_, &text_->head) == ParseResult::kComplete;
    text_->head.major_version = 2;
    status_ = good ? HeadStatus::kComplete : HeadStatus::kBad;
    return true;
  }
  if (unsupported_) {
    status_ = HeadStatus::kNotImplemented;
    return true;
  }
  if (!unsent_ && !closed()) return false;
  status_ = closed() == Http2StreamEnd::kProtocol ? HeadStatus::kBad : HeadStatus::kClosed;
  return true;
}

bool Http2UpstreamStream::read_response(Operation& operation) {
  if (take_head()) return true;
  status_ = HeadStatus::kWaiting;
  head_waiter_.park(operation);
  return false;
}

HeadStatus Http2UpstreamStream::response_status() const {
  if (status_ == HeadStatus::kWaiting) const_cast<Http2UpstreamStream*>(this)->take_head();
  return status_;
}

void Http2UpstreamStream::closed_by(Http2StreamEnd end) {
  head_waiter_.complete(transport().loop(), 0);
  if (end != Http2StreamEnd::kComplete) reset_.complete(transport().loop(), 0);
}

Unanswered Http2UpstreamStream::unanswered() const {
  if (answered_ || unsupported_) return Unanswered::kFinal;
  if (unsent_ || closed() == Http2StreamEnd::kRefused) return Unanswered::kRefused;
  return closed() == Http2StreamEnd::kConnectionLost ? Unanswered::kStale : Unanswered::kFinal;
}

void Http2UpstreamStream::release(bool) {
  leave(NGHTTP2_NO_ERROR);
  Http2Upstream& connection = connection_;
  delete this;
  connection.stream_released();
}

}  // namespace weft::proxy
