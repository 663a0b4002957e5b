// The part of build_snapshot() about workloads: where captured connections come from, which policies apply to
// them, and who takes tunnels.
#pragma once

#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

void add_sources(const Resources& resources, ClusterTable& clusters, Snapshot* out);

}  // namespace weft::proxy
