// Filters of HTTPRoute and GRPCRoute rules: header modifiers, redirect, rewrite, mirrors, CORS; and how long
// a rule waits and tries again. Semantics: gateway.networking.k8s.io.
#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/resource/gateway_route_parts.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_cors.h"
#include "control-plane/resource/parse_header_edits.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HttpRoute;

constexpr std::array<Names, 3> kModifierRead = {"set", "add", "remove"};
constexpr std::array<Names, 2> kHeaderRead = {"name", "value"};
constexpr std::array<Names, 5> kRedirectRead = {"scheme", "hostname", "path", "port", "statusCode"};
constexpr std::array<Names, 2> kRewriteRead = {"hostname", "path"};
constexpr std::array<Names, 3> kPathRead = {"type", "replaceFullPath", "replacePrefixMatch"};
constexpr std::array<Names, 3> kMirrorRead = {"backendRef", "percent", "fraction"};
constexpr std::array<Names, 2> kFractionRead = {"numerator", "denominator"};
constexpr std::array<Names, 2> kTimeoutsRead = {"request", "backendRequest"};
constexpr std::array<Names, 3> kRetryRead = {"codes", "attempts", "backoff"};
constexpr uint32_t kMillion = 1'000'000;
// What an unset value means is left to implementations; it is Istio's.
constexpr uint32_t kDefaultAttempts = 2;
constexpr uint32_t kDefaultBackoffMs = 25;

void parse_edits(const FieldReader& modifier, Names field, bool append, mesh::v1::HeaderEdits& out,
                 std::string* authority) {
  std::set<std::string> seen;
  for (const FieldReader& item : modifier.items(field)) {
    if (!item.expect_map({.read = kHeaderRead, .known = {}})) continue;
    std::string name = absl::AsciiStrToLower(item.required_text("name", "the header's name"));
    const std::string value = item.required_text("value", "the header's value");
    if (!seen.insert(name).second) {
      item.warning(kWithoutEffect,
                   str_cat("\"", name.substr(0, 64), "\" is named twice: only the first counts"),
                   "remove one of the two");
      continue;
    }
    if (authority != nullptr && name == "host") {
      check_authority(item, value);
      *authority = value;
      continue;
    }
    if (!check_edited_name(item, name) || !check_edited_value(item, value)) continue;
    mesh::v1::HeaderEdits::Edit& edit = *out.add_edits();
    edit.set_name(std::move(name));
    edit.set_append(append);
    edit.mutable_value()->add_parts()->set_literal(value);
  }
}

std::string parse_rewritten_host(const FieldReader& parent) {
  const std::string host = parent.text("hostname").value_or("");
  if (!host.empty() && (host.starts_with("*") || !is_host_name(host)))
    parent.error_at("hostname", kValueRejected, str_cat("\"", host.substr(0, 64), "\" is no host name"),
                    "use a DNS name without a port");
  return absl::AsciiStrToLower(host);
}

// What becomes of the path: at most one of the two is not empty.
struct PathChange {
  std::string whole, prefix;
};

PathChange parse_path_change(const FieldReader& parent, const HttpRoute& route) {
  PathChange out;
  const auto path = parent.child("path");
  if (!path || !path->expect_map({.read = kPathRead, .known = {}})) return out;
  const std::string type = path->required_text("type", "ReplaceFullPath or ReplacePrefixMatch");
  const bool full = type == "ReplaceFullPath";
  if (!full && type != "ReplacePrefixMatch") {
    path->error_at("type", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no change of a path"),
                   "use ReplaceFullPath or ReplacePrefixMatch");
    return out;
  }
  const Names field = full ? "replaceFullPath" : "replacePrefixMatch";
  const Names other = full ? "replacePrefixMatch" : "replaceFullPath";
  if (path->has(other)) path->error_at(other, kValueRejected, str_cat("the type is ", type), "remove it");
  if (!path->has(field)) path->error_at(field, kFieldMissing, "the field is required", "give the new path");
  std::string value = path->text(field).value_or("/");
  if (value.empty()) value = "/";
  const auto bad = [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f || c == '#' ||
           c == '?';
  };
  if (!value.starts_with('/') || std::any_of(value.begin(), value.end(), bad))
    path->error_at(field, kValueRejected, str_cat("\"", value.substr(0, 64), "\" is no path"),
                   "begin it with \"/\" and escape spaces and the like with %");
  if (full) {
    out.whole = std::move(value);
    return out;
  }
  for (const auto& match : route.matches()) {
    if (match.uri().kind_case() == mesh::v1::StringMatch::kSegments) continue;
    path->error_at("type", kValueRejected, "only the prefix of a PathPrefix match can be replaced",
                   "match with PathPrefix, or use ReplaceFullPath");
    break;
  }
  out.prefix = std::move(value);
  return out;
}

