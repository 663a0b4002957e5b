// Matches of HTTPRoute and GRPCRoute. Semantics: gateway.networking.k8s.io; of entries for one header or
// query parameter only the first counts, a prefix is of whole segments, regular expressions match whole
// values.
#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/claim_name.h"
#include "base/strings.h"
#include "control-plane/resource/gateway_route_parts.h"
#include "control-plane/resource/parse_header_edits.h"
#include "control-plane/resource/parse_http_match.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HttpMatch;
using mesh::v1::HttpRoute;

constexpr std::array<Names, 4> kMatchRead = {"path", "headers", "queryParams", "method"};
constexpr std::array<Names, 2> kGrpcMatchRead = {"method", "headers"};
constexpr std::array<Names, 2> kPathRead = {"type", "value"};
constexpr std::array<Names, 3> kNamedRead = {"type", "name", "value"};
constexpr std::array<Names, 3> kGrpcMethodRead = {"type", "service", "method"};
constexpr std::array<Names, 9> kMethods = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                           "CONNECT", "OPTIONS", "TRACE", "PATCH"};
constexpr size_t kMaxMatches = 64;
constexpr size_t kMaxNamed = 16;
constexpr size_t kMaxPath = 1024;

void check_path(const FieldReader& path, const std::string& value) {
  bool bad = !value.starts_with('/') || value.size() > kMaxPath;
  for (const char c : value) bad = bad || static_cast<unsigned char>(c) <= 0x20 || c == '#' || c == '?';
  for (const Names inside : {"//", "/./", "/../", "%2f", "%2F"})
    bad = bad || value.find(inside) != std::string::npos;
  bad = bad || value.ends_with("/..") || value.ends_with("/.");
  if (bad)
    path.error_at("value", kValueRejected, str_cat("\"", value.substr(0, 64), "\" is no path to match"),
                  "begin it with \"/\", without \"//\", \"/./\", \"/../\", \"%2f\" and \"#\"");
}

void parse_path(const FieldReader& match, HttpMatch& out) {
  const auto path = match.child("path");
  if (path && !path->expect_map({.read = kPathRead, .known = {}})) return;
  const std::string type = path ? path->text("type").value_or("PathPrefix") : "PathPrefix";
  const std::string value = path ? path->text("value").value_or("/") : "/";
  if (type == "Exact") {
    check_path(*path, value);
    out.mutable_uri()->set_exact(value);
  } else if (type == "PathPrefix") {
    if (path) check_path(*path, value);
    out.mutable_uri()->set_segments(value);
  } else if (type == "RegularExpression") {
    check_regex(*path, "value", value);
    out.mutable_uri()->set_regex(value);
  } else {
    path->error_at("type", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no type of path match"),
                   "use Exact, PathPrefix or RegularExpression");
  }
}

// "headers" and "queryParams".
void parse_named(const FieldReader& match, Names field, bool headers,
                 google::protobuf::RepeatedPtrField<mesh::v1::HeaderMatch>& out) {
  const std::vector<FieldReader> items = match.items(field);
  if (items.size() > kMaxNamed)
    match.error_at(field, kValueRejected, str_cat(items.size(), " entries"),
                   str_cat("use at most ", kMaxNamed));
  for (const FieldReader& item : items) {
    if (!item.expect_map({.read = kNamedRead, .known = {}})) continue;
    std::string name = item.required_text("name", "the name");
    if (headers) name = absl::AsciiStrToLower(name);
    if (headers && names_claim(name))
      item.error_at("name", kValueRejected, str_cat("\"", name.substr(0, 64), "\" is no header's name"),
                    "match claims of tokens by a VirtualService");
    const std::string value = item.required_text("value", "the value");
    const std::string type = item.text("type").value_or("Exact");
    const auto same = [&](const mesh::v1::HeaderMatch& other) { return other.name() == name; };
    if (std::any_of(out.begin(), out.end(), same)) {
      item.warning(kWithoutEffect,
                   str_cat("\"", name.substr(0, 64), "\" is named twice: only the first counts"),
                   "remove one of the two");
      continue;
    }
    mesh::v1::HeaderMatch& parsed = *out.Add();
    parsed.set_name(name);
    if (type == "RegularExpression") {
      check_regex(item, "value", value);
      parsed.mutable_value()->set_regex(value);
    } else {
      parsed.mutable_value()->set_exact(value);
    }
    if (type != "Exact" && type != "RegularExpression")
      item.error_at("type", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no type of match"),
                    "use Exact or RegularExpression");
  }
}

