// detect_protocol: prefix match against the methods clients open a connection with; detect_declared_http:
// text is HTTP/1, and the codec judges it.
#include "userspace-proxy/http/protocol_detect.h"

#include <array>

namespace weft::proxy {
namespace {

constexpr std::array<std::string_view, 16> kMethods = {
    "GET ",     "HEAD ",     "POST ",   "PUT ",   "DELETE ", "OPTIONS ", "PATCH ",  "TRACE ",
    "CONNECT ", "PROPFIND ", "REPORT ", "MKCOL ", "COPY ",   "MOVE ",    "SEARCH ", "PURGE "};

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n";

// No line of text begins with these: TLS and other binary protocols do.
bool is_binary(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\r' && c != '\n') || byte >= 0x7f;
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
  if (first_bytes.empty()) return Detected::kNeedMore;
  if (first_bytes.starts_with(kHttp2Preface)) return Detected::kHttp2;
  if (kHttp2Preface.starts_with(first_bytes)) return Detected::kNeedMore;
  return is_binary(first_bytes.front()) ? Detected::kOther : Detected::kHttp1;
}

}  // namespace weft::proxy
