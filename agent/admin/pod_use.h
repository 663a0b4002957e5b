// What the proxy says of each pod, for `weft status` and `weft get workloads`. Pure; called by the admin
// service.
#pragma once

#include <cstdint>
#include <map>

#include "agent/pods/pod_table.h"
#include "proto/weft/admin/v1/admin.pb.h"
#include "proto/weft/proxy/v1/telemetry.pb.h"

namespace weft::agent {

// By the cookie of the pod's namespace; `workload` is not set.
std::map<uint64_t, admin::v1::PodUse> pod_uses(const proxy::v1::Metrics& metrics);

// Adds the captured pods of which something was refused, with their names.
void add_refusals(const std::map<uint64_t, admin::v1::PodUse>& uses, const PodTable& pods,
                  admin::v1::NodeStatus* status);

// Puts the use of captured pods into their rows.
void add_uses(const std::map<uint64_t, admin::v1::PodUse>& uses, admin::v1::WorkloadList* list);

}  // namespace weft::agent
