// Http1Upstream of http1_upstream.h.
#include "userspace-proxy/upstream/http1_upstream.h"

#include <algorithm>

#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

Http1Upstream::Http1Upstream(EventLoop& loop, BufferPool& buffers, UpstreamPool& pool,
                             UpstreamPoolEntry& entry)
    : pool_(pool),
      entry_(entry),
      socket_(loop),
      input_(buffers, &entry.use->buffered_bytes),
      reader_(loop, socket_, input_),
      source_(socket_, input_),
      sink_(socket_),
      born_(loop.now()) {
  ++pool_.open_;
  ++entry_.open;
  if (entry_.terms != nullptr) entry_.terms->counts->connections.take(0);
}

Http1Upstream::~Http1Upstream() {
  if (text_ != nullptr) pool_.texts_.give(std::move(text_));
  --pool_.open_;
  --entry_.open;
  if (entry_.terms != nullptr) entry_.terms->counts->connections.give();
}

void Http1Upstream::write_request(const RequestHead& head, const RequestForm& form) {
  if (text_ == nullptr) text_ = pool_.texts_.take();
  head_request_ = head.method == "HEAD";
  answered_ = tunnel_ = false;
  ++requests_;
  connect_ = head.method == "CONNECT";
  upgrade_ = form.upgrade && !connect_;
  text_->out.clear();
  RequestForm written{.fallback_host = form.fallback_host, .upgrade = upgrade_};
  keyed_ = upgrade_ && head.protocol == kWebSocket && !head.find("sec-websocket-key");
  if (keyed_) {
    key_ = make_websocket_key();
    written.websocket_key = std::string_view(key_.data(), key_.size());
  }
  write_request_head(head, written, &text_->out);
  sink_.start(text_->out,
              head.body == BodyKind::kChunked ? SocketSink::Framing::kChunked : SocketSink::Framing::kPlain,
              SocketSink::Delivery::kPosted);
}

bool Http1Upstream::read_response(Operation& operation) {
  if (reader_.start(head_, text_->in, pool_.limits_.max_head_bytes, 0)) {
    parse_head();
    return true;
  }
  status_ = HeadStatus::kWaiting;
  waiting_.park(operation);
  return false;
}

void Http1Upstream::on_head(int) {
  parse_head();
  waiting_.run();
}

void Http1Upstream::parse_head() {
  status_ = reader_.status();
  if (status_ != HeadStatus::kComplete) return;
  answered_ = true;
  if (parse_response(text_->in.text(), head_request_, &text_->head) != ParseResult::kComplete) {
    status_ = HeadStatus::kBad;
    return;
  }
  source_.start(text_->head.body, text_->head.content_length);
}

Unanswered Http1Upstream::unanswered() const {
  const bool silent = status_ == HeadStatus::kClosed && !answered_ && !text_->in.started();
  return silent && served_ ? Unanswered::kStale : Unanswered::kFinal;
}

bool Http1Upstream::opens_tunnel() const {
  const uint16_t status = text_->head.status;
  if (!upgrade_) return connect_ && status >= 200 && status < 300;
  if (!keyed_ || status != 101) return status == 101;
  const WebSocketAccept accept = websocket_accept(std::string_view(key_.data(), key_.size()));
  return text_->head.find("sec-websocket-accept") == std::string_view(accept.data(), accept.size());
}

void Http1Upstream::start_tunnel() {
  tunnel_ = true;
  source_.start(BodyKind::kUntilClose, 0);
  sink_.start({}, SocketSink::Framing::kByteStream);
}

bool Http1Upstream::reusable() const {
  if (status_ != HeadStatus::kComplete || tunnel_ || !sink_.whole() || !source_.consumed()) return false;
  if (entry_.terms != nullptr) {
    const uint32_t most = entry_.terms->settings->max_requests_per_connection;
    if ((most > 0 && requests_ >= most) || is_over_age() || entry_.terms->over) return false;
  }
  const ResponseHead& response = text_->head;
  return response.status >= 200 && response.keep_alive && response.body != BodyKind::kUntilClose &&
         input_.empty();
}

bool Http1Upstream::is_over_age() const {
  const uint64_t most = entry_.terms == nullptr ? 0 : entry_.terms->settings->max_duration_ms;
  return most > 0 && pool_.loop_.now() - born_ >= most * kNsPerMs;
}

uint64_t Http1Upstream::idle_ms() const {
  const uint64_t idle = pool_.idle_ms(entry_.terms.get());
  const uint64_t most = entry_.terms == nullptr ? 0 : entry_.terms->settings->max_duration_ms;
  const uint64_t age = (pool_.loop_.now() - born_) / kNsPerMs;
  return most == 0 ? idle : std::min(idle, most - std::min(most, age));
}

void Http1Upstream::release(bool reset) {
  reader_.cancel();
  source_.stop();
  if (reset) socket_.reset();
  if (reset || !reusable()) return pool_.discard(this);
  served_ = true;
  pool_.texts_.give(std::move(text_));
  pool_.give(this);
}

void Http1Upstream::on_idle_timer() {
  // In use: armed again when it is idle again.
  if (!linked()) return;
  const MonotonicNs now = pool_.loop_.now();
  if (now >= idle_until_) return pool_.remove_idle(*this);
  pool_.loop_.arm(idle_, (idle_until_ - now) / kNsPerMs + 1);
}

// Only ever runs while idle: take() ends the watch.
void Http1Upstream::on_readable(int) { pool_.remove_idle(*this); }

}  // namespace weft::proxy
