// Which identities the enrolled pods of this node have, and the gateways that the mesh has where this node
// serves gateways: for these alone the node may ask certificates.
// Reconciler thread (inside of read()).
#pragma once

#include "agent/mesh/model.h"
#include "agent/pods/pod_table.h"
#include "base/spiffe_id.h"

namespace weft::agent {

bool runs_here(const MeshModel& model, const PodTable& pods, const SpiffeId& id);
// A gateway of the mesh has it.
bool is_of_gateway(const MeshModel& model, const SpiffeId& id);

}  // namespace weft::agent
