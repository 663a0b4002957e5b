// See parse_http_action.h. Semantics: Istio's HTTPRedirect, HTTPDirectResponse, HTTPRewrite and
// HTTPFaultInjection.
#include "control-plane/resource/parse_http_action.h"

#include <re2/re2.h>

#include <array>

#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_cors.h"
#include "control-plane/resource/parse_header_edits.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_retries.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HttpRoute;

constexpr std::array<Names, 7> kRedirectRead = {"uri",        "prefixRewrite", "authority",   "port",
                                                "derivePort", "scheme",        "redirectCode"};
constexpr std::array<Names, 2> kResponseRead = {"status", "body"};
constexpr std::array<Names, 2> kBodyRead = {"string", "bytes"};
constexpr std::array<Names, 3> kRewriteRead = {"uri", "authority", "uriRegexRewrite"};
constexpr std::array<Names, 2> kRegexRewriteRead = {"match", "rewrite"};
constexpr std::array<Names, 2> kFaultRead = {"delay", "abort"};
constexpr std::array<Names, 3> kDelayRead = {"fixedDelay", "percentage", "percent"};
constexpr std::array<Names, 1> kDelayKnown = {"exponentialDelay"};
constexpr std::array<Names, 3> kAbortRead = {"httpStatus", "grpcStatus", "percentage"};
constexpr std::array<Names, 1> kAbortKnown = {"http2Error"};
constexpr size_t kMaxBody = 1024 * 1024;
constexpr size_t kLargeBody = 100 * 1024;

// By number, from 0.
constexpr std::array<Names, 17> kGrpcStatus = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

// A path as a target may have it: what follows the first "/" is visible ASCII.
void check_path(const FieldReader& parent, Names field, const std::string& path, bool query_allowed) {
  bool bad = path.empty() || path.front() != '/';
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    bad = bad || byte <= 0x20 || byte >= 0x7f || c == '#' || (c == '?' && !query_allowed);
  }
  if (bad) {
    parent.error_at(field, kValueRejected, str_cat("\"", path.substr(0, 64), "\" is no path"),
                    "begin it with \"/\" and escape spaces and the like with %");
  }
}

std::string path_field(const FieldReader& parent, Names field, bool query_allowed) {
  const auto text = parent.text(field);
  if (text) check_path(parent, field, *text, query_allowed);
  return text.value_or("");
}

void exclude(const FieldReader& parent, Names one, Names other) {
  if (!parent.has(one) || !parent.has(other)) return;
  parent.error_at(other, kValueRejected, str_cat("\"", one, "\" and \"", other, "\" exclude each other"),
                  "keep one of the two");
}

void parse_derived_port(const FieldReader& redirect, mesh::v1::Redirect& out) {
  const std::string derive = redirect.text("derivePort").value_or("FROM_PROTOCOL_DEFAULT");
  if (derive == "FROM_REQUEST_PORT") {
    out.set_port_from_request(true);
  } else if (derive != "FROM_PROTOCOL_DEFAULT") {
    redirect.error_at("derivePort", kValueRejected,
                      str_cat("\"", derive.substr(0, 32), "\" is none of its values"),
                      "use FROM_PROTOCOL_DEFAULT or FROM_REQUEST_PORT");
  }
}

