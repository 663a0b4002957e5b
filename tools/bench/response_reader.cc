// See response_reader.h. Message framing follows RFC 9112 section 6.3 as far as a GET or POST client needs
// it.
#include "tools/bench/response_reader.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace weft::bench {
namespace {

constexpr size_t kMaxHead = 64 * 1024;
constexpr size_t kMaxBodyStart = 256;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

}  // namespace

void ResponseReader::reset() {
  std::string wanted = std::move(wanted_header_);
  *this = ResponseReader(std::move(wanted));
}

ResponseReader::State ResponseReader::feed(std::string_view bytes) {
  while (!bytes.empty() && state_ != State::kBad) {
    started_ = true;
    switch (state_) {
      case State::kHead:
        bytes = feed_head(bytes);
        break;
      case State::kFixedBody:
        bytes = feed_fixed(bytes, State::kDone);
        break;
      case State::kChunkSize:
        bytes = feed_chunk_size(bytes);
        break;
      case State::kChunkData:
        bytes = feed_fixed(bytes, State::kChunkSize);
        break;
      case State::kTrailer:
        bytes = feed_trailer(bytes);
        break;
      case State::kUntilClose:
        take_body(bytes);
        bytes = {};
        break;
      case State::kDone:
      case State::kBad:
        state_ = State::kBad;
        break;
    }
  }
  return state_;
}

ResponseReader::State ResponseReader::end_of_stream() {
  keep_alive_ = false;
  if (state_ == State::kUntilClose) state_ = State::kDone;
  return state_;
}

std::string_view ResponseReader::feed_head(std::string_view bytes) {
  const size_t old = line_.size();
  line_.append(bytes);
  const size_t end = line_.find("\r\n\r\n", old < 3 ? 0 : old - 3);
  if (end == std::string::npos) {
    if (line_.size() > kMaxHead) state_ = State::kBad;
    return {};
  }
  const size_t used = end + 4 - old;
  line_.resize(end + 2);
  const bool good = parse_head();
  line_.clear();
  if (!good) {
    state_ = State::kBad;
    return {};
  }
  return bytes.substr(used);
}

bool ResponseReader::parse_head() {
  std::string_view head = line_;
  const std::string_view first = head.substr(0, head.find("\r\n"));
  if (first.size() < 12 || first.substr(0, 7) != "HTTP/1.") return false;
  const auto status = parse_integer<int>(first.substr(9, 3));
  if (!status || *status < 100) return false;
  status_ = *status;
  keep_alive_ = first[7] == '1';
  head.remove_prefix(first.size() + 2);
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    if (!parse_field(head.substr(0, end))) return false;
    head.remove_prefix(end + 2);
  }
  if (status_ < 200) {  // interim response: the real head follows
    state_ = State::kHead;
  } else if (status_ == 204 || status_ == 304) {
    state_ = State::kDone;
  } else if (chunked_) {
    state_ = State::kChunkSize;
  } else if (has_length_) {
    state_ = remaining_ == 0 ? State::kDone : State::kFixedBody;
  } else {
    state_ = State::kUntilClose;
    keep_alive_ = false;
  }
  return true;
}

bool ResponseReader::parse_field(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string name = lower(line.substr(0, colon));
  const std::string_view value = trim(line.substr(colon + 1));
  if (name == "content-length") {
    const auto length = parse_integer<uint64_t>(value);
    if (!length) return false;
    remaining_ = *length;
    has_length_ = true;
  } else if (name == "transfer-encoding") {
    chunked_ = lower(value) == "chunked";
  } else if (name == "connection") {
    if (lower(value) == "close") keep_alive_ = false;
    if (lower(value) == "keep-alive") keep_alive_ = true;
  }
  if (!wanted_header_.empty() && name == wanted_header_) header_value_ = std::string(value);
  return true;
}

void ResponseReader::take_body(std::string_view bytes) {
  body_bytes_ += bytes.size();
  if (body_start_.size() < kMaxBodyStart)
    body_start_.append(bytes.substr(0, kMaxBodyStart - body_start_.size()));
}

std::string_view ResponseReader::feed_fixed(std::string_view bytes, State next) {
  const size_t take = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
  std::string_view data = bytes.substr(0, take);
  remaining_ -= take;
  // remaining_ of a chunk counts its closing CRLF, which is not body.
  if (state_ == State::kChunkData && remaining_ < 2) {
    const size_t line_end = std::min<size_t>(2 - static_cast<size_t>(remaining_), data.size());
    data.remove_suffix(line_end);
  }
  take_body(data);
  if (remaining_ == 0) state_ = next;
  return bytes.substr(take);
}

std::string_view ResponseReader::feed_line(std::string_view bytes, bool* complete) {
  const size_t end = bytes.find('\n');
  *complete = end != std::string_view::npos;
  line_.append(bytes.substr(0, end));
  if (line_.size() > kMaxHead) state_ = State::kBad;
  return *complete ? bytes.substr(end + 1) : std::string_view();
}

std::string_view ResponseReader::feed_chunk_size(std::string_view bytes) {
  bool complete = false;
  const std::string_view rest = feed_line(bytes, &complete);
  if (!complete) return rest;
  const std::string_view size_text = trim(std::string_view(line_).substr(0, line_.find(';')));
  const auto size = parse_integer<uint64_t>(size_text, 16);
  line_.clear();
  if (!size) {
    state_ = State::kBad;
  } else if (*size == 0) {
    state_ = State::kTrailer;
  } else {
    remaining_ = *size + 2;
    state_ = State::kChunkData;
  }
  return rest;
}

std::string_view ResponseReader::feed_trailer(std::string_view bytes) {
  bool complete = false;
  const std::string_view rest = feed_line(bytes, &complete);
  if (!complete) return rest;
  if (trim(line_).empty()) state_ = State::kDone;
  line_.clear();
  return rest;
}

}  // namespace weft::bench