void parse_redirect(const FieldReader& filter, HttpRoute& route) {
  const auto redirect = filter.child("requestRedirect");
  if (!redirect || !redirect->expect_map({.read = kRedirectRead, .known = {}})) return;
  mesh::v1::Redirect& out = *route.mutable_redirect();
  out.set_scheme(redirect->text("scheme").value_or(""));
  if (!out.scheme().empty() && out.scheme() != "http" && out.scheme() != "https")
    redirect->error_at("scheme", kValueRejected,
                       str_cat("\"", out.scheme().substr(0, 32), "\" is no scheme here"),
                       "use http or https");
  out.set_authority(parse_rewritten_host(*redirect));
  PathChange path = parse_path_change(*redirect, route);
  out.set_path(std::move(path.whole));
  out.set_prefix(std::move(path.prefix));
  // Without a port it is the scheme's own, and without a scheme the one that was dialled.
  const auto port = redirect->integer("port", 1, 65535);
  if (port) out.set_port(static_cast<uint32_t>(*port));
  if (!port && out.scheme() == "http") out.set_port(80);
  if (!port && out.scheme() == "https") out.set_port(443);
  out.set_port_from_request(!port && out.scheme().empty());
  const int64_t code = redirect->integer("statusCode", 300, 399).value_or(302);
  if (code > 308 || code == 300 || (code > 303 && code < 307))
    redirect->error_at("statusCode", kValueRejected, str_cat(code, " is no redirect with a Location"),
                       "use 301, 302, 303, 307 or 308");
  out.set_code(static_cast<uint32_t>(code));
}

void parse_rewrite(const FieldReader& filter, HttpRoute& route) {
  const auto rewrite = filter.child("urlRewrite");
  if (!rewrite || !rewrite->expect_map({.read = kRewriteRead, .known = {}})) return;
  route.set_authority_rewrite(parse_rewritten_host(*rewrite));
  PathChange path = parse_path_change(*rewrite, route);
  if (!path.whole.empty()) route.mutable_path_rewrite()->set_whole(std::move(path.whole));
  if (!path.prefix.empty()) route.mutable_path_rewrite()->set_matched(std::move(path.prefix));
}

