// What the proxy knows of gRPC beyond HTTP/2: which requests are calls, their deadline, and the status that
// a client makes of an HTTP status (gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md and
// doc/http-grpc-status-mapping.md). Pure. Called by the exchange and the downstream streams.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// POST with a content type of "application/grpc", alone or with a subtype or parameters.
bool is_grpc_call(const RequestHead& head);

// grpc-timeout: one to eight digits and a unit (H, M, S, m, u, n). nullopt for anything else, zero included,
// and for more than a month, which no timer needs to know.
std::optional<MonotonicNs> parse_grpc_timeout(std::string_view text);

// The same again, in milliseconds, or seconds where eight digits do not do; at least "1m". A view of `out`.
using GrpcTimeoutText = std::array<char, 12>;
std::string_view write_grpc_timeout(MonotonicNs timeout, GrpcTimeoutText* out);

// The grpc-status of a response without one.
std::string_view grpc_status_of_http(uint16_t status);
// The other way round (google.rpc.Code), for a client that does not speak gRPC; 500 above 16.
uint16_t http_of_grpc(uint8_t status);
// "0" to "16".
std::string_view grpc_status_text(uint8_t status);
inline constexpr std::string_view kGrpcDeadlineExceeded = "4";

}  // namespace weft::proxy
