// See parse_http_match.h. Semantics: Istio HTTPMatchRequest; prefix is a raw string prefix, regex is RE2 on
// the whole string.
#include "control-plane/resource/parse_http_match.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/claim_name.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HttpMatch;
using mesh::v1::StringMatch;

constexpr size_t kMaxRegex = 1024;
constexpr std::array<Names, 14> kMatchRead = {"name",        "uri",       "ignoreUriCase", "scheme",
                                              "method",      "authority", "headers",       "withoutHeaders",
                                              "queryParams", "port",      "sourceLabels",  "sourceNamespace",
                                              "gateways",    "statPrefix"};
constexpr std::array<Names, 3> kStringRead = {"exact", "prefix", "regex"};
constexpr std::array<Names, 4> kReservedHeaders = {"uri", "scheme", "method", "authority"};

}  // namespace

void check_regex(const FieldReader& parent, std::string_view field, const std::string& regex) {
  if (regex.size() > kMaxRegex) {
    parent.error_at(field, kValueRejected, str_cat("a regex of ", regex.size(), " characters"),
                    str_cat("use at most ", kMaxRegex, " characters"));
    return;
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  const re2::RE2 compiled(regex, options);
  if (!compiled.ok()) {
    parent.error_at(field, kValueRejected, str_cat("not a regular expression: ", compiled.error()),
                    "use RE2 syntax (no back-references, no look-around)");
  }
}

void parse_string_match(const FieldReader& string, bool presence, StringMatch& out) {
  if (!string.expect_map({.read = kStringRead, .known = {}})) return;
  const size_t count = string.node().fields.size();
  const std::string regex = string.text("regex").value_or("");
  if (presence && (count == 0 || (count == 1 && regex == "*"))) {
    out.set_present(true);
    return;
  }
  if (count != 1) {
    string.error(kValueRejected, count == 0 ? "an empty match" : "more than one of exact, prefix and regex",
                 "give exactly one of exact, prefix or regex");
    return;
  }
  if (auto exact = string.text("exact")) out.set_exact(*std::move(exact));
  if (auto prefix = string.text("prefix")) out.set_prefix(*std::move(prefix));
  if (string.has("regex")) {
    check_regex(string, "regex", regex);
    out.set_regex(regex);
  }
}

namespace {

void parse_field(const FieldReader& match, std::string_view name, StringMatch* (HttpMatch::*mutable_field)(),
                 HttpMatch& out) {
  if (const auto string = match.child(name)) parse_string_match(*string, false, *(out.*mutable_field)());
}

// `name` as it is matched, `field` as it is written in `headers`.
void check_header_name(const FieldReader& headers, Names field, const std::string& name) {
  if (names_claim(name)) {
    if (!claim_path(name))
      headers.error_at(
          field, kValueRejected, str_cat("\"", name.substr(0, 64), "\" names no claim"),
          "write @request.auth.claims.NAME, or @request.auth.claims[NAME][NAME] of an object in it");
    return;
  }
  for (Names reserved : kReservedHeaders) {
    if (name == reserved) {
      headers.error_at(field, kValueRejected, str_cat("\"", name, "\" is not matched as a header"),
                       str_cat("use the field match[].", name));
    }
  }
  for (char c : name) {
    if (!absl::ascii_isgraph(c) || c == ':') {
      headers.error_at(field, kValueRejected, "not a header name", "use letters, digits and '-'");
      return;
    }
  }
}

void parse_named(const FieldReader& match, std::string_view field, bool headers,
                 google::protobuf::RepeatedPtrField<mesh::v1::HeaderMatch>& out) {
  const auto map = match.child(field);
  if (!map) return;
  if (map->node().kind != YamlNode::Kind::kMap) {
    map->error(kWrongType, "expected a map of names to matches",
               "write \"name: {exact: value}\" lines below it");
    return;
  }
  for (const YamlField& f : map->node().fields) {
    mesh::v1::HeaderMatch& parsed = *out.Add();
    // Names of claims are told apart by their letters' case (RFC 7519 §4).
    parsed.set_name(headers && !names_claim(f.name) ? absl::AsciiStrToLower(f.name) : f.name);
    if (headers) check_header_name(*map, f.name, parsed.name());
    const auto value = map->child(f.name);
    if (!value) {
      parsed.mutable_value()->set_present(true);
      continue;
    }
    parse_string_match(*value, true, *parsed.mutable_value());
  }
}

}  // namespace

void parse_http_match(const FieldReader& match, const std::string& ns, HttpMatch& out) {
  if (!match.expect_map({.read = kMatchRead, .known = {}})) return;
  for (std::string& gateway : parse_gateways(match, ns)) out.add_gateways(std::move(gateway));
  if (match.has("statPrefix"))
    match.warning(kWithoutEffect, "statPrefix has no effect: requests are counted by destination",
                  "remove it; the access log names the route of every request");
  if (auto name = match.text("name")) out.set_name(*std::move(name));
  parse_field(match, "uri", &HttpMatch::mutable_uri, out);
  parse_field(match, "scheme", &HttpMatch::mutable_scheme, out);
  parse_field(match, "method", &HttpMatch::mutable_method, out);
  parse_field(match, "authority", &HttpMatch::mutable_authority, out);
  parse_named(match, "headers", true, *out.mutable_headers());
  parse_named(match, "withoutHeaders", true, *out.mutable_without_headers());
  parse_named(match, "queryParams", false, *out.mutable_query_params());
  out.set_port(static_cast<uint32_t>(match.integer("port", 1, 65535).value_or(0)));
  for (const auto& [key, value] : match.text_map("sourceLabels")) (*out.mutable_source_labels())[key] = value;
  if (auto ns_of_clients = match.text("sourceNamespace")) out.set_source_namespace(*std::move(ns_of_clients));
  out.set_ignore_uri_case(match.boolean("ignoreUriCase").value_or(false));
  if (out.ignore_uri_case() && out.uri().kind_case() == StringMatch::kRegex) {
    match.error_at("ignoreUriCase", kValueRejected, "ignoreUriCase has no effect on a regex",
                   "remove it and begin the regex with (?i)");
  }
}

bool asks_for_claims(const HttpMatch& match) {
  const auto any = [](const auto& headers) {
    return std::any_of(headers.begin(), headers.end(),
                       [](const mesh::v1::HeaderMatch& header) { return names_claim(header.name()); });
  };
  return any(match.headers()) || any(match.without_headers());
}

std::vector<std::string> parse_gateways(const FieldReader& parent, const std::string& ns) {
  std::vector<std::string> out;
  for (const FieldReader& item : parent.items("gateways")) {
    const auto text = item.as_text();
    if (!text) continue;
    const size_t slash = text->find('/');
    const std::string name = slash == std::string::npos ? *text : text->substr(slash + 1);
    if (name.empty() || name.find('/') != std::string::npos || slash == 0) {
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no gateway"),
                 "use \"mesh\", a Gateway's name, or namespace/name");
    } else if (*text == "mesh") {
      out.push_back(*text);
    } else {
      out.push_back(str_cat(slash == std::string::npos ? ns : text->substr(0, slash), "/", name));
    }
  }
  return out;
}

bool is_catch_all(const HttpMatch& match) {
  if (match.has_scheme() || match.has_method() || match.has_authority() || match.headers_size() > 0 ||
      match.without_headers_size() > 0 || match.query_params_size() > 0 || match.port() != 0 ||
      match.source_labels_size() > 0 || !match.source_namespace().empty() || match.gateways_size() > 0) {
    return false;
  }
  if (!match.has_uri()) return true;
  const StringMatch& uri = match.uri();
  return (uri.kind_case() == StringMatch::kPrefix && (uri.prefix() == "/" || uri.prefix().empty())) ||
         (uri.kind_case() == StringMatch::kRegex && uri.regex() == ".*");
}

}  // namespace weft::control_plane