void parse_redirect(const FieldReader& http, HttpRoute& route) {
  const auto redirect = http.child("redirect");
  if (!redirect) return;
  mesh::v1::Redirect& out = *route.mutable_redirect();
  if (!redirect->expect_map({.read = kRedirectRead, .known = {}})) return;
  exclude(*redirect, "uri", "prefixRewrite");
  exclude(*redirect, "port", "derivePort");
  out.set_path(path_field(*redirect, "uri", true));
  out.set_prefix(path_field(*redirect, "prefixRewrite", false));
  if (const auto authority = redirect->child("authority")) {
    out.set_authority(authority->as_text().value_or(""));
    check_authority(*authority, out.authority());
  }
  out.set_scheme(redirect->text("scheme").value_or(""));
  if (!out.scheme().empty() && out.scheme() != "http" && out.scheme() != "https") {
    redirect->error_at("scheme", kValueRejected,
                       str_cat("\"", out.scheme().substr(0, 32), "\" is no scheme here"),
                       "use http or https");
  }
  out.set_port(static_cast<uint32_t>(redirect->integer("port", 1, 65535).value_or(0)));
  parse_derived_port(*redirect, out);
  const bool elsewhere = !out.path().empty() || !out.prefix().empty() || !out.authority().empty() ||
                         !out.scheme().empty() || out.port() != 0 || out.port_from_request();
  if (!elsewhere)
    redirect->error(kFieldMissing, "it redirects to where the client came",
                    "give uri, prefixRewrite, authority, scheme or port");
  const int64_t code = redirect->integer("redirectCode", 300, 399).value_or(301);
  if (code > 308 || code == 300 || (code > 303 && code < 307)) {
    redirect->error_at("redirectCode", kValueRejected, str_cat(code, " is no redirect with a Location"),
                       "use 301, 302, 303, 307 or 308");
  }
  out.set_code(static_cast<uint32_t>(code));
}

void parse_body(const FieldReader& response, mesh::v1::DirectResponse& out) {
  const auto body = response.child("body");
  if (!body || !body->expect_map({.read = kBodyRead, .known = {}})) return;
  exclude(*body, "string", "bytes");
  if (body->has("string")) out.set_body(body->text("string").value_or(""));
  if (const auto bytes = body->text("bytes")) {
    if (!absl::Base64Unescape(*bytes, out.mutable_body()))
      body->error_at("bytes", kValueRejected, "not base64", "encode the body with base64, or use string");
  }
  if (out.body().size() > kMaxBody) {
    body->error(kValueRejected, str_cat("a body of ", out.body().size(), " bytes"),
                str_cat("use at most ", kMaxBody, ", or serve it from a pod"));
  } else if (out.body().size() > kLargeBody) {
    body->warning(kLargeDirectBody, str_cat("a body of ", out.body().size(), " bytes is kept by every proxy"),
                  "serve it from a pod");
  }
}

void parse_direct_response(const FieldReader& http, HttpRoute& route) {
  const auto response = http.child("directResponse");
  if (!response) return;
  mesh::v1::DirectResponse& out = *route.mutable_direct_response();
  if (!response->expect_map({.read = kResponseRead, .known = {}})) return;
  if (!response->has("status"))
    response->error_at("status", kFieldMissing, "the field is required", "give a status from 200 to 599");
  out.set_status(static_cast<uint32_t>(response->integer("status", 200, 599).value_or(200)));
  parse_body(*response, out);
}

void parse_regex_rewrite(const FieldReader& rewrite, HttpRoute& route) {
  const auto regex = rewrite.child("uriRegexRewrite");
  if (!regex || !regex->expect_map({.read = kRegexRewriteRead, .known = {}})) return;
  mesh::v1::PathRewrite::Regex& out = *route.mutable_path_rewrite()->mutable_regex();
  out.set_pattern(regex->required_text("match", "a regular expression"));
  check_regex(*regex, "match", out.pattern());
  out.set_substitution(regex->text("rewrite").value_or(""));
  re2::RE2::Options options;
  options.set_log_errors(false);
  const re2::RE2 compiled(out.pattern(), options);
  std::string problem;
  if (compiled.ok() && !compiled.CheckRewriteString(out.substitution(), &problem))
    regex->error_at("rewrite", kValueRejected, problem, "use \\1 to \\9 for groups that the match has");
}

