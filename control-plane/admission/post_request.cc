// See post_request.h.
#include "control-plane/admission/post_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr std::string_view kEnd = "\r\n\r\n";
constexpr std::string_view kLine = "\r\n";

// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kMarks.find(c) != kMarks.npos;
  });
}

// RFC 9110, 5.5, without obs-text.
bool is_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

PostRequest::State PostRequest::refuse(int status) {
  status_ = status;
  body_.clear();
  return state_ = State::kRefused;
}

PostRequest::State PostRequest::feed(std::string_view bytes) {
  if (state_ == State::kHead) {
    // The end may lie across two pieces.
    const size_t from = head_.size() < kEnd.size() ? 0 : head_.size() - kEnd.size();
    const size_t known = head_.size();
    constexpr size_t kMost = kMaxHead + kEnd.size();
    head_.append(bytes.substr(0, kMost - known));
    const size_t end = head_.find(kEnd, from);
    if (end == head_.npos) return head_.size() == kMost ? refuse(431) : state_;
    bytes.remove_prefix(end + kEnd.size() - known);
    head_.resize(end);
    if (read_head(head_) != State::kBody) return state_;
  }
  if (state_ == State::kDone && !bytes.empty()) return refuse(400);
  if (state_ != State::kBody) return state_;
  if (bytes.size() > length_ - body_.size()) return refuse(400);
  body_.append(bytes);
  return state_ = body_.size() == length_ ? State::kDone : State::kBody;
}

PostRequest::State PostRequest::read_head(std::string_view head) {
  size_t end = std::min(head.find(kLine), head.size());
  if (!read_line(head.substr(0, end))) return state_;
  while (end < head.size()) {
    head.remove_prefix(end + kLine.size());
    end = std::min(head.find(kLine), head.size());
    if (!read_field(head.substr(0, end))) return state_;
  }
  if (!has_host_) return refuse(400);
  if (!has_length_) return refuse(411);
  return state_ = State::kBody;
}

bool PostRequest::read_line(std::string_view line) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || first == last) return refuse(400), false;
  const std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || !version.starts_with("HTTP/")) return refuse(400), false;
  if (version != "HTTP/1.1") return refuse(505), false;
  if (method != "POST") return refuse(405), false;
  const bool visible = std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!visible || !target.starts_with('/')) return refuse(400), false;
  path_ = target.substr(0, target.find('?'));
  return true;
}

bool PostRequest::read_field(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return refuse(400), false;
  const std::string name = absl::AsciiStrToLower(to_absl(line.substr(0, colon)));
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!is_value(value)) return refuse(400), false;
  if (name == "host") return std::exchange(has_host_, true) ? (refuse(400), false) : true;
  if (name == "content-length") return read_length(value);
  // Its length is known to whoever has it whole.
  if (name == "transfer-encoding") return refuse(411), false;
  if (name == "expect") return refuse(417), false;
  return true;
}

bool PostRequest::read_length(std::string_view value) {
  constexpr size_t kMostDigits = 12;
  const bool digits = std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (value.empty() || !digits || value.size() > kMostDigits || std::exchange(has_length_, true))
    return refuse(400), false;
  size_t length = 0;
  for (const char c : value) length = length * 10 + static_cast<size_t>(c - '0');
  if (length > max_body_) return refuse(413), false;
  length_ = length;
  return true;
}

}  // namespace weft::control_plane
