// Which addresses belong to which service or workload: the rows of the kernel's destination map, computed
// from the model. Pure; the reconciler hands the result to Dataplane::set_destinations.
#pragma once

#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/model.h"

namespace weft::agent {

// Service VIP and port to the service's id; workload address and each of its target ports to the workload's
// id. An address that two subjects claim goes to the first in name order, services before workloads. Sorted
// by address.
std::vector<DestinationEntry> destination_entries(const MeshModel& model, const IdRegistry& ids);

// The port that `workload` serves for `service_port` of a service: its own target port, else the service's,
// else the same.
uint32_t target_port(const istio::workload::PortList& of_workload, const istio::workload::Port& service_port);

}  // namespace weft::agent
