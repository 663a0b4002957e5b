// SocketSource and SocketSink of socket_stream.h.
#include "userspace-proxy/http/socket_stream.h"

#include <charconv>

namespace weft::proxy {

static_assert(Pieces::kMax <= Socket::kMaxPieces, "what a sink gathers must fit one send");

void SocketSource::start(BodyKind kind, uint64_t length) {
  stop();
  decoder_.start(kind, length);
  taken_ = 0;
  state_ = decoder_.state() == BodyDecoder::State::kDone ? State::kDone : State::kMore;
}

void SocketSource::gather(Pieces& pieces) {
  std::string_view rest = input_.unread();
  while (!rest.empty() && decoder_.state() == BodyDecoder::State::kMore && !pieces.full()) {
    const BodyDecoder::Step step = decoder_.next(rest);
    rest.remove_prefix(step.consumed);
    taken_ += step.consumed;
    pieces.add(step.data);
  }
  // Framing without payload: nobody will accept it.
  if (pieces.bytes() == 0) accepted();
  if (state_ != State::kMore) return;
  if (decoder_.state() == BodyDecoder::State::kDone) state_ = State::kDone;
  if (decoder_.state() == BodyDecoder::State::kBad) state_ = State::kBadFraming;
}

void SocketSource::accepted() {
  if (taken_ > 0) input_.consume(taken_);
  taken_ = 0;
}

bool SocketSource::wait(Operation& operation) {
  if (socket_.recv(recv_, input_)) {
    received(recv_.result);
    return true;
  }
  waiting_.park(operation);
  return false;
}

// Bytes wait in the input for the next gather(). After a FIN the decoder knows whether that was the end; a
// reset never is.
void SocketSource::received(int result) {
  if (result > 0) return;
  const bool ended = result == 0 && decoder_.end_of_stream() == BodyDecoder::State::kDone;
  state_ = ended ? State::kDone : State::kReset;
}

void SocketSource::on_received(int result) {
  received(result);
  waiting_.run();
}

std::span<const Header> SocketSource::trailers() {
  trailers_.clear();
  std::string_view rest = decoder_.trailers();
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    const size_t colon = line.find(':');
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    trailers_.push_back(Header{line.substr(0, colon), value});
    rest.remove_prefix(end + 2);
  }
  return trailers_;
}

void SocketSink::start(std::string_view head, Framing framing, Delivery delivery) {
  head_ = head;
  framing_ = framing;
  delivery_ = delivery;
  whole_ = false;
}

// All payload at hand becomes one chunk: the same bytes, fewer frames.
void SocketSink::frame_chunks(Pieces& pieces, bool last, std::span<const Header> trailers) {
  const bool payload = pieces.bytes() > 0;
  if (payload) {
    char* begin = chunk_header_.data();
    char* end = std::to_chars(begin, begin + chunk_header_.size() - 2, pieces.bytes(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    pieces.frame_front(std::string_view(begin, static_cast<size_t>(end - begin)));
  }
  if (!last) {
    if (payload) pieces.frame_back("\r\n");
    return;
  }
  if (trailers.empty()) return pieces.frame_back(payload ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
  trailer_text_ = payload ? "\r\n0\r\n" : "0\r\n";
  for (const Header& field : trailers) {
    trailer_text_.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  trailer_text_.append("\r\n");
  pieces.frame_back(trailer_text_);
}

bool SocketSink::send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) {
  if (framing_ == Framing::kChunked) frame_chunks(pieces, last, trailers);
  if (!head_.empty()) pieces.frame_front(head_);
  head_ = {};
  const bool done = pieces.empty() || (delivery_ == Delivery::kPosted && last && socket_.post(pieces.all()));
  if (!done) return socket_.send(operation, pieces.all());
  operation.result = 0;
  return true;
}

void SocketSink::finished() {
  whole_ = true;
  if (framing_ == Framing::kByteStream) socket_.shutdown_write();
}

}  // namespace weft::proxy
