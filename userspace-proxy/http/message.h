// A request or response head as the codec hands it on: views into the exchange's own arena, valid until the
// exchange ends. Nothing here does I/O or knows a socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::proxy {

struct Header {
  std::string_view name;   // as received; compare with equals_ignore_case
  std::string_view value;  // leading and trailing white space removed
};

// Of two texts of the same length; field names are ASCII tokens (RFC 9110 §5.1), so locale plays no part.
bool same_letters(std::string_view a, std::string_view b);
// Most names differ in length already.
inline bool equals_ignore_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && same_letters(a, b);
}

// How the body's end is known (RFC 9112 §6.3). kChunked is any body without a known length that says itself
// where it ends: chunks, or HTTP/2 frames.
enum class BodyKind : uint8_t { kNone, kLength, kChunked, kUntilClose };

struct RequestHead {
  std::string_view method;
  // As received: origin form "/a?b", absolute form, "*", or authority form for CONNECT. After
  // normalise_target (http/path.h) as it goes upstream: origin form with a normal path, "*", or authority
  // form.
  std::string_view target;
  // From the target's absolute form, else from Host; with port if the client sent one. Empty when absent
  // (HTTP/1.0).
  std::string_view authority;
  // Without query; "/" for an empty path, empty for CONNECT.
  std::string_view path;
  std::string_view query;  // without "?"
  // "http" or "https": of the absolute form, of HTTP/2's :scheme, else "http".
  std::string_view scheme = "http";
  // Of extended CONNECT (RFC 8441), such as "websocket"; empty otherwise. HTTP/1 says it with Upgrade.
  std::string_view protocol;
  uint8_t major_version = 1;  // 1 or 2
  uint8_t minor_version = 1;
  bool keep_alive = true;
  bool expect_continue = false;
  BodyKind body = BodyKind::kNone;
  uint64_t content_length = 0;
  std::vector<Header> headers;  // in order, duplicates kept, Host included
  // Where the target had to be rewritten: target, path and query are views of this then. Keeps its memory.
  std::string rewritten;

  // First value of that name, or nullopt.
  std::optional<std::string_view> find(std::string_view name) const;
};

// What the next hop needs to know beyond the head itself.
struct RequestForm {
  std::string_view
      fallback_host;     // for a request without Host (HTTP/1.0): we speak HTTP/1.1 or later upstream
  bool upgrade = false;  // the client wants a tunnel: keep Upgrade, or its equivalent
  std::string_view websocket_key;  // to HTTP/1, of a client that has sent none
};

struct ResponseHead {
  uint16_t status = 0;
  std::string_view reason;
  uint8_t major_version = 1;
  uint8_t minor_version = 1;
  bool keep_alive = true;
  BodyKind body = BodyKind::kNone;
  uint64_t content_length = 0;
  std::vector<Header> headers;

  std::optional<std::string_view> find(std::string_view name) const;
};

}  // namespace weft::proxy
