// See gateway_rules.h.
#include "userspace-proxy/config/gateway_rules.h"

#include <utility>
#include <vector>

#include "agent/policy/l4_policy.h"
#include "userspace-proxy/policy/request_authentication.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {
std::shared_ptr<const GatewayRules> GatewayRulesTable::of(const std::string& ns,
                                                          const GatewayPolicyNames& names) {
  if (names.empty()) return nullptr;
  std::shared_ptr<const GatewayRules>& known = made_[{ns, names}];
  if (known == nullptr) known = make(ns, names);
  return known;
}

std::shared_ptr<const GatewayRules> GatewayRulesTable::make(const std::string& ns,
                                                            const GatewayPolicyNames& names) const {
  auto out = std::make_shared<GatewayRules>();
  out->ns = ns;
  out->asks_as = names.asks_as;
  std::vector<AuthorizationPtr> policies;
  for (const std::string& name : names.authorizations) {
    const auto found = resources_.authorizations.find(name);
    policies.push_back(found == resources_.authorizations.end() ? nullptr : found->second);
    out->asks_providers |= policies.back() != nullptr && agent::is_custom(*policies.back());
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
