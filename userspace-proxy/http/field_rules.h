// Facts about field names that both versions of HTTP share: which belong to one connection, which may not
// come in a trailer section, what characters names have. Called by the codecs; case of names is ignored.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

inline constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> table{};
  for (int c = 0; c < 128; ++c) {
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    table[static_cast<size_t>(c)] =
        alnum || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  }
  return table;
}();

// tchar of RFC 9110 §5.6.2.
inline bool is_token_char(char c) { return kTokenChars[static_cast<unsigned char>(c)]; }
bool is_token(std::string_view text);

// Some servers take "_" for "-": the one that was sent is the other to them. Of the same length in either
// case.
bool reads_as(std::string_view sent, std::string_view name);

// Fields of one connection, never forwarded (RFC 9110 §7.6.1, RFC 9113 §8.2.2); TE among them.
bool is_connection_field(std::string_view name);

// Named by a Connection field. Host and Content-Length frame and route the message; nobody may make us drop
// them.
bool listed_in_connection(const std::vector<Header>& headers, std::string_view name);

// Fields that frame, route or authorise must not come in a trailer (RFC 9110 §6.5.1).
bool forbidden_in_trailer(std::string_view name);

}  // namespace weft::proxy
