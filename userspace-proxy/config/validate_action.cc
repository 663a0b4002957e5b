// See validate_action.h.
#include "userspace-proxy/config/validate_action.h"

#include <re2/re2.h>

#include <algorithm>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/config/validate.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;

constexpr size_t kMaxRegexBytes = 1024;
constexpr int64_t kMaxRegexMemory = 1 << 20;
constexpr uint32_t kMillion = 1'000'000;
constexpr uint32_t kMaxDurationMs = 3'600'000;
// Each is asked for each request. A route has its own and those of the one that delegates to it.
constexpr int kMaxRateLimits = 32;
constexpr size_t kMaxBodyBytes = 1024 * 1024;
constexpr uint32_t kMaxGrpcStatus = 16;
constexpr uint32_t kMaxAttempts = 100;

template <typename... T>
absl::Status invalid(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts...));
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7f;
  });
}

absl::Status check_path(std::string_view field, std::string_view path) {
  if (path.starts_with('/') && is_visible(path) && path.find('#') == std::string_view::npos)
    return absl::OkStatus();
  return invalid(field, ": \"", path, "\", expected a path that begins with \"/\"");
}

absl::Status check_authority(std::string_view field, std::string_view authority) {
  if (is_visible(authority) && authority.find_first_of("/?#@,\\%") == std::string_view::npos &&
      authority.size() <= 255)
    return absl::OkStatus();
  return invalid(field, ": \"", authority, "\", expected a host with an optional port");
}

// What would frame a message anew, or is not a header's name.
bool is_editable(std::string_view name) {
  constexpr std::string_view kOthers = "!#$&'*+-.^_`|~";
  const auto allowed = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || kOthers.find(c) != std::string_view::npos;
  };
  if (name.empty() || !std::all_of(name.begin(), name.end(), allowed)) return false;
  for (const std::string_view framing :
       {"connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade"}) {
    if (name == framing) return false;
  }
  return true;
}

