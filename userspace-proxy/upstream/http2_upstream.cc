// Http2Upstream of http2_upstream.h.
#include "userspace-proxy/upstream/http2_upstream.h"

#include "userspace-proxy/http/http2_head.h"
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {
namespace {

// More streams would make one lost connection the end of too many exchanges.
constexpr uint32_t kMaxStreams = 100;

// A connection with streams on which nothing came for so long is asked whether it lives, and has as long as
// the second to answer (RFC 9113 §6.7).
constexpr uint64_t kQuietMs = 30'000;
constexpr uint64_t kPingMs = 10'000;

}  // namespace

Http2Upstream::Http2Upstream(UpstreamPool& pool, const UpstreamKey& key)
    : pool_(pool),
      key_(key),
      socket_(pool.loop()),
      input_(pool.buffers()),
      connector_(pool.loop(), pool.home()),
      transport_(pool.loop(), socket_, input_, Http2Session::Role::kClient, pool.http2_limits(), *this) {
  pool_.http2_opened();
}

Http2Upstream::~Http2Upstream() {
  if (state_ != State::kEnded) pool_.http2_closed();
}

void Http2Upstream::dial(const DialParameters& dial) {
  if (!connector_.start(connected_, socket_, key_.address, dial)) return;
  if (connector_.status() == ConnectStatus::kConnected) return connected();
  end();
}

void Http2Upstream::on_connected(int) {
  const ConnectStatus status = connector_.status();
  const bool good = status == ConnectStatus::kConnected;
  if (good) {
    connected();
  } else {
    unlink();
  }
  while (Http2Waiter* waiter = waiters_.pop_front()) waiter->http2_connected(good ? this : nullptr, status);
  if (!good) return end();
  if (streams_ == 0) pool_.loop().arm(timer_, pool_.limits().idle_ms);
}

void Http2Upstream::connected() {
  state_ = State::kReady;
  transport_.start();
}

bool Http2Upstream::has_room() const {
  if (state_ == State::kConnecting) return true;
  if (state_ != State::kReady || streams_ >= kMaxStreams) return false;
  return const_cast<Http2Transport&>(transport_).session().can_open_stream();
}

UpstreamStreamPtr Http2Upstream::open() {
  if (streams_++ == 0) pool_.loop().arm(timer_, kQuietMs);
  return UpstreamStreamPtr(new Http2UpstreamStream(*this, transport_));
}

void Http2Upstream::stream_released() {
  transport_.output_due();
  if (--streams_ > 0) return;
  if (state_ == State::kEnded) {
    pool_.loop().retire(std::unique_ptr<Retirable>(this));
  } else if (state_ == State::kDraining) {
    end();
  } else {
    pool_.loop().arm(timer_, pool_.limits().idle_ms);
  }
}

void Http2Upstream::drain() {
  if (state_ == State::kEnded) return;
  // Those who wait for it still get their stream.
  if (!waiters_.empty()) return;
  unlink();
  if (streams_ == 0) return end();
  state_ = State::kDraining;
}

void Http2Upstream::goaway_received() {
  if (state_ != State::kReady) return;
  state_ = State::kDraining;
  unlink();
  // Not now: the session is at work.
  if (streams_ == 0) pool_.loop().arm(timer_, 0);
}

void Http2Upstream::on_timer() {
  if (streams_ == 0) return end();
  if (heard_) {
    heard_ = ping_pending_ = false;
  } else if (ping_pending_) {
    return end();
  } else {
    ping_pending_ = true;
    transport_.session().send_ping();
    transport_.output_due();
  }
  pool_.loop().arm(timer_, ping_pending_ ? kPingMs : kQuietMs);
}

void Http2Upstream::transport_ended() { end(); }

// The streams learn it by their ends; the object stays until the last of them is released.
void Http2Upstream::end() {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  unlink();
  timer_.cancel();
  connector_.cancel();
  connected_.cancel();
  transport_.close();
  socket_.close();
  input_.clear();
  pool_.http2_closed();
  if (streams_ == 0) pool_.loop().retire(std::unique_ptr<Retirable>(this));
}

void Http2UpstreamStream::write_request(const RequestHead& head, const RequestForm& form) {
  head_request_ = head.method == "HEAD";
  Http2Fields fields;
  fields.add_request(head, head.scheme, form.fallback_host);
  const bool last = head.body == BodyKind::kNone;
  unsent_ = connection_.state_ == Http2Upstream::State::kEnded ||
            !transport().session().send_request(*this, fields, last);
  head_submitted(last);
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
    const bool good = make_response(block_, last, head_request_, &response_) == ParseResult::kComplete;
    response_.major_version = 2;
    status_ = good ? HeadStatus::kComplete : HeadStatus::kBad;
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

void Http2UpstreamStream::closed_by(Http2StreamEnd) {
  head_waiter_.complete(transport().loop(), 0);
  reset_.complete(transport().loop(), 0);
}

Unanswered Http2UpstreamStream::unanswered() const {
  if (answered_) return Unanswered::kFinal;
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
