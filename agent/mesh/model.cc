// Folding of Change resources into MeshModel. Called by the reconciler only; never keeps a resource it could
// not decode.
#include "agent/mesh/model.h"

#include "base/log.h"

namespace weft::agent {

bool MeshModel::upsert(const control_plane::Resource& resource) {
  if (resource.type_url == control_plane::kAddressType) {
    istio::workload::Address address;
    if (!address.ParseFromString(resource.body)) return false;
    // A name may change its kind: the other map must not keep the old one.
    if (address.has_workload()) {
      services_.erase(resource.name);
      workloads_[resource.name] = address.workload();
      return true;
    }
    if (!address.has_service()) return false;
    workloads_.erase(resource.name);
    services_[resource.name] = address.service();
    return true;
  }
  if (resource.type_url == control_plane::kRouteSetType) {
    mesh::v1::RouteSet set;
    if (!set.ParseFromString(resource.body)) return false;
    routes_[resource.name] = std::move(set);
    return true;
  }
  if (resource.type_url == control_plane::kDestinationPolicyType) {
    mesh::v1::DestinationPolicy policy;
    if (!policy.ParseFromString(resource.body)) return false;
    policies_[resource.name] = std::move(policy);
    return true;
  }
  if (resource.type_url == control_plane::kAuthorizationType) {
    istio::security::Authorization policy;
    if (!policy.ParseFromString(resource.body)) return false;
    if (const absl::Status status = validate_policy(policy); !status.ok()) {
      log::warn("policy_refused", {{"name", resource.name}, {"reason", std::string(status.message())}});
      return true;
    }
    authorizations_[resource.name] = std::move(policy);
    return true;
  }
  return false;
}

void MeshModel::apply(const control_plane::Change& change) {
  for (const control_plane::Resource& resource : change.upserted) {
    if (!upsert(resource))
      log::warn("resource_not_understood", {{"type", resource.type_url}, {"name", resource.name}});
  }
  for (const auto& [type_url, name] : change.removed) {
    if (type_url == control_plane::kAddressType) {
      workloads_.erase(name);
      services_.erase(name);
    }
    if (type_url == control_plane::kRouteSetType) routes_.erase(name);
    if (type_url == control_plane::kDestinationPolicyType) policies_.erase(name);
    if (type_url == control_plane::kAuthorizationType) authorizations_.erase(name);
  }
}

std::vector<Subject> MeshModel::subjects() const {
  std::vector<Subject> out;
  for (const auto& [uid, workload] : workloads_) {
    out.push_back(Subject{Subject::Kind::kWorkload, uid, workload.name(), workload.namespace_()});
  }
  for (const auto& [key, service] : services_) {
    out.push_back(Subject{Subject::Kind::kService, key, service.name(), service.namespace_()});
  }
  return out;
}

const istio::workload::Workload* MeshModel::find_workload(std::string_view ns, std::string_view name) const {
  for (const auto& [uid, workload] : workloads_) {
    if (workload.namespace_() == ns && workload.name() == name) return &workload;
  }
  return nullptr;
}

}  // namespace weft::agent
