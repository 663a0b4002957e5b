// The server name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), read without decrypting or answering
// anything. Called by the session for ports that are routed by name; bounded, strict, no I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::proxy {

enum class HelloStatus : uint8_t {
  kNeedMore,
  // It is a ClientHello; it may name no server.
  kComplete,
  // Another protocol, or a handshake that no TLS server would take.
  kNotTls,
};

// What a ClientHello takes at most, in its records: post-quantum key shares are some kilobytes.
inline constexpr size_t kMaxHelloBytes = 16 * 1024;

// `bytes`: all that the client has sent. `server_name` is set when the status is kComplete: lower case,
// without a last dot; empty when the client names none. A name that is no host name is kNotTls.
HelloStatus read_client_hello(std::string_view bytes, std::string* server_name);

// No TLS client begins otherwise: what does is no ClientHello, whatever follows.
inline bool begins_as_tls(std::string_view bytes) { return bytes.starts_with('\x16'); }

}  // namespace weft::proxy
