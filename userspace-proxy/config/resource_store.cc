// Keeps what validate.h accepted. Called by the configuration client for every resource of a response; never
// drops a good version because a newer one is bad.
#include "userspace-proxy/config/resource_store.h"

#include <google/protobuf/arena.h>

#include "agent/policy/l4_policy.h"
#include "base/status_macros.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "proto/xds/secret.pb.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {
namespace {

namespace tls = envoy::extensions::transport_sockets::tls::v3;

std::string rejected_key(std::string_view type, std::string_view name) {
  return str_cat(type.substr(type.rfind('/') + 1), " ", name);
}

template <typename Spec, typename Message>
absl::Status put(const Message& message, const std::string& name, Resources::Table<Spec>* table) {
  ASSIGN_OR_RETURN(Spec spec, validate(message));
  (*table)[name] = std::make_shared<const Spec>(std::move(spec));
  return absl::OkStatus();
}

absl::Status unpack_to(const google::protobuf::Any& any, google::protobuf::Message* message) {
  if (any.UnpackTo(message)) return absl::OkStatus();
  return absl::InvalidArgumentError(str_cat("not a ", message->GetTypeName()));
}

template <typename Message>
absl::StatusOr<Message> unpack(const google::protobuf::Any& any) {
  Message message;
  RETURN_IF_ERROR(unpack_to(any, &message));
  return message;
}

absl::StatusOr<AuthenticationSpec> compile(const weft::mesh::v1::RequestAuthentication& message) {
  AuthenticationSpec out{.ns = message.namespace_(),
                         .gateways_only = message.gateways_only(),
                         .every_namespace = message.every_namespace(),
                         .selector = {},
                         .rules = {}};
  for (const auto& [key, value] : message.selector()) out.selector.emplace_back(key, value);
  for (int i = 0; i < message.rules_size(); ++i) {
    auto rule = TokenRule::compile(message.rules(i));
    if (!rule.ok()) return annotate(str_cat("rule ", i), rule.status());
    out.rules.push_back(*std::move(rule));
  }
  return out;
}

}  // namespace

absl::Status ResourceStore::insert(std::string_view type,
                                   const envoy::service::discovery::v3::Resource& resource) {
  const std::string& name = resource.name();
  if (name.empty()) return absl::InvalidArgumentError("resource without a name");
  if (type == kRouteSetType) {
    // On an arena: of ten thousand routes nothing stays, and nothing is freed one by one.
    google::protobuf::Arena arena;
    auto* const message = google::protobuf::Arena::CreateMessage<weft::mesh::v1::RouteSet>(&arena);
    RETURN_IF_ERROR(unpack_to(resource.resource(), message));
    ASSIGN_OR_RETURN(RouteSetSpec spec, validate(*message, limiters_, identities_));
    spec.resource = name;
    resources_.route_sets[name] = std::make_shared<const RouteSetSpec>(std::move(spec));
    return absl::OkStatus();
  }
  if (type == kDestinationPolicyType) {
    ASSIGN_OR_RETURN(const auto message, unpack<weft::mesh::v1::DestinationPolicy>(resource.resource()));
    return put(message, name, &resources_.policies);
  }
  if (type == kSecretType) {
    ASSIGN_OR_RETURN(const auto message, unpack<tls::Secret>(resource.resource()));
    auto secret = std::make_shared<SecretSpec>();
    secret->pair = {message.tls_certificate().certificate_chain().inline_bytes(),
                    message.tls_certificate().private_key().inline_bytes()};
    secret->roots = message.validation_context().trusted_ca().inline_bytes();
    secret->crls = message.validation_context().crl().inline_bytes();
    resources_.secrets[name] = std::move(secret);
    return absl::OkStatus();
  }
  if (type == kAuthenticationType) {
    ASSIGN_OR_RETURN(const auto message, unpack<weft::mesh::v1::RequestAuthentication>(resource.resource()));
    ASSIGN_OR_RETURN(AuthenticationSpec spec, compile(message));
    resources_.authentications[name] = std::make_shared<const AuthenticationSpec>(std::move(spec));
    return absl::OkStatus();
  }
  if (type == kMeshConfigType) {
    ASSIGN_OR_RETURN(const auto message, unpack<weft::mesh::v1::MeshConfig>(resource.resource()));
    ASSIGN_OR_RETURN(resources_.mesh, validate(message));
    return absl::OkStatus();
  }
  if (type == kAuthorizationType) {
    ASSIGN_OR_RETURN(auto message, unpack<istio::security::Authorization>(resource.resource()));
    RETURN_IF_ERROR(agent::validate_policy(message));
    RETURN_IF_ERROR(validate_request_terms(message));
    resources_.authorizations[name] =
        std::make_shared<const istio::security::Authorization>(std::move(message));
    return absl::OkStatus();
  }
  if (type != kAddressType) return absl::InvalidArgumentError(str_cat("type ", type, " was not asked for"));
  ASSIGN_OR_RETURN(const auto address, unpack<istio::workload::Address>(resource.resource()));
  // A name stays a service or a workload; should it ever change, the other row must go.
  if (address.has_service()) {
    RETURN_IF_ERROR(put(address.service(), name, &resources_.services));
    resources_.workloads.erase(name);
    return absl::OkStatus();
  }
  if (!address.has_workload()) return absl::InvalidArgumentError("neither a workload nor a service");
  RETURN_IF_ERROR(put(address.workload(), name, &resources_.workloads));
  resources_.services.erase(name);
  return absl::OkStatus();
}

absl::Status ResourceStore::apply(std::string_view type,
                                  const envoy::service::discovery::v3::Resource& resource) {
  const std::string key = rejected_key(type, resource.name());
  if (absl::Status status = insert(type, resource); !status.ok()) {
    rejected_[key] = std::string(status.message());
    return status;
  }
  rejected_.erase(key);
  versions_[std::string(type)][resource.name()] = resource.version();
  return absl::OkStatus();
}

void ResourceStore::remove(std::string_view type, const std::string& name) {
  rejected_.erase(rejected_key(type, name));
  if (const auto found = versions_.find(type); found != versions_.end()) found->second.erase(name);
  if (type == kAddressType) {
    resources_.services.erase(name);
    resources_.workloads.erase(name);
  }
  if (type == kAuthorizationType) resources_.authorizations.erase(name);
  if (type == kAuthenticationType) resources_.authentications.erase(name);
  if (type == kMeshConfigType) resources_.mesh = MeshSpec();
  if (type == kSecretType) resources_.secrets.erase(name);
  if (type == kRouteSetType) resources_.route_sets.erase(name);
  if (type == kDestinationPolicyType) resources_.policies.erase(name);
}

std::map<std::string, std::string> ResourceStore::versions(std::string_view type) const {
  const auto found = versions_.find(type);
  if (found == versions_.end()) return {};
  return found->second;
}

}  // namespace weft::proxy
