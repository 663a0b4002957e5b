// Workloads, and what is told of pods, kept between changes: a step compiles those that it is about and costs
// what they cost, however many others there are. What it has after any steps is what a new one would make of
// the objects at once. One thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "control-plane/compile/authorization.h"
#include "control-plane/compile/declared_services.h"
#include "control-plane/compile/egress.h"
#include "control-plane/compile/endpoint_checks.h"
#include "control-plane/compile/peer_authentication.h"
#include "control-plane/compile/stale_units.h"
#include "control-plane/compile/tunnel_nodes.h"
#include "control-plane/compile/workload_facts.h"
#include "control-plane/compile/workload_index.h"
#include "control-plane/control_plane.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {

class WorkloadStage {
 public:
  // The objects outlive it. `node_name`: as of ControlPlane::Options; `own_namespaces`: see TunnelNodes.
  WorkloadStage(const Objects& objects, std::string node_name, std::set<std::string> own_namespaces = {});
  WorkloadStage(const WorkloadStage&) = delete;
  WorkloadStage& operator=(const WorkloadStage&) = delete;

  // Takes in what is another than at the last call, at first everything; the objects are as they are after
  // it. Adds to `out` the resources of workloads, and the policies that PeerAuthentications become, which are
  // new, others or gone, and of a control plane of all nodes the pods.
  void apply(const std::vector<ObjectChange>& changes, const ResolvedHosts& resolved, Change* out);

  // What the rest of the compiler asks, and whether it would be answered otherwise now.
  WorkloadFacts& facts() { return facts_; }
  bool news() const { return news_ || facts_.news(); }
  // The rest of the compiler begins to ask.
  void begin_asking();

  // Pods of this node, in the order of their names; of a control plane of all nodes: none.
  std::vector<LocalPod> local_pods() const;
  // As Change::mesh_namespaces.
  const std::vector<std::string>& mesh_namespaces() const { return mesh_namespaces_; }
  // Services without endpoints, slices without a Service.
  const EndpointChecks& checks() const { return checks_; }
  // Calls visit(const Resource&) for everything that it has told and not taken back.
  template <typename Visit>
  void for_each_resource(Visit visit) const {
    for (const auto& [unit, row] : rows_) visit(*row.resource);
    for (const auto& [name, denial] : denials_) {
      if (denial.told) visit(*denial.told);
    }
  }

 private:
  // Of the workloads that take no plaintext.
  struct Denial {
    size_t users = 0;
    std::optional<Resource> now, told;
  };
  using Denials = std::map<std::string, Denial>;
  struct Row {
    std::optional<Resource> resource;  // never without, between two steps
    WorkloadFacts::Row facts;
    Denials::iterator denial;  // end(): none
    uint64_t pod = 0;          // hash of what was told of the pod
    bool captured = false;
  };
  using Rows = absl::node_hash_map<Unit, Row>;

  void renew(const StaleUnits& stale, const ResolvedHosts& resolved, std::set<Unit>* due);
  void add_addresses(const std::set<std::string>& addresses, const DeclaredServices& old_declared,
                     std::set<Unit>* due) const;
  void add_rows(const WorkloadFacts::Rows& rows, std::set<Unit>* due) const;
  void compile(const Unit& unit, Change* out);
  void put(const Unit& unit, CompiledWorkload workload, Change* out);
  void drop(Rows::iterator row, Change* out);
  void set_facts(const Unit& unit, const CompiledWorkload& workload, Row& row);
  void set_denial(const std::optional<istio::security::Authorization>& policy, Row& row);
  void tell_pod(const Unit& unit, Row& row, Change* out);
  void tell_denials(const std::set<std::string>& policies, Change* out);
  void count_captured(Row& row, bool captured);
  void set_mesh_namespaces();
  // Pods of these nodes depend on it.
  std::set<std::string> note_tunnels(const std::vector<ObjectChange>& changes);
  void note_datagrams(const std::vector<ObjectChange>& changes);

  const Objects& objects_;
  const std::string node_name_;
  WorkloadIndex index_;
  ResolvedHosts resolved_;
  DeclaredServices declared_;
  PeerModes peers_;
  PolicySelectors policies_;
  EgressModes egress_;
  TunnelNodes tunnel_nodes_;
  Rows rows_;
  WorkloadFacts facts_;
  EndpointChecks checks_;
  Denials denials_;
  std::set<std::string> touched_denials_, made_denials_;  // of the step
  std::map<std::pair<std::string, std::string>, LocalPod> local_pods_;
  std::map<std::string, size_t> captured_;  // pods by namespace
  std::vector<std::string> mesh_namespaces_;
  bool namespaces_due_ = true;
  // Whose Services have UDP ports by names of the pods' ports.
  std::set<std::string> named_datagrams_;
  bool news_ = true;
};

}  // namespace weft::control_plane
