// Pump of pump.h. One step is: send what is there, else end, else receive.
#include "userspace-proxy/exchange/pump.h"

#include <charconv>

namespace weft::proxy {

void Pump::start(const Path& path, const Body& body, std::string_view prefix) {
  cancel();
  path_ = path;
  body_ = body;
  prefix_ = prefix;
  decoder_.start(body.kind, body.length);
  last_sent_ = false;
  bytes_ = taken_ = payload_ = 0;
  end_ = PumpEnd::kRunning;
  advance(0);
}

void Pump::cancel() {
  recv_.cancel();
  send_.cancel();
  more_.cancel();
  if (end_ == PumpEnd::kRunning) end_ = PumpEnd::kAborted;
}

void Pump::abort() {
  if (end_ != PumpEnd::kRunning) return;
  cancel();
  waiter_.wake();
}

void Pump::finish(PumpEnd end) {
  cancel();
  end_ = end;
  if (end == PumpEnd::kDone && body_.half_close) path_.sink->shutdown_write();
  observer_.pump_ended(*this);
  waiter_.wake();
}

void Pump::advance(int) {
  for (int i = 0; i < kMaxSteps; ++i) {
    if (gather()) {
      if (!path_.sink->send(send_, std::span<const iovec>(pieces_.data(), piece_count_))) return;
      if (!sent(send_.result)) return;
    } else if (decoder_.state() == BodyDecoder::State::kBad) {
      return finish(PumpEnd::kBadFraming);
    } else if (decoder_.state() == BodyDecoder::State::kDone) {
      return finish(PumpEnd::kDone);
    } else {
      if (!path_.source->recv(recv_, *path_.input)) return;
      if (!received(recv_.result)) return;
    }
  }
  loop_.next_turn(more_);
}

void Pump::on_received(int result) {
  if (received(result)) advance(0);
}

void Pump::on_sent(int result) {
  if (sent(result)) advance(0);
}

bool Pump::received(int result) {
  if (result > 0) return true;
  // After a FIN the decoder knows whether that was the end; a reset never is.
  if (result == 0 && decoder_.end_of_stream() == BodyDecoder::State::kDone) return true;
  finish(PumpEnd::kSourceReset);
  return false;
}

bool Pump::sent(int result) {
  if (result < 0) {
    finish(PumpEnd::kSinkReset);
    return false;
  }
  prefix_ = {};
  path_.input->consume(taken_);
  bytes_ += payload_;
  taken_ = payload_ = 0;
  return true;
}

void Pump::add(std::string_view piece) {
  if (piece.empty()) return;
  pieces_[piece_count_++] = iovec{const_cast<char*>(piece.data()), piece.size()};
}

bool Pump::gather() {
  piece_count_ = 0;
  add(prefix_);
  gather_payload();
  if (decoder_.state() == BodyDecoder::State::kDone && !last_sent_) gather_last_chunk();
  if (piece_count_ == 0 && taken_ > 0) {
    // Framing without payload: nothing to send for it.
    path_.input->consume(taken_);
    taken_ = 0;
  }
  return piece_count_ > 0;
}

// All payload runs of the input become one chunk on the way out: the same bytes, fewer frames.
void Pump::gather_payload() {
  if (decoder_.state() != BodyDecoder::State::kMore || path_.input->empty()) return;
  const size_t header_at = piece_count_;
  if (body_.chunked_out) ++piece_count_;
  std::string_view rest = path_.input->unread();
  // Room for the end of this chunk and the three pieces of the last one.
  while (!rest.empty() && decoder_.state() == BodyDecoder::State::kMore && piece_count_ + 4 < pieces_.size()) {
    const BodyDecoder::Step step = decoder_.next(rest);
    rest.remove_prefix(step.consumed);
    taken_ += step.consumed;
    payload_ += step.data.size();
    add(step.data);
  }
  if (!body_.chunked_out) return;
  if (payload_ == 0) {
    piece_count_ = header_at;
    return;
  }
  char* end = std::to_chars(chunk_header_.data(), chunk_header_.data() + chunk_header_.size() - 2, payload_, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  pieces_[header_at] = iovec{chunk_header_.data(), static_cast<size_t>(end - chunk_header_.data())};
  add("\r\n");
}

void Pump::gather_last_chunk() {
  last_sent_ = true;
  if (!body_.chunked_out) return;
  add("0\r\n");
  add(decoder_.trailers());
  add("\r\n");
}

}  // namespace weft::proxy
