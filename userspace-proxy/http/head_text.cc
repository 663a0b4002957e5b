// HeadText: line structure of an HTTP/1 head (RFC 9112 §2.2, §5.2).
#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {
namespace {

// Empty lines before a start line are to be ignored (RFC 9112 §2.2); more than a few are an attack.
constexpr size_t kMaxBlankLines = 4;

// Controls but the horizontal tab, which white space may be (RFC 9110 §5.5): so also bare CR and NUL.
size_t count_controls(std::string_view text) {
  size_t count = 0;
  while (!text.empty()) {
    // In parts whose count fits a byte: the compiler makes wide comparisons of it.
    const std::string_view part = text.substr(0, 128);
    uint8_t found = 0;
    for (const char c : part) {
      const auto byte = static_cast<unsigned char>(c);
      found = static_cast<uint8_t>(found + ((byte < 0x20 && byte != '\t') || byte == 0x7f));
    }
    count += found;
    text.remove_prefix(part.size());
  }
  return count;
}

bool has_controls(std::string_view line) { return count_controls(line) > 0; }

}  // namespace

// The usual head comes in one piece: looked at where it is, copied once. False when this one is unusual in
// any way; then nothing has happened, and the way by lines says what it is.
bool HeadText::take_whole(std::string_view in, size_t max_bytes, size_t* consumed) {
  size_t at = 0;
  size_t lines = 0;
  while (true) {
    const size_t newline = in.find('\n', at);
    if (newline == std::string_view::npos || newline == at || newline >= max_bytes) return false;
    if (in[newline - 1] != '\r') return false;
    ++lines;
    if (newline == at + 1) break;
    if (in[at] == ' ' || in[at] == '\t') return false;
    at = newline + 1;
  }
  if (lines < 2 || lines > kMaxHeaders + 2) return false;
  const std::string_view head = in.substr(0, at + 2);
  // CR and LF of each line, and no other.
  if (count_controls(head) != 2 * lines) return false;
  text_ = head;
  *consumed = head.size();
  return true;
}

ParseResult HeadText::feed(std::string_view in, size_t max_bytes, size_t* consumed) {
  *consumed = 0;
  if (text_.empty() && blank_lines_ == 0 && take_whole(in, max_bytes, consumed))
    return ParseResult::kComplete;
  while (*consumed < in.size()) {
    const std::string_view rest = in.substr(*consumed);
    const size_t newline = rest.find('\n');
    const size_t take = newline == std::string_view::npos ? rest.size() : newline + 1;
    if (text_.size() + take > max_bytes) return ParseResult::kTooLarge;
    text_.append(rest.data(), take);
    *consumed += take;
    if (newline == std::string_view::npos) return ParseResult::kNeedMore;
    const ParseResult result = end_line();
    if (result != ParseResult::kNeedMore) return result;
  }
  return ParseResult::kNeedMore;
}

ParseResult HeadText::end_line() {
  const std::string_view line = std::string_view(text_).substr(line_start_);
  if (!line.ends_with("\r\n") || has_controls(line.substr(0, line.size() - 2))) return ParseResult::kBad;
  if (line.size() == 2) {
    if (line_start_ > 0) return ParseResult::kComplete;
    text_.clear();
    return ++blank_lines_ > kMaxBlankLines ? ParseResult::kBad : ParseResult::kNeedMore;
  }
  if (line.front() == ' ' || line.front() == '\t') return ParseResult::kBad;
  if (++lines_ > kMaxHeaders + 1) return ParseResult::kTooLarge;
  line_start_ = text_.size();
  return ParseResult::kNeedMore;
}

void HeadText::clear() {
  text_.clear();
  line_start_ = lines_ = blank_lines_ = 0;
}

void HeadText::shrink(size_t limit) {
  if (text_.capacity() > limit) std::string().swap(text_);
}

}  // namespace weft::proxy