absl::StatusOr<ValuePart> compile_part(const mesh::ValueTemplate::Part& part) {
  using Variable = mesh::ValueTemplate;
  using Kind = ValuePart::Kind;
  static constexpr std::pair<mesh::ValueTemplate::Variable, Kind> kKinds[] = {
      {Variable::VARIABLE_UNSPECIFIED, Kind::kLiteral},
      {Variable::DOWNSTREAM_REMOTE_ADDRESS, Kind::kDownstreamRemoteAddress},
      {Variable::DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT, Kind::kDownstreamRemoteHost},
      {Variable::DOWNSTREAM_REMOTE_PORT, Kind::kDownstreamRemotePort},
      {Variable::DOWNSTREAM_LOCAL_ADDRESS, Kind::kDownstreamLocalAddress},
      {Variable::DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT, Kind::kDownstreamLocalHost},
      {Variable::DOWNSTREAM_LOCAL_PORT, Kind::kDownstreamLocalPort},
      {Variable::PROTOCOL, Kind::kProtocol},
      {Variable::ROUTE_NAME, Kind::kRouteName},
      {Variable::UPSTREAM_CLUSTER, Kind::kUpstreamCluster},
      {Variable::UPSTREAM_REMOTE_ADDRESS, Kind::kUpstreamRemoteAddress},
      {Variable::RESPONSE_CODE, Kind::kResponseCode},
      {Variable::RESPONSE_HEADER, Kind::kResponseHeader},
      {Variable::REQUEST_HEADER, Kind::kRequestHeader},
  };
  for (const auto& [variable, kind] : kKinds) {
    if (variable != part.variable()) continue;
    ValuePart out{.kind = kind, .alternative = part.alternative(), .max_length = part.max_length()};
    out.text = kind == Kind::kLiteral ? part.literal() : part.header();
    if (out.text.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return invalid("a line break in a header value");
    return out;
  }
  return invalid("variable ", static_cast<int>(part.variable()), " is unknown");
}

absl::StatusOr<HeaderEdits> compile_edits(std::string_view field, const mesh::HeaderEdits& edits) {
  HeaderEdits out;
  for (const std::string& name : edits.remove()) {
    if (!is_editable(name)) return invalid(field, ": \"", name, "\" may not be removed");
    out.remove.push_back(name);
  }
  for (const mesh::HeaderEdits::Edit& edit : edits.edits()) {
    if (!is_editable(edit.name())) return invalid(field, ": \"", edit.name(), "\" may not be written");
    HeaderEdit compiled{.name = edit.name(), .append = edit.append()};
    for (const mesh::ValueTemplate::Part& part : edit.value().parts()) {
      auto value = compile_part(part);
      if (!value.ok()) return annotate(str_cat(field, "[", edit.name(), "]"), value.status());
      compiled.value.push_back(*std::move(value));
    }
    out.edits.push_back(std::move(compiled));
  }
  return out;
}

absl::StatusOr<PathRewrite> compile_rewrite(const mesh::PathRewrite& rewrite) {
  PathRewrite out;
  switch (rewrite.kind_case()) {
    case mesh::PathRewrite::kMatched:
      RETURN_IF_ERROR(check_path("path_rewrite", rewrite.matched()));
      out.kind = PathRewrite::Kind::kMatched;
      out.text = rewrite.matched();
      break;
    case mesh::PathRewrite::kRegex: {
      out.kind = PathRewrite::Kind::kRegex;
      out.text = rewrite.regex().substitution();
      ASSIGN_OR_RETURN(out.regex, compile_regex(rewrite.regex().pattern()));
      std::string problem;
      if (!out.regex->CheckRewriteString(out.text, &problem)) return invalid("path_rewrite: ", problem);
      break;
    }
    case mesh::PathRewrite::kWhole:
      RETURN_IF_ERROR(check_path("path_rewrite", rewrite.whole()));
      out.kind = PathRewrite::Kind::kWhole;
      out.text = rewrite.whole();
      break;
    case mesh::PathRewrite::KIND_NOT_SET:
      break;
  }
  return out;
}

absl::StatusOr<Redirect> compile_redirect(const mesh::Redirect& redirect) {
  Redirect out;
  out.path = redirect.path();
  if (!out.path.empty()) RETURN_IF_ERROR(check_path("redirect.path", out.path));
  if (!redirect.prefix().empty()) {
    RETURN_IF_ERROR(check_path("redirect.prefix", redirect.prefix()));
    out.rewrite =
        PathRewrite{.kind = PathRewrite::Kind::kMatched, .text = redirect.prefix(), .regex = nullptr};
  }
  RETURN_IF_ERROR(check_authority("redirect.authority", redirect.authority()));
  out.authority = redirect.authority();
  out.scheme = redirect.scheme();
  if (!out.scheme.empty() && out.scheme != "http" && out.scheme != "https")
    return invalid("redirect.scheme: \"", out.scheme, "\", expected http or https");
  if (redirect.port() > 65535) return invalid("redirect.port: ", redirect.port(), ", expected 0-65535");
  out.port = static_cast<uint16_t>(redirect.port());
  out.port_from_request = redirect.port_from_request();
  for (const uint16_t code : {301, 302, 303, 307, 308}) {
    if (redirect.code() == code) out.code = code;
  }
  if (redirect.code() != out.code)
    return invalid("redirect.code: ", redirect.code(), ", expected 301-303, 307, 308");
  return out;
}

absl::StatusOr<DirectResponse> compile_response(const mesh::DirectResponse& response) {
  if (response.status() < 200 || response.status() > 599)
    return invalid("direct_response.status: ", response.status(), ", expected 200-599");
  if (response.body().size() > kMaxBodyBytes)
    return invalid("direct_response.body: ", response.body().size(), " bytes, at most ", kMaxBodyBytes);
  return DirectResponse{.status = static_cast<uint16_t>(response.status()), .body = response.body()};
}

absl::StatusOr<Fault> compile_fault(const mesh::Fault& fault) {
  Fault out{.delay_ms = fault.delay_ms(), .delay_ppm = fault.delay_ppm(), .abort_ppm = fault.abort_ppm()};
  if (out.delay_ppm > kMillion || out.abort_ppm > kMillion) return invalid("fault: a share above a million");
  if (out.delay_ms > kMaxDurationMs)
    return invalid("fault.delay_ms: ", out.delay_ms, ", at most ", kMaxDurationMs);
  if (fault.grpc_status() > kMaxGrpcStatus) return invalid("fault.grpc_status: ", fault.grpc_status());
  out.grpc_status = static_cast<uint8_t>(fault.grpc_status());
  if (fault.has_grpc_status()) return out;
  if (out.abort_ppm > 0 && (fault.http_status() < 200 || fault.http_status() > 600))
    return invalid("fault.http_status: ", fault.http_status(), ", expected 200-600");
  out.http_status = static_cast<uint16_t>(fault.http_status());
  return out;
}

absl::StatusOr<CorsPolicy> compile_cors(const mesh::CorsPolicy& cors) {
  CorsPolicy out;
  for (const mesh::StringMatch& origin : cors.allow_origins()) {
    auto matcher = compile_string(origin, StringMatcher::Kind::kAny);
    if (!matcher.ok()) return annotate("cors.allow_origins", matcher.status());
    out.allow_origins.push_back(*std::move(matcher));
  }
  for (const std::string* text :
       {&cors.allow_methods(), &cors.allow_headers(), &cors.expose_headers(), &cors.max_age()}) {
    if (!is_visible(*text)) return invalid("cors: \"", *text, "\" is no list of names");
  }
  out.allow_methods = cors.allow_methods();
  out.allow_headers = cors.allow_headers();
  out.expose_headers = cors.expose_headers();
  out.max_age = cors.max_age();
  out.allow_credentials = cors.allow_credentials();
  out.answer_unmatched = cors.answer_unmatched_preflights();
  return out;
}

absl::StatusOr<RetryPolicy> compile_retries(const mesh::RetryPolicy& retries) {
  RetryPolicy out{.attempts = retries.attempts(),
                  .per_try_timeout_ms = retries.per_try_timeout_ms(),
                  .base_interval_ms = retries.base_interval_ms(),
                  .ignore_previous_hosts = !retries.repeat_hosts()};
  if (out.attempts > kMaxAttempts)
    return invalid("retries.attempts: ", out.attempts, ", at most ", kMaxAttempts);
  if (out.per_try_timeout_ms > kMaxDurationMs || out.base_interval_ms > kMaxDurationMs)
    return invalid("retries: a time above ", kMaxDurationMs, " ms");
  for (const int on : retries.on()) {
    if (on <= 0 || !mesh::RetryPolicy::On_IsValid(on)) return invalid("retries.on: ", on, " is unknown");
    out.on |= 1u << (on - 1);
  }
  for (const uint32_t code : retries.status_codes()) {
    if (code < 100 || code > 599) return invalid("retries.status_codes: ", code, ", expected 100-599");
    out.status_codes.push_back(static_cast<uint16_t>(code));
  }
  return out;
}

// The words of the two enumerations are the same, in the same order.
static_assert(kRetryOn5xx == 1u << (mesh::RetryPolicy::ON_5XX - 1));
static_assert(kRetryOnStatusCodes == 1u << (mesh::RetryPolicy::ON_STATUS_CODES - 1));
static_assert(kRetryOnUnavailable == 1u << (mesh::RetryPolicy::ON_UNAVAILABLE - 1));

absl::StatusOr<RateLimiter::Settings> compile_limit(const mesh::RateLimit& limit) {
  RateLimiter::Settings out{.requests = limit.requests(),
                            .period_ms = limit.period_ms(),
                            .burst = limit.burst(),
                            .header = limit.by_header(),
                            .max_keys = limit.max_keys(),
                            .response_headers = limit.response_headers()};
  if (limit.by_source()) out.by = RateLimiter::By::kSource;
  if (!out.header.empty()) out.by = RateLimiter::By::kHeader;
  if (limit.by_source() && !out.header.empty()) return invalid("by_source and by_header exclude each other");
  if (out.requests == 0 || out.period_ms == 0 || out.period_ms > kMaxDurationMs)
    return invalid("requests and period_ms must be above 0, period_ms at most ", kMaxDurationMs);
  if (out.burst == 0 || out.burst > RateLimiter::kMaxBurst)
    return invalid("burst: ", out.burst, ", expected 1-", RateLimiter::kMaxBurst);
  if (uint64_t{out.requests} * 1000 > RateLimiter::kMaxPerSecond * out.period_ms)
    return invalid("more than ", RateLimiter::kMaxPerSecond, " requests a second");
  if (out.by != RateLimiter::By::kAll && (out.max_keys == 0 || out.max_keys > RateLimiter::kMaxKeys))
    return invalid("max_keys: ", out.max_keys, ", expected 1-", RateLimiter::kMaxKeys);
  return out;
}

bool only_forwards(const mesh::HttpRoute& route) {
  return !route.has_redirect() && !route.has_direct_response() && !route.has_path_rewrite() &&
         route.authority_rewrite().empty() && !route.has_request_headers() && !route.has_response_headers() &&
         route.timeout_ms() == 0 && !route.has_fault() && !route.has_cors() && !route.has_retries() &&
         route.mirrors().empty() && route.rate_limits().empty();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const re2::RE2>> compile_regex(const std::string& text) {
  if (text.size() > kMaxRegexBytes)
    return invalid("regex: ", text.size(), " characters, at most ", kMaxRegexBytes);
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxRegexMemory);
  auto regex = std::make_shared<const re2::RE2>(text, options);
  if (!regex->ok()) return invalid("regex \"", text, "\": ", regex->error(), ", expected RE2 syntax");
  return regex;
}

absl::StatusOr<std::shared_ptr<const RouteAction>> compile_action(const mesh::HttpRoute& route,
                                                                  LimiterTable& limiters) {
  if (only_forwards(route)) return nullptr;
  auto out = std::make_shared<RouteAction>();
  if (route.has_redirect()) {
    ASSIGN_OR_RETURN(out->redirect, compile_redirect(route.redirect()));
  }
  if (route.has_direct_response()) {
    ASSIGN_OR_RETURN(out->direct_response, compile_response(route.direct_response()));
  }
  ASSIGN_OR_RETURN(out->path_rewrite, compile_rewrite(route.path_rewrite()));
  RETURN_IF_ERROR(check_authority("authority_rewrite", route.authority_rewrite()));
  out->authority_rewrite = route.authority_rewrite();
  ASSIGN_OR_RETURN(out->request_headers, compile_edits("request_headers", route.request_headers()));
  ASSIGN_OR_RETURN(out->response_headers, compile_edits("response_headers", route.response_headers()));
  if (route.timeout_ms() > kMaxDurationMs)
    return invalid("timeout_ms: ", route.timeout_ms(), ", at most ", kMaxDurationMs);
  out->timeout_ms = route.timeout_ms();
  if (route.has_fault()) {
    ASSIGN_OR_RETURN(out->fault, compile_fault(route.fault()));
  }
  if (route.has_cors()) {
    ASSIGN_OR_RETURN(out->cors, compile_cors(route.cors()));
  }
  if (route.has_retries()) {
    ASSIGN_OR_RETURN(out->retries, compile_retries(route.retries()));
  }
  if (route.rate_limits_size() > kMaxRateLimits)
    return invalid("rate_limits: ", route.rate_limits_size(), ", at most ", kMaxRateLimits);
  for (const mesh::RateLimit& limit : route.rate_limits()) {
    const auto settings = compile_limit(limit);
    if (!settings.ok()) return annotate(str_cat("rate_limits[", limit.name(), "]"), settings.status());
    out->limits.push_back(limiters.get(limit.name(), *settings));
  }
  return out;
}

absl::StatusOr<std::shared_ptr<const DestinationAction>> compile_action(
    const mesh::Destination& destination) {
  if (!destination.has_request_headers() && !destination.has_response_headers() &&
      destination.authority().empty())
    return nullptr;
  auto out = std::make_shared<DestinationAction>();
  ASSIGN_OR_RETURN(out->request_headers, compile_edits("request_headers", destination.request_headers()));
  ASSIGN_OR_RETURN(out->response_headers, compile_edits("response_headers", destination.response_headers()));
  RETURN_IF_ERROR(check_authority("authority", destination.authority()));
  out->authority = destination.authority();
  return out;
}

}  // namespace weft::proxy