void parse_rewrite(const FieldReader& http, HttpRoute& route) {
  const auto rewrite = http.child("rewrite");
  if (!rewrite || !rewrite->expect_map({.read = kRewriteRead, .known = {}})) return;
  exclude(*rewrite, "uri", "uriRegexRewrite");
  const std::string uri = path_field(*rewrite, "uri", false);
  if (!uri.empty()) route.mutable_path_rewrite()->set_matched(uri);
  if (uri.empty()) parse_regex_rewrite(*rewrite, route);
  if (const auto authority = rewrite->child("authority")) {
    route.set_authority_rewrite(authority->as_text().value_or(""));
    check_authority(*authority, route.authority_rewrite());
  }
  if (!route.has_path_rewrite() && route.authority_rewrite().empty())
    rewrite->error(kFieldMissing, "rewrite says nothing", "give uri, uriRegexRewrite or authority");
}

void warn_never(const FieldReader& fault, Names what) {
  fault.warning(kWithoutEffect, str_cat("without a percentage the ", what, " never happens"),
                "give percentage: {value: 100}");
}

void parse_delay(const FieldReader& fault, mesh::v1::Fault& out) {
  const auto delay = fault.child("delay");
  if (!delay || !delay->expect_map({.read = kDelayRead, .known = kDelayKnown})) return;
  if (!delay->has("fixedDelay"))
    delay->error_at("fixedDelay", kFieldMissing, "the field is required", "give a duration such as 2s");
  out.set_delay_ms(duration_ms(*delay, "fixedDelay", 1).value_or(0));
  out.set_delay_ppm(share_ppm(*delay, "percentage").value_or(0));
  // The old form, whole per cent; the new one wins.
  const auto percent = delay->integer("percent", 0, 100);
  if (percent && !delay->has("percentage")) out.set_delay_ppm(static_cast<uint32_t>(*percent * 10'000));
  if (!percent && !delay->has("percentage")) warn_never(*delay, "delay");
}

void parse_abort(const FieldReader& fault, mesh::v1::Fault& out) {
  const auto abort = fault.child("abort");
  if (!abort || !abort->expect_map({.read = kAbortRead, .known = kAbortKnown})) return;
  exclude(*abort, "httpStatus", "grpcStatus");
  if (!abort->has("httpStatus") && !abort->has("grpcStatus"))
    abort->error(kFieldMissing, "an abort needs a status", "give httpStatus or grpcStatus");
  out.set_http_status(static_cast<uint32_t>(abort->integer("httpStatus", 200, 600).value_or(0)));
  if (const auto name = abort->text("grpcStatus")) {
    for (uint32_t code = 0; code < kGrpcStatus.size(); ++code) {
      if (kGrpcStatus[code] == *name) out.set_grpc_status(code);
    }
    if (!out.has_grpc_status())
      abort->error_at("grpcStatus", kValueRejected,
                      str_cat("\"", name->substr(0, 32), "\" is no gRPC status"),
                      "use a name such as UNAVAILABLE");
  }
  out.set_abort_ppm(share_ppm(*abort, "percentage").value_or(0));
  if (!abort->has("percentage")) warn_never(*abort, "abort");
}

void parse_fault(const FieldReader& http, HttpRoute& route) {
  const auto fault = http.child("fault");
  if (!fault || !fault->expect_map({.read = kFaultRead, .known = {}})) return;
  if (!fault->has("delay") && !fault->has("abort"))
    fault->error(kFieldMissing, "fault says nothing", "give delay or abort");
  parse_delay(*fault, *route.mutable_fault());
  parse_abort(*fault, *route.mutable_fault());
}

}  // namespace

bool answers_itself(const HttpRoute& route) { return route.has_redirect() || route.has_direct_response(); }

void parse_http_action(const FieldReader& http, HttpRoute& route) {
  for (const Names reply : {"redirect", "directResponse"}) {
    for (const Names other : {"route", "fault", "rewrite"}) exclude(http, reply, other);
  }
  exclude(http, "redirect", "directResponse");
  parse_redirect(http, route);
  parse_direct_response(http, route);
  parse_rewrite(http, route);
  parse_fault(http, route);
  parse_cors(http, route);
  parse_retries(http, route);
  route.set_timeout_ms(duration_ms(http, "timeout", 0).value_or(0));
}

}  // namespace weft::control_plane
