// The way from HTTP/1.1 to HTTP/2 on one connection, "Upgrade: h2c" (RFC 7540 §3.2; RFC 9113 dropped it,
// clients still ask). Pure. Called by the HTTP/1 stream of a client.
#pragma once

#include <optional>
#include <string>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// The client's SETTINGS payload when the request asks for HTTP/2 in the way that the RFC demands, and may get
// it: HTTP/1.1, no body that would have to be read first, Connection naming both fields, exactly one
// HTTP2-Settings, decodable. Else nullopt: the request is answered in HTTP/1.
std::optional<std::string> http2_settings_of(const RequestHead& head);

inline constexpr std::string_view kSwitchToHttp2 =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

}  // namespace weft::proxy
