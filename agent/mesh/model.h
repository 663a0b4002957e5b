// The mesh as the control plane last described it: workloads, services, routes and policies by resource name.
// The reconciler thread owns it; the admin service reads it there. It never decides anything.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/mesh/id_registry.h"
#include "agent/policy/l4_policy.h"
#include "control-plane/control_plane.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::agent {

class MeshModel {
 public:
  // Folds upserts, then removals. A resource that cannot be decoded is logged and leaves the old one in
  // force.
  void apply(const control_plane::Change& change);

  const std::map<std::string, istio::workload::Workload>& workloads() const { return workloads_; }
  const std::map<std::string, istio::workload::Service>& services() const { return services_; }
  const std::map<std::string, mesh::v1::RouteSet>& routes() const { return routes_; }
  const std::map<std::string, mesh::v1::DestinationPolicy>& policies() const { return policies_; }
  // Each passed validate_policy().
  const Authorizations& authorizations() const { return authorizations_; }

  // Everything that deserves an id.
  std::vector<Subject> subjects() const;
  // The workload of that namespace and name; nullptr when the mesh does not know it.
  const istio::workload::Workload* find_workload(std::string_view ns, std::string_view name) const;

 private:
  bool upsert(const control_plane::Resource& resource);

  std::map<std::string, istio::workload::Workload> workloads_;
  std::map<std::string, istio::workload::Service> services_;
  std::map<std::string, mesh::v1::RouteSet> routes_;
  std::map<std::string, mesh::v1::DestinationPolicy> policies_;
  Authorizations authorizations_;
};

}  // namespace weft::agent
