// Authorization policies of one rule, for tests of who may come in.
#pragma once

#include <memory>
#include <string>

#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {

// One rule, with these terms and no others.
template <typename Terms>
AuthorizationPtr about(istio::security::Action action, const char* policy, const Terms& terms) {
  auto out = std::make_shared<istio::security::Authorization>();
  out->set_name(policy);
  out->set_namespace_("shop");
  out->set_action(action);
  auto& extension = *out->add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name(std::string(Terms::descriptor()->full_name()));
  extension.mutable_config()->PackFrom(terms);
  return out;
}

// ALLOW or DENY for requests with this path.
inline AuthorizationPtr about_path(istio::security::Action action, const char* path) {
  weft::mesh::v1::HttpTerms terms;
  terms.add_paths()->set_exact(path);
  return about(action, "one", terms);
}

// ALLOW for requests with this header field.
inline AuthorizationPtr about_field(const char* name, const char* value) {
  weft::mesh::v1::HttpTerms terms;
  auto& field = *terms.add_headers();
  field.set_name(name);
  field.add_values()->set_exact(value);
  return about(istio::security::ALLOW, "field", terms);
}

// ALLOW or DENY for TLS to this server.
inline AuthorizationPtr about_server_name(istio::security::Action action, const char* name) {
  weft::mesh::v1::ConnectionTerms terms;
  terms.add_server_names()->set_exact(name);
  return about(action, "named", terms);
}

inline AuthorizationPtr everything(istio::security::Action action) {
  auto out = std::make_shared<istio::security::Authorization>();
  out->set_action(action);
  out->add_rules();
  return out;
}

inline AuthorizationPtr dry_run(const AuthorizationPtr& policy) {
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  out->set_dry_run(true);
  return out;
}
inline AuthorizationPtr audit(const AuthorizationPtr& policy) {
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  out->set_dry_run(true);
  out->add_extensions()->set_name(agent::kAuditExtension);
  return out;
}

// What it matches is for this provider to allow.
inline AuthorizationPtr custom(const AuthorizationPtr& policy, const char* provider) {
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  out->set_action(istio::security::DENY);
  weft::mesh::v1::CustomAction action;
  action.set_provider(provider);
  auto& extension = *out->add_extensions();
  extension.set_name(agent::kCustomExtension);
  extension.mutable_config()->PackFrom(action);
  return out;
}

// The same with one condition more in its rule.
inline AuthorizationPtr with_principal(const AuthorizationPtr& policy, const char* principal) {
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  out->mutable_rules(0)->add_clauses()->add_matches()->add_principals()->set_exact(principal);
  return out;
}
inline AuthorizationPtr on_port(const AuthorizationPtr& policy, uint16_t port) {
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  out->mutable_rules(0)->add_clauses()->add_matches()->add_destination_ports(port);
  return out;
}

}  // namespace weft::proxy
