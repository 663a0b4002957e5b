// Facts about field names that both versions of HTTP share: which belong to one connection, which may not
// come in a trailer section, what characters names have. Called by the codecs; case of names is ignored.
#pragma once

#include <string_view>
#include <vector>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// tchar of RFC 9110 §5.6.2.
bool is_token_char(char c);
bool is_token(std::string_view text);

// Fields of one connection, never forwarded (RFC 9110 §7.6.1, RFC 9113 §8.2.2); TE among them.
bool is_connection_field(std::string_view name);

// Named by a Connection field. Host and Content-Length frame and route the message; nobody may make us drop
// them.
bool listed_in_connection(const std::vector<Header>& headers, std::string_view name);

// Fields that frame, route or authorise must not come in a trailer (RFC 9110 §6.5.1).
bool forbidden_in_trailer(std::string_view name);

}  // namespace weft::proxy
