// Bytes of ClientHellos for tests: enough of TLS to name a server.
#pragma once

#include <string>
#include <string_view>

namespace weft::proxy {

inline std::string big_endian(size_t number, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<char>(number >> shift));
  return out;
}

inline std::string in_record(std::string_view payload) {
  return std::string("\x16\3\1", 3) + big_endian(payload.size(), 2) + std::string(payload);
}

inline std::string as_handshake(std::string_view body) {
  return std::string("\1", 1) + big_endian(body.size(), 3) + std::string(body);
}

// A ClientHello that asks for `name`; empty: for none, with another extension.
inline std::string client_hello(std::string_view name) {
  const std::string entry = std::string("\0", 1) + big_endian(name.size(), 2) + std::string(name);
  const std::string list = big_endian(entry.size(), 2) + entry;
  std::string extensions = std::string("\0\x17\0\0", 4);
  if (!name.empty()) extensions += std::string("\0\0", 2) + big_endian(list.size(), 2) + list;
  return in_record(as_handshake(std::string("\3\3", 2) + std::string(32, 'r') +
                                std::string("\0\0\2\x13\1\1\0", 7) + big_endian(extensions.size(), 2) +
                                extensions));
}

}  // namespace weft::proxy
