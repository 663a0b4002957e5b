// See authorization.h.
#include "control-plane/compile/authorization.h"

#include <algorithm>

#include "base/strings.h"

namespace weft::control_plane {

bool selects(const AuthorizationPolicy& policy, const CompiledWorkload& workload) {
  const bool in_reach = policy.meta.ns == kRootNamespace || policy.meta.ns == workload.workload.namespace_();
  return in_reach && selects(policy.selector, workload.labels);
}

void attach_policies(const Objects& objects, Workloads& workloads) {
  std::map<std::string, std::vector<CompiledWorkload*>> by_ns;
  for (auto& [uid, workload] : workloads) by_ns[workload.workload.namespace_()].push_back(&workload);
  for_each<AuthorizationPolicy>(objects, [&](const AuthorizationPolicy& policy) {
    if (policy.selector.empty()) return;
    const std::string name = str_cat(policy.meta.ns, "/", policy.meta.name);
    for (auto& [ns, members] : by_ns) {
      if (policy.meta.ns != kRootNamespace && policy.meta.ns != ns) continue;
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
