// See node_identities.h.
#include "agent/mesh/node_identities.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace weft::agent {

bool runs_here(const MeshModel& model, const PodTable& pods, const SpiffeId& id) {
  const auto& table = pods.pods();
  return std::any_of(table.begin(), table.end(), [&](const auto& row) {
    const MeshWorkload* known = model.workload(row.second.uid);
    // A pod that no resource describes has no service account that anybody vouches for.
    if (known == nullptr) return false;
    const PeerIdentity identity = identity_of(whole(*known));
    return identity.trust_domain == id.trust_domain && identity.ns == id.ns &&
           identity.service_account == id.account;
  });
}

bool is_of_gateway(const MeshModel& model, const SpiffeId& id) {
  constexpr std::string_view kPrefix = "gateway/";
  const std::string wanted = id.to_string();
  const auto& all = model.routes();
  for (auto it = all.lower_bound(std::string(kPrefix)); it != all.end() && it->first.starts_with(kPrefix);
       ++it) {
    const auto& identities = it->second.gateway().identities();
    if (std::find(identities.begin(), identities.end(), wanted) != identities.end()) return true;
  }
  return false;
}

}  // namespace weft::agent
