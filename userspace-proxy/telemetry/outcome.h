// How an exchange or connection ended: one closed list, at the same time metric label, access-log field,
// reason header (x-weft-reason) and row of docs/outcomes.md.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weft::proxy {

// X(kName, "label", status sent to the client or 0, "what happened; what to do")
#define WEFT_OUTCOMES(X)                                                                                     \
  X(kOk, "ok", 0, "The exchange was complete, whatever status the application chose.")                       \
  X(kNoRoute, "no_route", 404, "No route matches this request. See `weft get routes`.")                      \
  X(kMisdirected, "misdirected", 421,                                                                        \
    "The request names a host that another TLS listener of the gateway serves than the one that its "        \
    "connection was made to: the client may try again on a connection of its own.")                          \
  X(kNoCluster, "no_cluster", 503,                                                                           \
    "The route names a host or subset that does not exist. See `weft analyze`.")                             \
  X(kNotDeclared, "not_declared", 502,                                                                       \
    "The pod may reach declared destinations only (REGISTRY_ONLY), and this is none: add a ServiceEntry.")   \
  X(kInvalidBackend, "invalid_backend", 500,                                                                 \
    "The route refers to no backend that it may use (Gateway API). See `weft analyze`.")                     \
  X(kAccessDenied, "access_denied", 403,                                                                     \
    "An AuthorizationPolicy of the server's pod denies the request, or needs HTTP and got none. See the "    \
    "log.")                                                                                                  \
  X(kBadToken, "bad_token", 401,                                                                             \
    "The request's token (JWT) is not good for any rule of the server's RequestAuthentications that looks "  \
    "there: malformed, expired, of another issuer or audience, or not signed by its issuer's keys.")         \
  X(kProviderDenied, "provider_denied", 403,                                                                 \
    "The provider that an AuthorizationPolicy of action CUSTOM names did not allow the request; status and " \
    "body are the provider's.")                                                                              \
  X(kProviderFailed, "provider_failed", 403,                                                                 \
    "The provider that an AuthorizationPolicy of action CUSTOM names gave no answer that could be used, or " \
    "is none of the mesh's: the log says why (provider_failed). The status is its statusOnError; 413: the "  \
    "body is longer than the provider is asked with; 503: too many questions are under way, or there is no " \
    "room for one (provider_not_asked).")                                                                    \
  X(kRedirect, "redirect", 0, "The route redirects: the client got its Location.")                           \
  X(kDirectResponse, "direct_response", 0, "The route answers by itself (directResponse).")                  \
  X(kRateLimited, "rate_limited", 429,                                                                       \
    "The route's rate limit has no token left: try again after Retry-After.")                                \
  X(kFaultAbort, "fault_abort", 0, "The route's fault.abort took this request.")                             \
  X(kBadRewrite, "bad_rewrite", 500,                                                                         \
    "The route's uriRegexRewrite made something of the path that is no path.")                               \
  X(kTimeout, "timeout", 504, "The route's timeout was over, all tries together.")                           \
  X(kTryTimeout, "try_timeout", 504, "The last try of the request took longer than retries.perTryTimeout.")  \
  X(kCorsPreflight, "cors_preflight", 0, "The route's corsPolicy answers this preflight.")                   \
  X(kNoEndpoint, "no_endpoint", 503, "The service has no usable endpoint. See `weft get endpoints`.")        \
  X(kConnectRefused, "connect_refused", 503, "The endpoint refused the connection.")                         \
  X(kConnectTimeout, "connect_timeout", 503, "The endpoint did not answer the connection in time.")          \
  X(kConnectFailed, "connect_failed", 503, "The endpoint could not be reached.")                             \
  X(kTlsFailed, "tls_failed", 503,                                                                           \
    "The DestinationRule asks for TLS, and it did not come about with the endpoint: the log of the proxy "   \
    "says why (server_refused).")                                                                            \
  X(kCircuitOpen, "circuit_open", 503,                                                                       \
    "The source has as much under way to the destination as the DestinationRule's connectionPool allows.")   \
  X(kMaxDuration, "max_duration", 0,                                                                         \
    "The TCP connection was as old as the DestinationRule's maxConnectionDuration allows.")                  \
  X(kUpstreamReset, "upstream_reset", 503,                                                                   \
    "The endpoint closed the connection before its response was complete.")                                  \
  X(kUpstreamProtocol, "upstream_protocol", 502, "The endpoint sent something that is not HTTP.")            \
  X(kDownstreamReset, "downstream_reset", 0, "The client went away before the exchange was complete.")       \
  X(kBadRequest, "bad_request", 400, "The request is not valid HTTP.")                                       \
  X(kHeadersTooLarge, "headers_too_large", 431, "The request head is larger than the proxy accepts.")        \
  X(kRequestTimeout, "request_timeout", 408, "The client did not send a whole request head in time.")        \
  X(kIdleTimeout, "idle_timeout", 504,                                                                       \
    "Nothing, or too little of a body, moved for the idle time: the endpoint or the client hangs.")          \
  X(kDeadlineExceeded, "deadline_exceeded", 504,                                                             \
    "The time that the gRPC client gave its call (grpc-timeout) was over: the endpoint is slow, or the "     \
    "client impatient.")                                                                                     \
  X(kNotImplemented, "not_implemented", 501, "The request needs a feature that this version does not have.") \
  X(kHttp2Flood, "http2_flood", 0,                                                                           \
    "The client's HTTP/2 connection asked for more than one connection gets and was ended; see the log.")    \
  X(kOverload, "overload", 503, "A limit of the proxy was reached. See docs/limits.md.")                     \
  X(kDrained, "drained", 503, "The proxy was told to stop and the drain time was over.")

enum class Outcome : uint8_t {
#define X(name, label, status, help) name,
  WEFT_OUTCOMES(X)
#undef X
};

inline constexpr int kOutcomeCount = 0
#define X(name, label, status, help) +1
    WEFT_OUTCOMES(X)
#undef X
    ;

constexpr std::string_view label(Outcome outcome) {
  switch (outcome) {
#define X(name, text, status, help) \
  case Outcome::name:               \
    return text;
    WEFT_OUTCOMES(X)
#undef X
  }
  return "?";
}

constexpr uint16_t status_of(Outcome outcome) {
  switch (outcome) {
#define X(name, text, status, help) \
  case Outcome::name:               \
    return status;
    WEFT_OUTCOMES(X)
#undef X
  }
  return 0;
}

// The body of an answer that the proxy makes itself, in three pieces.
constexpr std::array<std::string_view, 3> reply_body(Outcome outcome) {
  // Clients know this one from Istio.
  if (outcome == Outcome::kAccessDenied) return {"RBAC: access denied", "", ""};
  if (outcome == Outcome::kBadToken) return {"Jwt verification fails", "", ""};
  return {"weft: ", label(outcome), "\n"};
}

// RFC 6750 §3; empty: the outcome asks for no credentials.
constexpr std::string_view challenge(Outcome outcome) {
  return outcome == Outcome::kBadToken ? "Bearer error=\"invalid_token\"" : "";
}

// The route's own answer, or a provider's: its status and text are theirs.
constexpr bool is_own_answer(Outcome outcome) {
  return outcome == Outcome::kRedirect || outcome == Outcome::kDirectResponse ||
         outcome == Outcome::kFaultAbort || outcome == Outcome::kCorsPreflight ||
         outcome == Outcome::kRateLimited || outcome == Outcome::kProviderDenied ||
         outcome == Outcome::kProviderFailed;
}

}  // namespace weft::proxy
