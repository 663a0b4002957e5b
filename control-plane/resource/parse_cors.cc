// See parse_cors.h. Semantics: Istio's CorsPolicy; lists are sent joined by commas.
#include "control-plane/resource/parse_cors.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_http_match.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 8> kCorsRead = {"allowOrigins",     "allowOrigin",        "allowMethods",
                                            "allowHeaders",     "exposeHeaders",      "maxAge",
                                            "allowCredentials", "unmatchedPreflights"};
// A day and more is usual here.
constexpr uint32_t kMaxAgeMs = 30u * 24 * 3'600'000;

bool is_token(Names text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           Names("!#$&'*+-.^_`|~").find(c) != Names::npos;
  });
}

std::string joined(const FieldReader& cors, Names field) {
  std::string out;
  for (const FieldReader& item : cors.items(field)) {
    const auto text = item.as_text();
    if (!text) continue;
    if (!is_token(*text)) {
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no name"),
                 "use one method or header an entry, or \"*\"");
      continue;
    }
    str_append(&out, out.empty() ? "" : ",", *text);
  }
  return out;
}

// "https://*.example.com": the star is any text.
void add_origin(const FieldReader& item, const std::string& origin, mesh::v1::CorsPolicy& out) {
  const size_t star = origin.find('*');
  if (star == std::string::npos || origin == "*") return out.add_allow_origins()->set_exact(origin);
  if (origin.find('*', star + 1) != std::string::npos)
    item.error(kValueRejected, "an origin with two \"*\"", "use one, in front of the domain");
  out.add_allow_origins()->set_regex(str_cat(re2::RE2::QuoteMeta(origin.substr(0, star)), ".+",
                                             re2::RE2::QuoteMeta(origin.substr(star + 1))));
}

void parse_unmatched(const FieldReader& cors, mesh::v1::CorsPolicy& out) {
  const std::string word = cors.text("unmatchedPreflights").value_or("UNSPECIFIED");
  if (word == "IGNORE") {
    out.set_answer_unmatched_preflights(true);
  } else if (word != "FORWARD" && word != "UNSPECIFIED") {
    cors.error_at("unmatchedPreflights", kValueRejected,
                  str_cat("\"", word.substr(0, 32), "\" is none of its values"), "use FORWARD or IGNORE");
  }
}

}  // namespace

void parse_cors(const FieldReader& http, mesh::v1::HttpRoute& route) {
  const auto cors = http.child("corsPolicy");
  if (!cors || !cors->expect_map({.read = kCorsRead, .known = {}})) return;
  mesh::v1::CorsPolicy& out = *route.mutable_cors();
  for (const FieldReader& item : cors->items("allowOrigins"))
    parse_string_match(item, false, *out.add_allow_origins());
  // The old form: exact names. The new one wins.
  if (out.allow_origins().empty()) {
    for (std::string& origin : cors->texts("allowOrigin"))
      out.add_allow_origins()->set_exact(std::move(origin));
  }
  if (out.allow_origins().empty())
    cors->warning(kWithoutEffect, "without allowOrigins no origin is allowed", "give allowOrigins");
  out.set_allow_methods(joined(*cors, "allowMethods"));
  out.set_allow_headers(joined(*cors, "allowHeaders"));
  out.set_expose_headers(joined(*cors, "exposeHeaders"));
  if (const auto age = duration_ms(*cors, "maxAge", 0, kMaxAgeMs)) out.set_max_age(str_cat(*age / 1000));
  out.set_allow_credentials(cors->boolean("allowCredentials").value_or(false));
  parse_unmatched(*cors, out);
}

void parse_cors_filter(const FieldReader& filter, mesh::v1::HttpRoute& route) {
  static constexpr std::array<Names, 6> kRead = {"allowOrigins",  "allowMethods", "allowHeaders",
                                                 "exposeHeaders", "maxAge",       "allowCredentials"};
  constexpr int64_t kDefaultAge = 5;
  const auto cors = filter.child("cors");
  if (!cors || !cors->expect_map({.read = kRead, .known = {}})) return;
  mesh::v1::CorsPolicy& out = *route.mutable_cors();
  for (const FieldReader& item : cors->items("allowOrigins")) {
    if (const auto origin = item.as_text()) add_origin(item, *origin, out);
  }
  if (out.allow_origins().empty())
    cors->warning(kWithoutEffect, "without allowOrigins no origin is allowed", "give allowOrigins");
  out.set_allow_methods(joined(*cors, "allowMethods"));
  out.set_allow_headers(joined(*cors, "allowHeaders"));
  out.set_expose_headers(joined(*cors, "exposeHeaders"));
  out.set_max_age(str_cat(cors->integer("maxAge", 0, kMaxAgeMs / 1000).value_or(kDefaultAge)));
  out.set_allow_credentials(cors->boolean("allowCredentials").value_or(false));
  out.set_answer_unmatched_preflights(true);
}

}  // namespace weft::control_plane
