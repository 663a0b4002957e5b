// See gateway_rules.h.
#include "userspace-proxy/config/gateway_rules.h"

#include <utility>
#include <vector>

#include "agent/policy/l4_policy.h"
#include "userspace-proxy/policy/request_authentication.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {
namespace {

// Nobody asks a provider at a gateway: what a policy of CUSTOM selects there is denied, as the message
// without the extension says.
AuthorizationPtr enforceable(const AuthorizationPtr& policy) {
  if (!agent::is_custom(*policy)) return policy;
  auto out = std::make_shared<istio::security::Authorization>(*policy);
  auto& extensions = *out->mutable_extensions();
  for (int i = extensions.size() - 1; i >= 0; --i) {
    if (extensions[i].name() == agent::kCustomExtension) extensions.DeleteSubrange(i, 1);
  }
  return out;
}

}  // namespace

std::shared_ptr<const GatewayRules> GatewayRulesTable::of(const GatewayPolicyNames& names) {
  if (names.empty()) return nullptr;
  std::shared_ptr<const GatewayRules>& known = made_[names];
  if (known == nullptr) known = make(names);
  return known;
}

std::shared_ptr<const GatewayRules> GatewayRulesTable::make(const GatewayPolicyNames& names) const {
  auto out = std::make_shared<GatewayRules>();
  std::vector<AuthorizationPtr> policies;
  for (const std::string& name : names.authorizations) {
    const auto found = resources_.authorizations.find(name);
    policies.push_back(found == resources_.authorizations.end() ? nullptr : enforceable(found->second));
  }
  if (!policies.empty()) out->policies = std::make_shared<const PolicySet>(policies);
  std::vector<TokenRulePtr> rules;
  for (const std::string& name : names.authentications) {
    const auto found = resources_.authentications.find(name);
    if (found == resources_.authentications.end()) continue;
    rules.insert(rules.end(), found->second->rules.begin(), found->second->rules.end());
  }
  if (!rules.empty()) out->authentication = std::make_shared<const RequestAuthentication>(std::move(rules));
  return out;
}

}  // namespace weft::proxy
