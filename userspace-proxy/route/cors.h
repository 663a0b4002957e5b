// CORS (WHATWG Fetch, "CORS protocol") as a route's corsPolicy says it: preflights are answered, responses to
// allowed origins say so. Pure; called by the exchange for routes that have a policy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

struct CorsPolicy {
  std::vector<StringMatcher> allow_origins;  // any; exact "*" is every origin
  // As they are sent; empty: not sent.
  std::string allow_methods, allow_headers, expose_headers, max_age;
  bool allow_credentials = false;
  // A preflight of an origin that is not allowed is answered, without CORS fields, instead of forwarded.
  bool answer_unmatched = false;
};

enum class CorsVerdict : uint8_t {
  kForward,           // no CORS request, or of an origin that is not allowed: nothing is added
  kAllowed,           // goes on; the response says that the origin is allowed
  kPreflight,         // answered with what is allowed
  kRefusedPreflight,  // answered with nothing
};

CorsVerdict judge(const CorsPolicy& policy, const RequestHead& request);

// What an allowed origin's response gets. `origin` is the request's, and stays as long as the list.
void add_cors_fields(const CorsPolicy& policy, std::string_view origin, bool preflight,
                     std::vector<Header>* headers);

}  // namespace weft::proxy
