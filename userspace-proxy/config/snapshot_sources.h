// The part of build_snapshot() about workloads: where captured connections come from, which policies apply to
// them, who takes tunnels, and who is known to be somewhere.
#pragma once

#include "userspace-proxy/config/cluster_table.h"
#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

void add_sources(const Resources& resources, ClusterTable& clusters, Snapshot* out);
// After the sources: what those of them may reach that may reach declared destinations only.
void add_declared(const Resources& resources, Snapshot* out);

}  // namespace weft::proxy
