// detect_protocol: prefix match against the methods clients open a connection with; detect_declared_http:
// anything that begins with a token and a space.
#include "userspace-proxy/http/protocol_detect.h"

#include <array>

namespace weft::proxy {
namespace {

constexpr std::array<std::string_view, 16> kMethods = {
    "GET ",     "HEAD ",     "POST ",   "PUT ",   "DELETE ", "OPTIONS ", "PATCH ",  "TRACE ",
    "CONNECT ", "PROPFIND ", "REPORT ", "MKCOL ", "COPY ",   "MOVE ",    "SEARCH ", "PURGE "};

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n";
// Longer than any registered method; a longer run of letters is no request line.
constexpr size_t kLongestMethod = 32;

// tchar of RFC 9110 §5.6.2.
bool is_token_character(char c) {
  const bool letter_or_digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return letter_or_digit || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

Detected detect_protocol(std::string_view first_bytes) {
  if (first_bytes.starts_with(kHttp2Preface)) return Detected::kHttp2;
  bool possible = kHttp2Preface.starts_with(first_bytes);
  for (const std::string_view method : kMethods) {
    if (first_bytes.starts_with(method)) return Detected::kHttp1;
    possible = possible || method.starts_with(first_bytes);
  }
  return possible ? Detected::kNeedMore : Detected::kOther;
}

Detected detect_declared_http(std::string_view first_bytes) {
  // An empty line or two before the request line is allowed (RFC 9112 §2.2).
  const size_t start = first_bytes.find_first_not_of("\r\n");
  if (start == std::string_view::npos) return first_bytes.size() > 4 ? Detected::kOther : Detected::kNeedMore;
  const std::string_view line = first_bytes.substr(start);
  if (line.starts_with(kHttp2Preface)) return Detected::kHttp2;
  if (kHttp2Preface.starts_with(line)) return Detected::kNeedMore;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ' ' && i > 0) return Detected::kHttp1;
    if (i == kLongestMethod || !is_token_character(line[i])) return Detected::kOther;
  }
  return Detected::kNeedMore;
}

}  // namespace weft::proxy
