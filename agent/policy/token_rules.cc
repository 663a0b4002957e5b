// See token_rules.h. Called by the enforcement of policies.
#include "agent/policy/token_rules.h"

#include <algorithm>

#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::agent {
namespace {

bool selects(const mesh::v1::RequestAuthentication& one, const istio::workload::Workload& workload,
             const std::map<std::string, std::string>& labels) {
  if (one.gateways_only()) return false;
  if (!one.every_namespace() && one.namespace_() != workload.namespace_()) return false;
  return std::all_of(one.selector().begin(), one.selector().end(), [&labels](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

}  // namespace

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
  return std::any_of(all.begin(), all.end(),
                     [&](const auto& each) { return selects(each.second, workload, labels); });
}

std::vector<mesh::v1::TokenRule> rules_for(const TokenRules& all, const istio::workload::Workload& workload) {
  std::vector<mesh::v1::TokenRule> out;
  const std::map<std::string, std::string> labels = labels_of(workload);
  for (const auto& [name, one] : all) {
    if (selects(one, workload, labels)) out.insert(out.end(), one.rules().begin(), one.rules().end());
  }
  return out;
}

mesh::v1::RequestAuthentication without_keys(const mesh::v1::RequestAuthentication& object) {
  mesh::v1::RequestAuthentication out = object;
  out.clear_rules();
  for (const mesh::v1::TokenRule& rule : object.rules()) {
    mesh::v1::TokenRule& kept = *out.add_rules();
    kept.set_issuer(rule.issuer());
    *kept.mutable_audiences() = rule.audiences();
    *kept.mutable_space_delimited_claims() = rule.space_delimited_claims();
  }
  return out;
}

}  // namespace weft::agent
