// BodyDecoder. We decode chunks ourselves and not with a library: llhttp 8.1 has known leniencies there, and
// payload is passed by run, not by callback.
#include "userspace-proxy/http/body_decoder.h"

#include <algorithm>

#include "userspace-proxy/http/field_rules.h"

namespace weft::proxy {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f; }

}  // namespace

void BodyDecoder::start(BodyKind kind, uint64_t length) {
  kind_ = kind;
  phase_ = Phase::kSize;
  left_ = kind == BodyKind::kLength ? length : 0;
  size_digits_ = extension_bytes_ = 0;
  trailer_line_ = trailer_bytes_ = 0;
  trailers_.clear();
  const bool empty = kind == BodyKind::kNone || (kind == BodyKind::kLength && length == 0);
  state_ = empty ? State::kDone : State::kMore;
}

BodyDecoder::Step BodyDecoder::take_payload(std::string_view in) {
  const size_t count = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
  left_ -= count;
  return Step{count, in.substr(0, count)};
}

BodyDecoder::Step BodyDecoder::next(std::string_view in) {
  if (state_ != State::kMore) return {};
  if (kind_ == BodyKind::kUntilClose) return Step{in.size(), in};
  if (kind_ == BodyKind::kLength) {
    const Step step = take_payload(in);
    if (left_ == 0) state_ = State::kDone;
    return step;
  }
  size_t used = 0;
  while (used < in.size() && state_ == State::kMore) {
    if (phase_ == Phase::kData) {
      Step step = take_payload(in.substr(used));
      step.consumed += used;
      if (left_ == 0) phase_ = Phase::kDataCr;
      return step;
    }
    chunk_byte(in[used++]);
  }
  return Step{used, {}};
}

void BodyDecoder::chunk_byte(char c) {
  switch (phase_) {
    case Phase::kSize:
      return size_byte(c);
    case Phase::kExtension:
      if (c == '\r') {
        phase_ = Phase::kSizeEnd;
      } else if (is_control(c) || ++extension_bytes_ > kMaxExtensionBytes) {
        bad();
      }
      return;
    case Phase::kSizeEnd:
      if (c != '\n') return bad();
      phase_ = left_ > 0 ? Phase::kData : Phase::kTrailer;
      return;
    case Phase::kDataCr:
      if (c != '\r') return bad();
      phase_ = Phase::kDataLf;
      return;
    case Phase::kDataLf:
      if (c != '\n') return bad();
      phase_ = Phase::kSize;
      size_digits_ = 0;
      left_ = 0;
      return;
    case Phase::kTrailer:
      return trailer_byte(c);
    case Phase::kData:
      return;
  }
}

void BodyDecoder::size_byte(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0) {
    // 15 digits cannot overflow 64 bits.
    if (++size_digits_ > 15) return bad();
    left_ = left_ * 16 + static_cast<uint64_t>(digit);
    return;
  }
  if (size_digits_ == 0) return bad();
  if (c == '\r') {
    phase_ = Phase::kSizeEnd;
  } else if (c == ';') {
    phase_ = Phase::kExtension;
  } else {
    bad();
  }
}

void BodyDecoder::trailer_byte(char c) {
  if (++trailer_bytes_ > kMaxTrailerBytes) return bad();
  trailers_.push_back(c);
  if (c == '\n') end_trailer_line();
}

void BodyDecoder::end_trailer_line() {
  const std::string_view line = std::string_view(trailers_).substr(trailer_line_);
  if (!line.ends_with("\r\n")) return bad();
  if (line.size() == 2) {
    trailers_.resize(trailer_line_);
    state_ = State::kDone;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  if (std::any_of(line.begin(), line.end() - 2, is_control)) return bad();
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return bad();
  if (forbidden_in_trailer(name)) {
    trailers_.resize(trailer_line_);
  } else {
    trailer_line_ = trailers_.size();
  }
}

BodyDecoder::State BodyDecoder::end_of_stream() {
  if (state_ == State::kMore) state_ = kind_ == BodyKind::kUntilClose ? State::kDone : State::kBad;
  return state_;
}

}  // namespace weft::proxy
