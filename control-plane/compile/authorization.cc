// See authorization.h.
#include "control-plane/compile/authorization.h"

#include <algorithm>

#include "base/strings.h"

namespace weft::control_plane {

namespace {

std::string target_key(const AuthorizationPolicy& policy, const std::string& service) {
  ObjectMeta meta;
  meta.ns = policy.meta.ns;
  meta.name = service;
  return service_key(meta);
}

}  // namespace

bool selects(const AuthorizationPolicy& policy, const CompiledWorkload& workload) {
  if (!policy.services.empty()) {
    return std::any_of(policy.services.begin(), policy.services.end(), [&](const std::string& service) {
      return workload.workload.services().contains(target_key(policy, service));
    });
  }
  if (!policy.gateways.empty()) return false;
  const bool in_reach = policy.meta.ns == kRootNamespace || policy.meta.ns == workload.workload.namespace_();
  return in_reach && selects(policy.selector, workload.labels);
}

void attach_policies(const Objects& objects, Workloads& workloads) {
  std::map<std::string, std::vector<CompiledWorkload*>> by_ns;
  for (auto& [uid, workload] : workloads) by_ns[workload.workload.namespace_()].push_back(&workload);
  for_each<AuthorizationPolicy>(objects, [&](const AuthorizationPolicy& policy) {
    if (policy.selector.empty() && policy.services.empty()) return;
    const std::string name = str_cat(policy.meta.ns, "/", policy.meta.name);
    for (auto& [ns, members] : by_ns) {
      // Endpoints of a Service may be entries of another namespace.
      if (policy.services.empty() && policy.meta.ns != kRootNamespace && policy.meta.ns != ns) continue;
      for (CompiledWorkload* workload : members) {
        if (selects(policy, *workload)) workload->workload.add_authorization_policies(name);
      }
    }
  });
  for (auto& [uid, workload] : workloads) {
    auto& names = *workload.workload.mutable_authorization_policies();
    std::sort(names.begin(), names.end());
  }
}

}  // namespace weft::control_plane
