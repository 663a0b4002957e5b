// See parse_external_provider.h.
#include "control-plane/resource/parse_external_provider.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/measure_fields.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::mesh::v1;
using Names = std::string_view;

constexpr std::array<Names, 6> kGrpcRead = {"service",  "port",          "timeout",
                                            "failOpen", "statusOnError", "includeRequestBodyInCheck"};
constexpr std::array<Names, 1> kGrpcKnown = {"clearRouteCache"};
constexpr std::array<Names, 13> kHttpRead = {"service",
                                             "port",
                                             "timeout",
                                             "failOpen",
                                             "statusOnError",
                                             "includeRequestBodyInCheck",
                                             "pathPrefix",
                                             "includeHeadersInCheck",
                                             "includeRequestHeadersInCheck",
                                             "includeAdditionalHeadersInCheck",
                                             "headersToUpstreamOnAllow",
                                             "headersToDownstreamOnAllow",
                                             "headersToDownstreamOnDeny"};
constexpr std::array<Names, 1> kHttpKnown = {"clearRouteCache"};
constexpr std::array<Names, 3> kBodyRead = {"maxRequestBytes", "allowPartialMessage", "packAsBytes"};
// See ExternalProvider of userspace-proxy/policy/external_provider.h.
constexpr int64_t kMaxBodyBytes = 65'536;
constexpr int64_t kLowestStatus = 400, kHighestStatus = 599;

// Nothing that is given changes what is done here: a route is chosen where the request begins.
void warn_of_route_cache(const FieldReader& provider) {
  const auto field = provider.child("clearRouteCache");
  if (field)
    field->warning(kWithoutEffect, "a request that comes in has no route that could be chosen again",
                   "remove the field");
}

// "my-authz", "my-authz.foo.svc.cluster.local", "foo/my-authz".
void parse_service(const FieldReader& provider, const std::string& ns, pb::ExternalProvider& out) {
  const std::string text = provider.required_text("service", "the host name of the provider's service");
  const int64_t port = provider.integer("port", 1, 65'535).value_or(0);
  if (!provider.has("port"))
    provider.error_at("port", kFieldMissing, "the field is required", "give the port of the service");
  out.set_port(static_cast<uint32_t>(port));
  const size_t slash = text.find('/');
  const std::string host = slash == std::string::npos ? text : text.substr(slash + 1);
  const std::string in = slash == std::string::npos ? ns : text.substr(0, slash);
  if (text.empty()) return;
  if (!is_host_name(host) || host.starts_with("*") || !is_dns_label(in)) {
    provider.error_at("service", kValueRejected, str_cat("\"", text.substr(0, 64), "\" is no service"),
                      "write HOST or NAMESPACE/HOST");
    return;
  }
  out.set_host(expand_host(host, in));
}

// A text in Istio's API, but often written as a number.
void parse_status(const FieldReader& provider, pb::ExternalProvider& out) {
  const auto field = provider.child("statusOnError");
  if (!field) return;
  const auto status = field->node().kind == YamlNode::Kind::kScalar
                          ? parse_integer<int64_t>(field->node().scalar)
                          : std::nullopt;
  if (status && *status >= kLowestStatus && *status <= kHighestStatus)
    return out.set_status_on_error(static_cast<uint32_t>(*status));
  field->error(kValueRejected, "not a status that refuses a request",
               str_cat("use \"", kLowestStatus, "\" to \"", kHighestStatus, "\""));
}

void parse_body(const FieldReader& provider, pb::ExternalProvider& out) {
  const auto body = provider.child("includeRequestBodyInCheck");
  if (!body || !body->expect_map({.read = kBodyRead, .known = {}})) return;
  if (!body->has("maxRequestBytes"))
    body->error_at("maxRequestBytes", kFieldMissing, "the field is required",
                   str_cat("give at most ", kMaxBodyBytes));
  out.set_max_body_bytes(
      static_cast<uint32_t>(body->integer("maxRequestBytes", 1, kMaxBodyBytes).value_or(0)));
  out.set_partial_body(body->boolean("allowPartialMessage").value_or(false));
  out.set_raw_body(body->boolean("packAsBytes").value_or(false));
}

void parse_common(const FieldReader& provider, const std::string& ns, pb::ExternalProvider& out) {
  warn_of_route_cache(provider);
  parse_service(provider, ns, out);
  out.set_timeout_ms(duration_ms(provider, "timeout", 1).value_or(0));
  out.set_fail_open(provider.boolean("failOpen").value_or(false));
  parse_status(provider, out);
  parse_body(provider, out);
}

// "x-user", "x-*", "*-id".
void parse_names(const FieldReader& provider, Names name,
                 google::protobuf::RepeatedPtrField<pb::FieldName>* out) {
  for (const FieldReader& item : provider.items(name)) {
    const auto text = item.as_text();
    if (!text) continue;
    std::string word = absl::AsciiStrToLower(*text);
    const bool prefix = word.size() > 1 && word.ends_with("*");
    const bool suffix = !prefix && word.starts_with("*");
    if (prefix) word.pop_back();
    if (suffix) word.erase(0, 1);
    const bool usable = (!word.empty() || suffix) && word.find_first_of("* \t\r\n:,\"") == std::string::npos;
    if (!usable) {
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no name of a header"),
                 "write a name, or a part of one with * at its end or its beginning");
      continue;
    }
    pb::FieldName& field = *out->Add();
    if (prefix)
      field.set_prefix(word);
    else if (suffix)
      field.set_suffix(word);
    else
      field.set_exact(word);
  }
}

void parse_http(const FieldReader& provider, pb::HttpCheck& out) {
  out.set_path_prefix(provider.text("pathPrefix").value_or(""));
  if (!out.path_prefix().empty() &&
      (out.path_prefix().front() != '/' || out.path_prefix().find_first_of("?# ") != std::string::npos))
    provider.error_at("pathPrefix", kValueRejected, "not the beginning of a path", "write it as /check");
  parse_names(provider, "includeHeadersInCheck", out.mutable_request_fields());
  parse_names(provider, "includeRequestHeadersInCheck", out.mutable_request_fields());
  for (const auto& [name, value] : provider.text_map("includeAdditionalHeadersInCheck")) {
    const bool plain = !name.empty() && name.find_first_of(" \t\r\n:,\"") == std::string::npos &&
                       value.find_first_of("\r\n") == std::string::npos;
    if (!plain)
      provider.error_at("includeAdditionalHeadersInCheck", kValueRejected,
                        str_cat("\"", name.substr(0, 64), "\" is no name of a header, or its value is none"),
                        "write x-name: value");
    (*out.mutable_added_fields())[absl::AsciiStrToLower(name)] = value;
  }
  parse_names(provider, "headersToUpstreamOnAllow", out.mutable_fields_to_upstream());
  parse_names(provider, "headersToDownstreamOnAllow", out.mutable_fields_on_allow());
  parse_names(provider, "headersToDownstreamOnDeny", out.mutable_fields_on_deny());
}

}  // namespace

bool parse_external_provider(const FieldReader& entry, const std::string& ns, pb::ExternalProvider& out) {
  if (const auto grpc = entry.child(kGrpcProvider)) {
    if (grpc->expect_map({.read = kGrpcRead, .known = kGrpcKnown, .strict = false}))
      parse_common(*grpc, ns, out);
    return true;
  }
  const auto http = entry.child(kHttpProvider);
  if (!http) return false;
  if (!http->expect_map({.read = kHttpRead, .known = kHttpKnown, .strict = false})) return true;
  parse_common(*http, ns, out);
  parse_http(*http, *out.mutable_http());
  return true;
}

}  // namespace weft::control_plane
