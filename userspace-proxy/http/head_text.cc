// HeadText: line structure of an HTTP/1 head (RFC 9112 §2.2, §5.2).
#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {
namespace {

// Empty lines before a start line are to be ignored (RFC 9112 §2.2); more than a few are an attack.
constexpr size_t kMaxBlankLines = 4;

// Controls but the horizontal tab, which white space may be (RFC 9110 §5.5): so also bare CR and NUL.
bool has_controls(std::string_view line) {
  bool found = false;
  // No early end: the compiler makes one wide comparison of it.
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    found |= (byte < 0x20 && byte != '\t') || byte == 0x7f;
  }
  return found;
}

}  // namespace

ParseResult HeadText::feed(std::string_view in, size_t max_bytes, size_t* consumed) {
  *consumed = 0;
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
