// Folding of Change resources into MeshModel. Called by the reconciler only; never keeps a resource it could
// not decode.
#include "agent/mesh/model.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <cstddef>

#include "absl/hash/hash.h"
#include "agent/policy/l4_policy.h"
#include "base/log.h"

namespace weft::agent {
namespace {

size_t name_hash(std::string_view ns, std::string_view name) { return absl::HashOf(ns, name); }

// A CIDR is not an address that somebody listens at.
bool is_host(const istio::workload::NetworkAddress& address) {
  return !address.has_length() || address.length() == address.address().size() * 8;
}

std::unique_ptr<MeshService::Wishes> wishes_of(const istio::workload::Service& message) {
  const mesh::v1::ServicePorts extension = service_extension(message);
  if (!message.has_load_balancing() && extension.datagram_ports().empty() &&
      extension.affinity_seconds() == 0) {
    return nullptr;
  }
  auto out = std::make_unique<MeshService::Wishes>();
  out->balancing = message.load_balancing();
  out->affinity_seconds = extension.affinity_seconds();
  for (const auto& port : extension.datagram_ports())
    out->datagram_ports.push_back({.service_port = port.number(), .target_port = port.target_port()});
  return out;
}

// In the order of names.
template <typename Named>
auto in_order(const Named& all) {
  std::vector<const typename Named::value_type::element_type*> out;
  out.reserve(all.size());
  for (const auto& one : all) out.push_back(one.get());
  std::sort(out.begin(), out.end(),
            [](const auto* a, const auto* b) { return a->resource.name() < b->resource.name(); });
  return out;
}

}  // namespace

mesh::v1::ServicePorts service_extension(const istio::workload::Service& service) {
  mesh::v1::ServicePorts out;
  for (const istio::workload::Extension& extension : service.extensions()) {
    if (extension.name() == "weft.mesh.v1.ServicePorts" && out.ParseFromString(extension.config().value()))
      return out;
  }
  return {};
}

istio::workload::Workload whole(const MeshWorkload& workload) {
  istio::workload::Address address;
  if (!workload.resource.decode(&address)) return {};
  return std::move(*address.mutable_workload());
}

istio::workload::Service whole(const MeshService& service) {
  istio::workload::Address address;
  if (!service.described || !service.resource.decode(&address)) return {};
  return std::move(*address.mutable_service());
}

const absl::InlinedVector<MeshWorkload::Port, 2>* MeshWorkload::ports_of(const MeshService* service) const {
  for (const Membership& membership : services) {
    if (membership.service == service) return &membership.ports;
  }
  return nullptr;
}

const MeshService::Wishes& MeshService::asks() const {
  static const Wishes kNone;
  return wishes != nullptr ? *wishes : kNone;
}

MeshService& MeshModel::service_named(std::string_view key) {
  const auto found = services_.find(key);
  if (found != services_.end()) return **found;
  const control_plane::Resource name(control_plane::kAddressType, key, "", "");
  return **services_.insert(std::make_unique<MeshService>(name)).first;
}

void MeshModel::drop_if_unused(MeshService* service) {
  if (service->described || !service->members.empty()) return;
  services_.erase(services_.find(service->resource.name()));
}

const WorkloadPlace* MeshModel::enter_place(const istio::workload::Workload& message) {
  WorkloadPlace place{message.node(), message.locality().region(), message.locality().zone(),
                      message.locality().subzone()};
  const auto known = places_.try_emplace(std::move(place), 0).first;
  ++known->second;
  return &known->first;
}

void MeshModel::leave_place(const WorkloadPlace* place) {
  const auto known = places_.find(*place);
  if (known != places_.end() && --known->second == 0) places_.erase(known);
}

void MeshModel::erase_workload(std::string_view uid, Touched* touched) {
  const auto found = workloads_.find(uid);
  if (found == workloads_.end()) return;
  const std::unique_ptr<MeshWorkload> workload = std::move(workloads_.extract(found).value());
  touched->workloads.insert(workload->resource);
  for (const MeshWorkload::Membership& membership : workload->services) {
    touched->services.insert(membership.service->resource);
    auto& members = membership.service->members;
    members.erase(std::remove(members.begin(), members.end(), workload.get()), members.end());
    drop_if_unused(membership.service);
  }
  const istio::workload::Workload message = whole(*workload);
  const auto named = by_name_.find(name_hash(message.namespace_(), message.name()));
  if (named != by_name_.end() && named->second == workload.get()) by_name_.erase(named);
  leave_place(workload->place);
}

void MeshModel::erase_address(std::string_view name, Touched* touched) {
  const auto found = services_.find(name);
  if (found != services_.end() && (*found)->described) {
    MeshService& service = **found;
    touched->services.insert(service.resource);
    // Ports of a service are listened at by its endpoints.
    for (const MeshWorkload* member : service.members) touched->workloads.insert(member->resource);
    service.described = false;
    --described_;
    service.resource = control_plane::Resource(control_plane::kAddressType, name, "", "");
    service.addresses = {};
    service.ports = {};
    service.wishes = nullptr;
    drop_if_unused(&service);
  }
  erase_workload(name, touched);
}

void MeshModel::put_workload(const control_plane::Resource& resource,
                             const istio::workload::Workload& message, Touched* touched) {
  auto owned = std::make_unique<MeshWorkload>(resource);
  MeshWorkload& workload = *owned;
  for (const std::string& packed : message.addresses()) {
    if (const auto ip = IpAddress::from_packed(packed)) workload.addresses.push_back(*ip);
  }
  workload.place = enter_place(message);
  workload.capacity = message.has_capacity() ? message.capacity().value() : 1;
  workload.healthy = message.status() != istio::workload::UNHEALTHY;
  workload.tunnels = message.tunnel_protocol() == istio::workload::HBONE;
  workload.native_tunnel = message.native_tunnel();
  const auto& policies = message.authorization_policies();
  workload.encrypts_same_node = std::any_of(policies.begin(), policies.end(),
                                            [](const std::string& name) { return encrypts_same_node(name); });
  workload.host_network = message.network_mode() == istio::workload::HOST_NETWORK;
  touched->workloads.insert(workload.resource);
  by_name_[name_hash(message.namespace_(), message.name())] = &workload;
  for (const auto& [key, list] : message.services()) {
    MeshService& service = service_named(key);
    MeshWorkload::Membership membership{.service = &service, .ports = {}};
    for (const auto& port : list.ports())
      membership.ports.push_back({.service_port = port.service_port(), .target_port = port.target_port()});
    workload.services.push_back(std::move(membership));
    auto& members = service.members;
    const auto place = std::lower_bound(
        members.begin(), members.end(), &workload,
        [](const auto* a, const auto* b) { return a->resource.name() < b->resource.name(); });
    members.insert(place, &workload);
    touched->services.insert(service.resource);
  }
  workloads_.insert(std::move(owned));
}

void MeshModel::put_service(const control_plane::Resource& resource, const istio::workload::Service& message,
                            Touched* touched) {
  MeshService& service = service_named(resource.name());
  service.resource = resource;
  if (!std::exchange(service.described, true)) ++described_;
  for (const auto& address : message.addresses()) {
    if (!is_host(address)) continue;
    if (const auto ip = IpAddress::from_packed(address.address())) service.addresses.push_back(*ip);
  }
  for (const auto& port : message.ports()) {
    service.ports.push_back({.service_port = port.service_port(),
                             .target_port = port.target_port(),
                             .protocol = port.app_protocol()});
  }
  service.wishes = wishes_of(message);
  touched->services.insert(service.resource);
  for (const MeshWorkload* member : service.members) touched->workloads.insert(member->resource);
}

bool MeshModel::upsert_address(const control_plane::Resource& resource, Touched* touched) {
  // On an arena, because a whole mesh is decoded message by message: what stays is not scattered between the
  // remains of what does not.
  alignas(std::max_align_t) char first_block[4096];
  google::protobuf::ArenaOptions options;
  options.initial_block = first_block;
  options.initial_block_size = sizeof(first_block);
  google::protobuf::Arena arena(options);
  auto& address = *google::protobuf::Arena::CreateMessage<istio::workload::Address>(&arena);
  if (!resource.decode(&address) || (!address.has_workload() && !address.has_service())) return false;
  // A name may change its kind: the other map must not keep the old one.
  erase_address(resource.name(), touched);
  if (address.has_workload())
    put_workload(resource, address.workload(), touched);
  else
    put_service(resource, address.service(), touched);
  return true;
}

bool MeshModel::upsert(const control_plane::Resource& resource, Touched* touched) {
  const std::string_view type = resource.type_url();
  const std::string name(resource.name());
  if (type == control_plane::kAddressType) return upsert_address(resource, touched);
  if (type == control_plane::kRouteSetType) {
    mesh::v1::RouteSet set;
    if (!resource.decode(&set)) return false;
    routes_[name] = std::move(set);
    return true;
  }
  if (type == control_plane::kDestinationPolicyType) {
    mesh::v1::DestinationPolicy policy;
    if (!resource.decode(&policy)) return false;
    policies_[name] = std::move(policy);
    return true;
  }
  if (type == control_plane::kAuthorizationType) {
    istio::security::Authorization policy;
    if (!resource.decode(&policy)) return false;
    if (const absl::Status status = validate_policy(policy); !status.ok()) {
      log::warn("policy_refused", {{"name", name}, {"reason", std::string(status.message())}});
      return true;
    }
    authorizations_[name] = std::move(policy);
    return true;
  }
  if (type == control_plane::kAuthenticationType) {
    mesh::v1::RequestAuthentication rules;
    if (!resource.decode(&rules)) return false;
    if (rules.rules().empty()) {
      token_rules_.erase(name);
      return true;
    }
    token_rules_[name] = without_keys(rules);
    return true;
  }
  // Keys are the proxy's: what the agent does not hold, it cannot show.
  if (type == control_plane::kSecretType) return true;
  // Nothing of it concerns the kernel.
  if (type == control_plane::kMeshConfigType) return true;
  return false;
}

Touched MeshModel::apply(const control_plane::Change& change) {
  Touched touched;
  for (const control_plane::Resource& resource : change.upserted) {
    if (!upsert(resource, &touched)) {
      log::warn("resource_not_understood",
                {{"type", resource.type_url()}, {"name", std::string(resource.name())}});
    }
  }
  for (const auto& [type_url, name] : change.removed) {
    if (type_url == control_plane::kAddressType) erase_address(name, &touched);
    if (type_url == control_plane::kRouteSetType) routes_.erase(name);
    if (type_url == control_plane::kDestinationPolicyType) policies_.erase(name);
    if (type_url == control_plane::kAuthorizationType) authorizations_.erase(name);
    if (type_url == control_plane::kAuthenticationType) token_rules_.erase(name);
  }
  return touched;
}

const MeshWorkload* MeshModel::workload(std::string_view uid) const {
  const auto found = workloads_.find(uid);
  return found != workloads_.end() ? found->get() : nullptr;
}

const MeshService* MeshModel::service(std::string_view key) const {
  const auto found = services_.find(key);
  return found != services_.end() && (*found)->described ? found->get() : nullptr;
}

std::vector<const MeshWorkload*> MeshModel::workloads() const { return in_order(workloads_); }

std::vector<const MeshService*> MeshModel::services() const {
  std::vector<const MeshService*> out = in_order(services_);
  std::erase_if(out, [](const MeshService* service) { return !service->described; });
  return out;
}

std::optional<istio::workload::Workload> MeshModel::find_workload(std::string_view ns,
                                                                  std::string_view name) const {
  const auto found = by_name_.find(name_hash(ns, name));
  if (found == by_name_.end()) return std::nullopt;
  istio::workload::Workload message = whole(*found->second);
  if (message.namespace_() != ns || message.name() != name) return std::nullopt;
  return message;
}

}  // namespace weft::agent
