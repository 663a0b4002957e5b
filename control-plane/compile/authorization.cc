// See authorization.h.
#include "control-plane/compile/authorization.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

std::string name_of(const AuthorizationPolicy& policy) {
  return str_cat(policy.meta.ns, "/", policy.meta.name);
}

}  // namespace

std::string target_key(const AuthorizationPolicy& policy, const std::string& service) {
  ObjectMeta meta;
  meta.ns = policy.meta.ns;
  meta.name = service;
  return service_key(meta);
}

PolicySelectors::PolicySelectors(const Objects& objects) {
  for_each<AuthorizationPolicy>(objects, [this](const AuthorizationPolicy& policy) {
    if (policy.services.empty()) {
      if (!policy.selector.empty() && policy.gateways.empty()) by_ns_[policy.meta.ns].push_back(&policy);
      return;
    }
    for (const std::string& service : policy.services)
      by_service_[target_key(policy, service)].push_back(name_of(policy));
  });
}

void PolicySelectors::add(const std::string& ns, CompiledWorkload& workload) const {
  const auto found = by_ns_.find(ns);
  if (found == by_ns_.end()) return;
  for (const AuthorizationPolicy* policy : found->second) {
    if (selects(policy->selector, workload.labels))
      workload.workload.add_authorization_policies(name_of(*policy));
  }
}

void PolicySelectors::add_to(CompiledWorkload& workload) const {
  const std::string& ns = workload.workload.namespace_();
  add(ns, workload);
  if (ns != kRootNamespace) add(kRootNamespace, workload);
  std::set<std::string> of_services;
  if (!by_service_.empty()) {
    for (const auto& [key, ports] : workload.workload.services()) {
      const auto found = by_service_.find(key);
      if (found != by_service_.end()) of_services.insert(found->second.begin(), found->second.end());
    }
  }
  for (const std::string& name : of_services) workload.workload.add_authorization_policies(name);
  auto& names = *workload.workload.mutable_authorization_policies();
  std::sort(names.begin(), names.end());
}

}  // namespace weft::control_plane
