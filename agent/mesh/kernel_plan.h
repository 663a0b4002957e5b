// What the kernel must know of the mesh: who listens where (for metrics), and which services need no proxy,
// with their backends. Keeps what it planned last, so that a change costs what it touches and not the whole
// mesh. Reconciler thread only; no I/O.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "agent/dataplane/dataplane.h"
#include "agent/mesh/claims.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/model.h"

namespace weft::agent {

class KernelPlanner {
 public:
  // The node whose agent this is: endpoints near it are preferred where a service asks for that.
  explicit KernelPlanner(std::string node_name) : node_name_(std::move(node_name)) {}

  // `touched`: names of services and workloads that were changed, made or removed in the model since the last
  // call. `ids` must know those that live; `gone` are the ids of those that do not any more.
  KernelChange plan(const MeshModel& model, const IdRegistry& ids, const Touched& touched,
                    const std::vector<uint32_t>& gone);

  // Share of its weight in percent that this backend of the service gets from now on; 100 forgets it. The
  // rows to write.
  KernelChange set_share(const MeshModel& model, const IdRegistry& ids, uint32_t service,
                         const SocketAddress& backend, uint32_t percent);

  // What is wanted now of one service address or endpoint; nullopt: no row, and the proxy takes it. `model`
  // and `ids` as plan() saw them last.
  std::optional<ServiceEntry> planned(const MeshModel& model, const IdRegistry& ids,
                                      const ServiceKey& key) const;

  // All that is wanted now, as one change: for `weft diff`. `model` and `ids` as plan() saw them last.
  KernelChange everything(const MeshModel& model, const IdRegistry& ids) const;

 private:
  using DestinationSet = Claims<SocketAddress>::KeySet;
  using ServiceSet = Claims<ServiceKey>::KeySet;

  // nullptr: the service is gone.
  void claim_service(const MeshService* service, uint32_t id, DestinationSet* dests, ServiceSet* svcs);
  void claim_workload(const MeshWorkload& workload, uint32_t id, DestinationSet* dests);
  bool needs_tunnel(const MeshWorkload& workload) const;
  void learn_locality(const MeshModel& model, const Touched& touched);
  KernelChange collect(const MeshModel& model, const IdRegistry& ids, const DestinationSet& dests,
                       const ServiceSet& svcs);
  std::optional<ServiceEntry> entry(const MeshModel& model, const IdRegistry& ids, const ServiceKey& key,
                                    const Claim& owner) const;
  std::vector<BackendEntry> backends(const IdRegistry& ids, const MeshService& service, uint32_t service_id,
                                     const MeshService::Port& port, bool v4) const;
  uint32_t nearness(const istio::workload::LoadBalancing& balancing, const WorkloadPlace& theirs) const;

  const std::string node_name_;
  // Where the node is, as far as its pods have said.
  WorkloadPlace here_;
  Claims<SocketAddress> destinations_;
  Claims<ServiceKey> services_;
  absl::flat_hash_map<std::pair<uint32_t, SocketAddress>, uint32_t> share_;
};

// The workload's own port for a service port: its list first, then the service's.
uint32_t target_port(const istio::workload::PortList& of_workload, const istio::workload::Port& service_port);

}  // namespace weft::agent
