// Http2Message of http2_message.h.
#include "userspace-proxy/http/http2_message.h"

#include <cerrno>

#include "userspace-proxy/http/http2_head.h"

namespace weft::proxy {

Http2Message::Waiting::~Waiting() {
  if (operation_ != nullptr) operation_->cancel();
}

void Http2Message::Waiting::complete(EventLoop& loop, int result) {
  Operation* operation = operation_;
  if (operation == nullptr) return;
  operation->unpark();
  operation->result = result;
  loop.soon(*operation);
}

void Http2Message::gather(Pieces& pieces) { gathered_ = queue_.gather(pieces); }

void Http2Message::accepted() {
  queue_.drop(gathered_);
  if (attached()) {
    session()->accepted(*this, static_cast<uint32_t>(gathered_));
    if (session()->wants_output()) transport_.output_due();
  }
  gathered_ = 0;
}

BodySource::State Http2Message::state() const {
  if (gathered_ < queue_.bytes()) return State::kMore;
  if (bad_trailers_) return State::kBadFraming;
  if (received_end_) return State::kDone;
  if (!closed_) return State::kMore;
  return *closed_ == Http2StreamEnd::kProtocol ? State::kBadFraming : State::kReset;
}

bool Http2Message::wait(Operation& operation) {
  if (queue_.bytes() > 0 || state() != State::kMore) return true;
  reader_.park(operation);
  return false;
}

bool Http2Message::send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) {
  transport_.output_due();
  operation.result = 0;
  if (head_was_last_) return true;
  if (!attached()) {
    operation.result = -EPIPE;
    return true;
  }
  // A head alone is with the session already.
  if (pieces.bytes() == 0 && !last) return true;
  session()->offer(*this, pieces.all(), last, trailers);
  writer_.park(operation);
  return false;
}

void Http2Message::leave(uint32_t code) {
  if (!attached()) return;
  if (code != NGHTTP2_NO_ERROR) session()->reset(*this, code);
  session()->detach(*this);
  transport_.output_due();
}

void Http2Message::head_received(FieldBlock& block, bool last) {
  std::swap(head_, block);
  received_end_ = last;
  head_arrived(last);
}

void Http2Message::trailers_received(FieldBlock& block) {
  std::swap(trailer_block_, block);
  bad_trailers_ = !make_trailers(trailer_block_, &trailers_);
  end_received();
}

void Http2Message::data_received(std::string_view bytes) {
  queue_.append(bytes);
  reader_.complete(transport_.loop(), 0);
}

void Http2Message::end_received() {
  received_end_ = true;
  reader_.complete(transport_.loop(), 0);
}

void Http2Message::payload_taken() { writer_.complete(transport_.loop(), 0); }

void Http2Message::stream_closed(Http2StreamEnd end) {
  closed_ = end;
  reader_.complete(transport_.loop(), 0);
  writer_.complete(transport_.loop(), -EPIPE);
  closed_by(end);
}

}  // namespace weft::proxy