void parse_method(const FieldReader& match, HttpMatch& out) {
  const auto method = match.text("method");
  if (!method) return;
  if (std::find(kMethods.begin(), kMethods.end(), *method) == kMethods.end())
    match.error_at("method", kValueRejected, str_cat("\"", method->substr(0, 32), "\" is no method here"),
                   "use GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH");
  out.mutable_method()->set_exact(*method);
}

// HTTP/2 has no such field: it is the authority, whatever the version.
void take_host(HttpMatch& match) {
  auto& headers = *match.mutable_headers();
  const auto is_host = [](const mesh::v1::HeaderMatch& header) { return header.name() == "host"; };
  const auto host = std::find_if(headers.begin(), headers.end(), is_host);
  if (host == headers.end()) return;
  *match.mutable_authority() = host->value();
  headers.erase(host);
}

bool is_grpc_name(Names text, bool dots) {
  const auto good = [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || (dots && c == '.');
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), good);
}

// gRPC's methods are paths: "/package.Service/Method".
void parse_grpc_method(const FieldReader& match, HttpMatch& out) {
  const auto method = match.child("method");
  if (!method || !method->expect_map({.read = kGrpcMethodRead, .known = {}})) return;
  const std::string type = method->text("type").value_or("Exact");
  const std::string service = method->text("service").value_or("");
  const std::string name = method->text("method").value_or("");
  if (service.empty() && name.empty())
    method->error(kFieldMissing, "a method match needs a service or a method", "give service or method");
  if (type == "RegularExpression") {
    if (!service.empty()) check_regex(*method, "service", service);
    if (!name.empty()) check_regex(*method, "method", name);
    const auto any = [](const std::string& text) { return text.empty() ? std::string("[^/]+") : text; };
    out.mutable_uri()->set_regex(str_cat("/(?:", any(service), ")/(?:", any(name), ")"));
    return;
  }
  if (type != "Exact")
    method->error_at("type", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no type of match"),
                     "use Exact or RegularExpression");
  if ((!service.empty() && !is_grpc_name(service, true)) || (!name.empty() && !is_grpc_name(name, false)))
    method->error(kValueRejected, "not the name of a gRPC service and method",
                  "write service as package.Service and method as Method");
  if (!service.empty() && !name.empty()) out.mutable_uri()->set_exact(str_cat("/", service, "/", name));
  if (!service.empty() && name.empty()) out.mutable_uri()->set_prefix(str_cat("/", service, "/"));
  if (service.empty() && !name.empty()) out.mutable_uri()->set_regex(str_cat("/[^/]+/", name));
}

std::vector<FieldReader> match_items(const FieldReader& rule) {
  std::vector<FieldReader> items = rule.items("matches");
  if (items.size() > kMaxMatches)
    rule.error_at("matches", kValueRejected, str_cat(items.size(), " matches"),
                  str_cat("use at most ", kMaxMatches, " in one rule"));
  return items;
}

}  // namespace

void parse_http_matches(const FieldReader& rule, HttpRoute& out) {
  for (const FieldReader& item : match_items(rule)) {
    if (!item.expect_map({.read = kMatchRead, .known = {}})) continue;
    HttpMatch& match = *out.add_matches();
    parse_path(item, match);
    parse_method(item, match);
    parse_named(item, "headers", true, *match.mutable_headers());
    parse_named(item, "queryParams", false, *match.mutable_query_params());
    take_host(match);
  }
  if (out.matches().empty()) out.add_matches()->mutable_uri()->set_segments("/");
}

void parse_grpc_matches(const FieldReader& rule, HttpRoute& out) {
  for (const FieldReader& item : match_items(rule)) {
    if (!item.expect_map({.read = kGrpcMatchRead, .known = {}})) continue;
    HttpMatch& match = *out.add_matches();
    parse_grpc_method(item, match);
    parse_named(item, "headers", true, *match.mutable_headers());
  }
  if (out.matches().empty()) out.add_matches();
}

}  // namespace weft::control_plane
