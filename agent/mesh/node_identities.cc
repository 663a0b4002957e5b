// runs_here() of node_identities.h.
#include "agent/mesh/node_identities.h"

#include <algorithm>

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

}  // namespace weft::agent
