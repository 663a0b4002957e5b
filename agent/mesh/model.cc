// Folding of Change resources into MeshModel. Called by the reconciler only; never keeps a resource it could
// not decode.
#include "agent/mesh/model.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "base/log.h"

namespace weft::agent {
namespace {

size_t name_hash(std::string_view ns, std::string_view name) { return absl::HashOf(ns, name); }

}  // namespace

void MeshModel::erase_address(const std::string& name, Touched* touched) {
  if (services_.erase(name) == 1) {
    touched->services.insert(name);
    // Ports of a service are listened at by its endpoints.
    for (const istio::workload::Workload* member : members(name)) touched->workloads.insert(member->uid());
  }
  const auto found = workloads_.find(name);
  if (found == workloads_.end()) return;
  touched->workloads.insert(name);
  for (const auto& [service, ports] : found->second.services()) {
    touched->services.insert(service);
    const auto members = members_.find(service);
    if (members == members_.end()) continue;
    const auto place = std::find(members->second.begin(), members->second.end(), &found->second);
    if (place != members->second.end()) members->second.erase(place);
    if (members->second.empty()) members_.erase(members);
  }
  const auto named = by_name_.find(name_hash(found->second.namespace_(), found->second.name()));
  if (named != by_name_.end() && named->second == &found->second) by_name_.erase(named);
  workloads_.erase(found);
}

void MeshModel::put_workload(const std::string& uid, istio::workload::Workload workload, Touched* touched) {
  erase_address(uid, touched);
  touched->workloads.insert(uid);
  const auto [placed, fresh] = workloads_.emplace(uid, std::move(workload));
  by_name_[name_hash(placed->second.namespace_(), placed->second.name())] = &placed->second;
  for (const auto& [service, ports] : placed->second.services()) {
    auto& members = members_[service];
    const auto place = std::lower_bound(members.begin(), members.end(), &placed->second,
                                        [](const auto* a, const auto* b) { return a->uid() < b->uid(); });
    members.insert(place, &placed->second);
    touched->services.insert(service);
  }
}

bool MeshModel::upsert(const control_plane::Resource& resource, Touched* touched) {
  if (resource.type_url == control_plane::kAddressType) {
    istio::workload::Address address;
    if (!address.ParseFromString(resource.body)) return false;
    if (address.has_workload()) {
      put_workload(resource.name, std::move(*address.mutable_workload()), touched);
      return true;
    }
    if (!address.has_service()) return false;
    // A name may change its kind: the other map must not keep the old one.
    erase_address(resource.name, touched);
    services_[resource.name] = std::move(*address.mutable_service());
    touched->services.insert(resource.name);
    for (const istio::workload::Workload* member : members(resource.name))
      touched->workloads.insert(member->uid());
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

Touched MeshModel::apply(const control_plane::Change& change) {
  Touched touched;
  for (const control_plane::Resource& resource : change.upserted) {
    if (!upsert(resource, &touched))
      log::warn("resource_not_understood", {{"type", resource.type_url}, {"name", resource.name}});
  }
  for (const auto& [type_url, name] : change.removed) {
    if (type_url == control_plane::kAddressType) erase_address(name, &touched);
    if (type_url == control_plane::kRouteSetType) routes_.erase(name);
    if (type_url == control_plane::kDestinationPolicyType) policies_.erase(name);
    if (type_url == control_plane::kAuthorizationType) authorizations_.erase(name);
  }
  return touched;
}

absl::Span<const istio::workload::Workload* const> MeshModel::members(const std::string& service) const {
  const auto found = members_.find(service);
  if (found == members_.end()) return {};
  return found->second;
}

std::optional<Subject> MeshModel::workload_subject(const std::string& uid) const {
  const auto found = workloads_.find(uid);
  if (found == workloads_.end()) return std::nullopt;
  return Subject{Subject::Kind::kWorkload, uid, found->second.name(), found->second.namespace_()};
}

std::optional<Subject> MeshModel::service_subject(const std::string& key) const {
  const auto found = services_.find(key);
  if (found == services_.end()) return std::nullopt;
  return Subject{Subject::Kind::kService, key, found->second.name(), found->second.namespace_()};
}

const istio::workload::Workload* MeshModel::find_workload(std::string_view ns, std::string_view name) const {
  const auto found = by_name_.find(name_hash(ns, name));
  if (found == by_name_.end()) return nullptr;
  const istio::workload::Workload* workload = found->second;
  return workload->namespace_() == ns && workload->name() == name ? workload : nullptr;
}

}  // namespace weft::agent
