// What a route does to a request besides choosing where it goes: compiled from weft.mesh.v1.HttpRoute by
// config/validate_action.cc, part of the snapshot, read by every exchange that the route is chosen for.
// Immutable; shared by the virtual hosts of all client namespaces.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace-proxy/route/cors.h"
#include "userspace-proxy/route/rate_limiter.h"
#include "userspace-proxy/route/retry_policy.h"

namespace re2 {
class RE2;
}

namespace weft::proxy {

// A part of a header value. The words are those of weft.mesh.v1.ValueTemplate.
struct ValuePart {
  enum class Kind : uint8_t {
    kLiteral,
    kDownstreamRemoteAddress,
    kDownstreamRemoteHost,
    kDownstreamRemotePort,
    kDownstreamLocalAddress,
    kDownstreamLocalHost,
    kDownstreamLocalPort,
    kProtocol,
    kRouteName,
    kUpstreamCluster,
    kUpstreamRemoteAddress,
    kResponseCode,
    kResponseHeader,
    kRequestHeader,
  };
  Kind kind = Kind::kLiteral;
  std::string text;         // of a literal; the name of a header
  std::string alternative;  // a second header's name, or empty
  uint32_t max_length = 0;  // bytes taken; 0: all
};

struct HeaderEdit {
  std::string name;  // lower case
  std::vector<ValuePart> value;
  bool append = false;  // false: replaces
};

// Removals first, then the edits in order.
struct HeaderEdits {
  std::vector<std::string> remove;  // lower case
  std::vector<HeaderEdit> edits;
  bool empty() const { return remove.empty() && edits.empty(); }
};

struct PathRewrite {
  enum class Kind : uint8_t { kNone, kMatched, kRegex, kWhole };
  Kind kind = Kind::kNone;
  std::string text;  // takes the place of what was matched; or the substitution, in RE2's spelling
  std::shared_ptr<const re2::RE2> regex;
};

struct Redirect {
  uint16_t code = 301;
  std::string path;  // whole; begins with "/"
  PathRewrite rewrite;
  std::string authority, scheme;  // empty: the client's
  uint16_t port = 0;              // 0: none, or
  bool port_from_request = false;
};

struct DirectResponse {
  uint16_t status = 200;
  std::string body;
};

// Shares in parts per million.
struct Fault {
  uint32_t delay_ms = 0;
  uint32_t delay_ppm = 0;
  uint32_t abort_ppm = 0;
  uint16_t http_status = 0;  // 0: grpc_status
  uint8_t grpc_status = 0;
};

struct RouteAction {
  std::optional<Redirect> redirect;
  std::optional<DirectResponse> direct_response;
  PathRewrite path_rewrite;
  std::string authority_rewrite;  // empty: unchanged
  HeaderEdits request_headers, response_headers;
  uint32_t timeout_ms = 0;  // 0: none
  std::optional<Fault> fault;
  std::optional<CorsPolicy> cors;
  std::optional<RetryPolicy> retries;
  // The buckets are the only thing here that changes: all workers take of them.
  std::vector<std::shared_ptr<RateLimiter>> limits;

  // The proxy answers by itself: there is no cluster to choose.
  bool answers() const { return redirect || direct_response; }
};

// What one destination of a route adds.
struct DestinationAction {
  HeaderEdits request_headers, response_headers;
  std::string authority;  // empty: unchanged
};

}  // namespace weft::proxy
