// detect_protocol: prefix match against the methods clients open a connection with.
#include "userspace-proxy/http/protocol_detect.h"

#include <array>

namespace weft::proxy {
namespace {

constexpr std::array<std::string_view, 16> kMethods = {
    "GET ",      "HEAD ",  "POST ",  "PUT ",  "DELETE ", "OPTIONS ", "PATCH ",  "TRACE ",
    "CONNECT ",  "PROPFIND ", "REPORT ", "MKCOL ", "COPY ",   "MOVE ",    "SEARCH ", "PURGE "};

}  // namespace

Detected detect_protocol(std::string_view first_bytes) {
  bool possible = false;
  for (const std::string_view method : kMethods) {
    if (first_bytes.starts_with(method)) return Detected::kHttp1;
    possible = possible || method.starts_with(first_bytes);
  }
  return possible ? Detected::kNeedMore : Detected::kOther;
}

}  // namespace weft::proxy
