// See external_provider.h.
#include "userspace-proxy/policy/external_provider.h"

#include <algorithm>

#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/message.h"

namespace weft::proxy {
namespace {

namespace pb = weft::mesh::v1;

constexpr uint32_t kHighestPort = 65'535;
constexpr uint32_t kMaxTimeoutMs = 3'600'000;

bool is_status(uint32_t status) { return status >= 200 && status <= 599; }

FieldNames names_of(const google::protobuf::RepeatedPtrField<pb::FieldName>& fields) {
  FieldNames out;
  for (const pb::FieldName& field : fields) {
    if (field.has_exact()) out.add(FieldNames::Kind::kExact, field.exact());
    if (field.has_prefix()) out.add(FieldNames::Kind::kPrefix, field.prefix());
    if (field.has_suffix()) out.add(FieldNames::Kind::kSuffix, field.suffix());
  }
  return out;
}

// What is added to a request must not become another one.
absl::Status check_added(const pb::HttpCheck& http) {
  for (const auto& [name, value] : http.added_fields()) {
    if (!is_token(name) || value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return absl::InvalidArgumentError("http.added_fields: a name or value that no field has");
  }
  if (http.path_prefix().find_first_of(" \t\r\n") != std::string::npos)
    return absl::InvalidArgumentError("http.path_prefix: white space");
  return absl::OkStatus();
}

}  // namespace

bool FieldNames::has(std::string_view name) const {
  return std::any_of(terms_.begin(), terms_.end(), [name](const auto& term) {
    const std::string_view text = term.second;
    if (term.first == Kind::kExact) return equals_ignore_case(name, text);
    if (name.size() < text.size()) return false;
    return equals_ignore_case(
        term.first == Kind::kPrefix ? name.substr(0, text.size()) : name.substr(name.size() - text.size()),
        text);
  });
}

absl::StatusOr<ExternalProviderPtr> ExternalProvider::compile(const pb::ExternalProvider& message) {
  const uint32_t status = message.status_on_error() == 0 ? kDefaultStatus : message.status_on_error();
  if (message.name().empty() || message.host().empty() || message.port() == 0 ||
      message.port() > kHighestPort)
    return absl::InvalidArgumentError("a provider needs a name, a host, and a port from 1 to 65535");
  if (!is_status(status) || message.timeout_ms() > kMaxTimeoutMs || message.max_body_bytes() > kMaxBodyBytes)
    return absl::InvalidArgumentError(
        str_cat("provider ", message.name(), ": a status, a time or a size that is out of its range"));
  if (const absl::Status added = check_added(message.http()); !added.ok())
    return absl::InvalidArgumentError(
        str_cat("provider ", message.name(), ": ", std::string(added.message())));
  auto out = std::make_shared<ExternalProvider>();
  out->name = message.name();
  out->kind = message.has_http() ? Kind::kHttp : Kind::kGrpc;
  out->host = message.host();
  out->port = static_cast<uint16_t>(message.port());
  if (message.timeout_ms() != 0) out->timeout_ms = message.timeout_ms();
  out->fail_open = message.fail_open();
  out->status_on_error = static_cast<uint16_t>(status);
  out->max_body_bytes = message.max_body_bytes();
  out->partial_body = message.partial_body();
  out->raw_body = message.raw_body();
  const pb::HttpCheck& http = message.http();
  out->path_prefix = http.path_prefix();
  out->request_fields = names_of(http.request_fields());
  for (const auto& [name, value] : http.added_fields()) out->added_fields.emplace_back(name, value);
  std::sort(out->added_fields.begin(), out->added_fields.end());
  out->fields_to_upstream = names_of(http.fields_to_upstream());
  out->fields_on_allow = names_of(http.fields_on_allow());
  out->fields_on_deny = names_of(http.fields_on_deny());
  return out;
}

}  // namespace weft::proxy