uint32_t parse_share(const FieldReader& mirror) {
  if (mirror.has("percent") && mirror.has("fraction"))
    mirror.error_at("fraction", kValueRejected, "\"percent\" and \"fraction\" exclude each other",
                    "keep one of the two");
  if (const auto percent = mirror.integer("percent", 0, 100)) return static_cast<uint32_t>(*percent * 10'000);
  const auto fraction = mirror.child("fraction");
  if (!fraction || !fraction->expect_map({.read = kFractionRead, .known = {}})) return kMillion;
  const int64_t whole = fraction->integer("denominator", 1, 1'000'000'000).value_or(100);
  const int64_t part = fraction->integer("numerator", 0, 1'000'000'000).value_or(0);
  if (part > whole)
    fraction->error_at("numerator", kValueRejected, "a share above one", "use at most the denominator");
  return static_cast<uint32_t>(std::min<int64_t>(part, whole) * kMillion / whole);
}

class FilterParser {
 public:
  FilterParser(bool grpc, const std::string& ns, GatewayRoute::Rule& out) : grpc_(grpc), ns_(ns), out_(out) {}

  void parse(const FieldReader& filter) {
    static constexpr std::array<Names, 7> kRead = {
        "type",          "requestHeaderModifier", "responseHeaderModifier",
        "requestMirror", "requestRedirect",       "urlRewrite",
        "cors"};
    static constexpr std::array<Names, 2> kKnown = {"extensionRef", "externalAuth"};
    if (!filter.expect_map({.read = kRead, .known = kKnown})) return;
    const std::string type = filter.required_text("type", "the filter's type");
    const Row* row = nullptr;
    for (const Row& known : kRows) {
      if (known.type == type && (known.in_grpc || !grpc_)) row = &known;
    }
    if (row == nullptr) {
      filter.error_at("type", kNotSupportedYet, str_cat("filter ", type.substr(0, 64), " is not supported"),
                      "remove it");
      return;
    }
    for (const Names field : kRead) {
      if (field != "type" && field != row->field && filter.has(field))
        filter.error_at(field, kValueRejected, str_cat("the type is ", type),
                        "remove it, or correct the type");
    }
    if (!filter.has(row->field))
      filter.error_at(row->field, kFieldMissing, str_cat("the filter ", type, " says nothing"),
                      "say it there");
    if (!seen_.insert(type).second && type != "RequestMirror")
      filter.error(kValueRejected, str_cat("filter ", type, " is there twice"), "put both into one");
    take(filter, type);
  }

 private:
  struct Row {
    Names type, field;
    bool in_grpc;
  };
  static constexpr std::array<Row, 6> kRows = {{{"RequestHeaderModifier", "requestHeaderModifier", true},
                                                {"ResponseHeaderModifier", "responseHeaderModifier", true},
                                                {"RequestMirror", "requestMirror", true},
                                                {"RequestRedirect", "requestRedirect", false},
                                                {"URLRewrite", "urlRewrite", false},
                                                {"CORS", "cors", false}}};

  void take(const FieldReader& filter, const std::string& type) {
    HttpRoute& route = out_.http;
    if (type == "RequestHeaderModifier") {
      std::string host;
      parse_header_modifier(filter, "requestHeaderModifier", *route.mutable_request_headers(), &host);
      if (!host.empty() && route.authority_rewrite().empty()) route.set_authority_rewrite(host);
    } else if (type == "ResponseHeaderModifier") {
      parse_header_modifier(filter, "responseHeaderModifier", *route.mutable_response_headers(), nullptr);
    } else if (type == "RequestMirror") {
      parse_mirror(filter, ns_, out_);
    } else if (type == "RequestRedirect") {
      parse_redirect(filter, route);
    } else if (type == "URLRewrite") {
      parse_rewrite(filter, route);
    } else {
      parse_cors_filter(filter, route);
    }
    if (route.has_redirect() && seen_.contains("URLRewrite"))
      filter.error(kValueRejected, "RequestRedirect and URLRewrite exclude each other",
                   "keep one of the two");
  }

  const bool grpc_;
  const std::string& ns_;
  GatewayRoute::Rule& out_;
  std::set<std::string> seen_;
};

void parse_retry(const FieldReader& rule, uint32_t try_ms, HttpRoute& out) {
  const auto retry = rule.child("retry");
  if (!retry || !retry->expect_map({.read = kRetryRead, .known = {}})) return;
  using mesh::v1::RetryPolicy;
  RetryPolicy& policy = *out.mutable_retries();
  policy.set_attempts(static_cast<uint32_t>(retry->integer("attempts", 0, 100).value_or(kDefaultAttempts)));
  policy.set_per_try_timeout_ms(try_ms);
  policy.set_base_interval_ms(gateway_duration_ms(*retry, "backoff").value_or(kDefaultBackoffMs));
  for (const FieldReader& item : retry->items("codes")) {
    if (const auto code = item.as_integer(400, 599)) policy.add_status_codes(static_cast<uint32_t>(*code));
  }
  // Whoever retries also does after a failed connection, one that was reset, and a try that took too long.
  for (const RetryPolicy::On on : {RetryPolicy::ON_STATUS_CODES, RetryPolicy::ON_CONNECT_FAILURE,
                                   RetryPolicy::ON_REFUSED_STREAM, RetryPolicy::ON_RESET})
    policy.add_on(on);
}

}  // namespace

void parse_mirror(const FieldReader& filter, const std::string& ns, GatewayRoute::Rule& out) {
  const auto mirror = filter.child("requestMirror");
  if (!mirror || !mirror->expect_map({.read = kMirrorRead, .known = {}})) return;
  const auto reference = mirror->child("backendRef");
  if (!reference) {
    mirror->error_at("backendRef", kFieldMissing, "the field is required", "name a Service with its port");
    return;
  }
  GatewayRoute::Backend backend = parse_backend(*reference, ns, {});
  backend.ppm = parse_share(*mirror);
  // Switched off.
  if (backend.ppm > 0) out.mirrors.push_back(std::move(backend));
}

void parse_header_modifier(const FieldReader& filter, Names name, mesh::v1::HeaderEdits& out,
                           std::string* authority) {
  const auto modifier = filter.child(name);
  if (!modifier || !modifier->expect_map({.read = kModifierRead, .known = {}})) return;
  for (const FieldReader& item : modifier->items("remove")) {
    const auto text = item.as_text();
    if (!text) continue;
    std::string lower = absl::AsciiStrToLower(*text);
    if (check_edited_name(item, lower)) out.add_remove(std::move(lower));
  }
  parse_edits(*modifier, "set", false, out, authority);
  parse_edits(*modifier, "add", true, out, nullptr);
}

void parse_rule_filters(const FieldReader& rule, bool grpc, GatewayRoute& route, GatewayRoute::Rule& out) {
  FilterParser parser(grpc, route.meta.ns, out);
  for (const FieldReader& filter : rule.items("filters")) parser.parse(filter);
}

void parse_route_patience(const FieldReader& rule, HttpRoute& out) {
  uint32_t request_ms = 0, try_ms = 0;
  const auto timeouts = rule.child("timeouts");
  if (timeouts && timeouts->expect_map({.read = kTimeoutsRead, .known = {}})) {
    request_ms = gateway_duration_ms(*timeouts, "request").value_or(0);
    try_ms = gateway_duration_ms(*timeouts, "backendRequest").value_or(0);
    if (request_ms > 0 && try_ms > request_ms)
      timeouts->error_at("backendRequest", kValueRejected, "it is longer than request",
                         "use at most what request says");
  }
  parse_retry(rule, try_ms, out);
  // With one try only, its time is all the time there is.
  const bool one_try = !out.has_retries() && try_ms > 0;
  out.set_timeout_ms(one_try ? try_ms : request_ms);
}

}  // namespace weft::control_plane
