// See token_rules.h. Called by the enforcement of policies.
#include "agent/policy/token_rules.h"

#include <algorithm>

#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::agent {

std::map<std::string, std::string> labels_of(const istio::workload::Workload& workload) {
  mesh::v1::WorkloadLabels out;
  for (const istio::workload::Extension& extension : workload.extensions()) {
    if (extension.name() == "weft.mesh.v1.WorkloadLabels" && extension.config().UnpackTo(&out))
      return {out.labels().begin(), out.labels().end()};
  }
  return {};
}

bool any_selects(const TokenRules& all, const istio::workload::Workload& workload) {
  if (all.empty()) return false;
  const std::map<std::string, std::string> labels = labels_of(workload);
  return std::any_of(all.begin(), all.end(), [&](const auto& each) {
    const mesh::v1::RequestAuthentication& one = each.second;
    if (one.gateways_only()) return false;
    if (!one.every_namespace() && one.namespace_() != workload.namespace_()) return false;
    return std::all_of(one.selector().begin(), one.selector().end(), [&labels](const auto& wanted) {
      const auto found = labels.find(wanted.first);
      return found != labels.end() && found->second == wanted.second;
    });
  });
}

}  // namespace weft::agent
