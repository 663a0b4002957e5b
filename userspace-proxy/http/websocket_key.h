// The proof that both ends of an HTTP/1.1 hop mean WebSocket (RFC 6455 §4.2.2). HTTP/2 has none (RFC 8441
// §5.1), so a hop between the two makes or answers it here. Pure but for the random number.
#pragma once

#include <array>
#include <string_view>

namespace weft::proxy {

// Base64 of 16 and of 20 bytes.
using WebSocketKey = std::array<char, 24>;
using WebSocketAccept = std::array<char, 28>;

// For Sec-WebSocket-Key: new and unpredictable.
WebSocketKey make_websocket_key();
// For Sec-WebSocket-Accept.
WebSocketAccept websocket_accept(std::string_view key);

inline constexpr std::string_view kWebSocket = "websocket";

}  // namespace weft::proxy
