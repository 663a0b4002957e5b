// See cors.h.
#include "userspace-proxy/route/cors.h"

#include <algorithm>

#include "userspace-proxy/route/edit_headers.h"

namespace weft::proxy {
namespace {

bool allows(const CorsPolicy& policy, std::string_view origin) {
  return std::any_of(policy.allow_origins.begin(), policy.allow_origins.end(),
                     [&](const StringMatcher& matcher) {
                       return (matcher.kind == StringMatcher::Kind::kExact && matcher.text == "*") ||
                              matcher.matches(origin);
                     });
}

bool is_preflight(const RequestHead& request) {
  if (request.method != "OPTIONS") return false;
  const auto method = request.find("access-control-request-method");
  return method && !method->empty();
}

void set_if(std::string_view name, std::string_view value, std::vector<Header>* headers) {
  if (!value.empty()) set_header(name, value, headers);
}

}  // namespace

CorsVerdict judge(const CorsPolicy& policy, const RequestHead& request) {
  const auto origin = request.find("origin");
  if (!origin || origin->empty()) return CorsVerdict::kForward;
  const bool preflight = is_preflight(request);
  if (allows(policy, *origin)) return preflight ? CorsVerdict::kPreflight : CorsVerdict::kAllowed;
  return preflight && policy.answer_unmatched ? CorsVerdict::kRefusedPreflight : CorsVerdict::kForward;
}

void add_cors_fields(const CorsPolicy& policy, std::string_view origin, bool preflight,
                     std::vector<Header>* headers) {
  set_header("access-control-allow-origin", origin, headers);
  if (policy.allow_credentials) set_header("access-control-allow-credentials", "true", headers);
  // The answer depends on who asks: caches must not give it to others.
  headers->push_back(Header{"vary", "origin"});
  if (!preflight) return set_if("access-control-expose-headers", policy.expose_headers, headers);
  set_if("access-control-allow-methods", policy.allow_methods, headers);
  set_if("access-control-allow-headers", policy.allow_headers, headers);
  set_if("access-control-max-age", policy.max_age, headers);
}

}  // namespace weft::proxy
