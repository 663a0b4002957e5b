// The mesh as the control plane last described it: workloads, services, routes and policies by resource name.
// The reconciler thread owns it; the admin service reads it there. It never decides anything.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/container/node_hash_map.h"
#include "absl/types/span.h"
#include "agent/mesh/id_registry.h"
#include "agent/policy/l4_policy.h"
#include "control-plane/control_plane.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::agent {

// Names of what one change made, altered or removed, and of the services whose endpoints it altered.
struct Touched {
  absl::flat_hash_set<std::string> workloads;  // uids
  absl::flat_hash_set<std::string> services;   // "<namespace>/<hostname>"
};

class MeshModel {
 public:
  // Folds upserts, then removals. A resource that cannot be decoded is logged and leaves the old one in
  // force.
  Touched apply(const control_plane::Change& change);

  using Workloads = absl::node_hash_map<std::string, istio::workload::Workload>;
  using Services = absl::node_hash_map<std::string, istio::workload::Service>;
  const Workloads& workloads() const { return workloads_; }
  const Services& services() const { return services_; }
  const std::map<std::string, mesh::v1::RouteSet>& routes() const { return routes_; }
  const std::map<std::string, mesh::v1::DestinationPolicy>& policies() const { return policies_; }
  // Each passed validate_policy().
  const Authorizations& authorizations() const { return authorizations_; }

  // The workloads that say they are endpoints of this service, in the order of their uids.
  absl::Span<const istio::workload::Workload* const> members(const std::string& service) const;
  // The subject that needs an id; nullopt when there is no such workload or service.
  std::optional<Subject> workload_subject(const std::string& uid) const;
  std::optional<Subject> service_subject(const std::string& key) const;
  // The workload of that namespace and name; nullptr when the mesh does not know it.
  const istio::workload::Workload* find_workload(std::string_view ns, std::string_view name) const;

 private:
  bool upsert(const control_plane::Resource& resource, Touched* touched);
  void put_workload(const std::string& uid, istio::workload::Workload workload, Touched* touched);
  void erase_address(const std::string& name, Touched* touched);

  Workloads workloads_;
  Services services_;
  // By service, in the order of their uids.
  absl::flat_hash_map<std::string, absl::InlinedVector<const istio::workload::Workload*, 1>> members_;
  // By a hash of namespace and name; whoever looks compares the names.
  absl::flat_hash_map<size_t, const istio::workload::Workload*> by_name_;
  std::map<std::string, mesh::v1::RouteSet> routes_;
  std::map<std::string, mesh::v1::DestinationPolicy> policies_;
  Authorizations authorizations_;
};

}  // namespace weft::agent
