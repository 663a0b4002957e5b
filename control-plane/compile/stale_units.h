// Which workloads a change is about: what has to be compiled again, and nothing else. Pure bookkeeping of one
// step; the workload stage asks it.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "control-plane/compile/workload_index.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {

class StaleUnits {
 public:
  using Name = std::pair<std::string, std::string>;  // namespace and name

  // Both outlive it, and are as they are after the step.
  StaleUnits(const Objects& objects, const WorkloadIndex& index) : objects_(objects), index_(index) {}

  // Once for each object of the step that is another.
  void note(const ObjectChange& change);
  // Something else of a node is another, which its pods depend on. Before add_pods_of_nodes().
  void note_nodes(const std::set<std::string>& names) { nodes_.insert(names.begin(), names.end()); }
  // Once, after the last change: pods of nodes that are in another place now. The first step tells of all
  // nodes and all pods.
  void add_pods_of_nodes();

  const std::set<Unit>& units() const { return units_; }
  // Whose owner may be another one.
  const std::set<std::string>& addresses() const { return addresses_; }
  // All workloads of these namespaces; of all.
  const std::set<std::string>& namespaces() const { return namespaces_; }
  bool everything() const { return everything_; }
  // Endpoints of these services, by service_key().
  const std::set<std::string>& endpoints_of() const { return endpoints_of_; }
  // Services and EndpointSlices whose checks are due.
  const std::set<Name>& services() const { return services_; }
  const std::set<Name>& slices() const { return slices_; }
  // AuthorizationPolicies ("<namespace>/<name>") that came or went.
  const std::set<std::string>& policies() const { return policies_; }

  // What is asked for every workload may answer otherwise.
  bool peers() const { return peers_; }
  bool selectors() const { return selectors_; }
  bool egress() const { return egress_; }
  bool declared() const { return declared_; }

 private:
  // For each type that workloads depend on: what was, what is; nullptr: nothing.
  void note(const Pod* before, const Pod* now);
  void note(const EndpointSlice* before, const EndpointSlice* now);
  void note(const Service* before, const Service* now);
  void note(const WorkloadEntry* before, const WorkloadEntry* now);
  void note(const Node* before, const Node* now);
  void note(const Namespace* before, const Namespace* now);
  void note(const AuthorizationPolicy* before, const AuthorizationPolicy* now);
  void note(const PeerAuthentication* before, const PeerAuthentication* now);
  void note(const Sidecar* before, const Sidecar* now);
  void note(const MeshConfig* before, const MeshConfig* now);
  void note(const ServiceEntry* before, const ServiceEntry* now);
  template <typename T>
  void note_typed(const ObjectChange& change);

  void add(const EndpointSlice::Endpoint& endpoint);
  void add_all(const EndpointSlice* slice);
  void add_shared(const EndpointSlice& slice);
  void add_selected(const Service& service);
  // Of a policy of that namespace.
  void add_reach(const std::string& ns);

  const Objects& objects_;
  const WorkloadIndex& index_;
  std::set<Unit> units_;
  std::set<std::string> addresses_, namespaces_, endpoints_of_, policies_;
  std::set<std::string> nodes_;
  std::set<Name> services_, slices_;
  bool everything_ = false, peers_ = false, selectors_ = false, egress_ = false, declared_ = false;
};

}  // namespace weft::control_plane
