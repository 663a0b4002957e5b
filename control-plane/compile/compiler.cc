// See compiler.h.
#include "control-plane/compile/compiler.h"

#include "base/address.h"
#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/compile/authorization.h"
#include "control-plane/compile/delegates.h"
#include "control-plane/compile/egress.h"
#include "control-plane/compile/gateway_reach.h"
#include "control-plane/compile/gateway_routes.h"
#include "control-plane/compile/gateway_status.h"
#include "control-plane/compile/gateway_tls.h"
#include "control-plane/compile/gateways.h"
#include "control-plane/compile/layer4_ports.h"
#include "control-plane/compile/make_resource.h"
#include "control-plane/compile/mesh_config.h"
#include "control-plane/compile/peer_authentication.h"
#include "control-plane/compile/protocol.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/host_name.h"
#include "proto/weft/mesh/v1/egress.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::workload;

void extend(google::protobuf::RepeatedPtrField<pb::Extension>& extensions, const std::string& name,
            const google::protobuf::Message& message) {
  pb::Extension& extension = *extensions.Add();
  extension.set_name(name);
  // Not PackFrom: it serialises maps in any order.
  extension.mutable_config()->set_type_url(str_cat("type.googleapis.com/", name));
  extension.mutable_config()->set_value(serialize(message));
}

pb::Address to_address(const CompiledWorkload& compiled, const EgressModes& egress) {
  pb::Address address;
  *address.mutable_workload() = compiled.workload;
  mesh::v1::WorkloadLabels labels;
  for (const auto& [key, value] : compiled.labels) (*labels.mutable_labels())[key] = value;
  extend(*address.mutable_workload()->mutable_extensions(), "weft.mesh.v1.WorkloadLabels", labels);
  mesh::v1::EgressPolicy policy;
  policy.set_registry_only(egress.registry_only(compiled.workload.namespace_(), compiled.labels));
  policy.set_declared_by_services(compiled.declared_by_services);
  if (!policy.registry_only() && !policy.declared_by_services()) return address;
  extend(*address.mutable_workload()->mutable_extensions(), "weft.mesh.v1.EgressPolicy", policy);
  return address;
}

pb::IPFamilies families_of(const Service& service) {
  bool v4 = false, v6 = false;
  for (const std::string& ip : service.cluster_ips) (IpAddress::parse(ip)->is_v4() ? v4 : v6) = true;
  if (v4 && v6) return pb::DUAL;
  if (v4) return pb::IPV4_ONLY;
  return v6 ? pb::IPV6_ONLY : pb::AUTOMATIC;
}

// Istio's scopes for what Kubernetes asks; endpoints of the same zone are of the same region.
void set_balancing(const Service& service, pb::LoadBalancing& out) {
  using Nearness = Service::Nearness;
  if (service.publish_not_ready) out.set_health_policy(pb::LoadBalancing::ALLOW_ALL);
  if (service.nearness == Nearness::kAny) return;
  out.set_mode(service.nearness == Nearness::kNodeOnly ? pb::LoadBalancing::STRICT
                                                       : pb::LoadBalancing::FAILOVER);
  if (service.nearness == Nearness::kNodeOnly) return out.add_routing_preference(pb::LoadBalancing::NODE);
  out.add_routing_preference(pb::LoadBalancing::REGION);
  out.add_routing_preference(pb::LoadBalancing::ZONE);
  if (service.nearness == Nearness::kPreferNode) out.add_routing_preference(pb::LoadBalancing::NODE);
}

// A named UDP port is the number that the first pod of the service gives it.
uint32_t datagram_target(const Service& service, const Service::Port& port, const Objects& objects) {
  if (port.target.name.empty()) return port.target.number;
  uint32_t number = 0;
  for_each<Pod>(objects, [&](const Pod& pod) {
    if (number != 0 || pod.meta.ns != service.meta.ns || !selects(service.selector, pod.meta.labels)) return;
    for (const Pod::Port& candidate : pod.ports) {
      if (candidate.name == port.target.name) number = candidate.number;
    }
  });
  return number;
}

pb::Address to_address(const Service& service, const Objects& objects, const Layer4Ports& layer4) {
  pb::Address address;
  pb::Service& out = *address.mutable_service();
  out.set_name(service.meta.name);
  out.set_namespace_(service.meta.ns);
  out.set_hostname(service_host(service.meta.name, service.meta.ns));
  for (const std::string& ip : service.cluster_ips)
    out.add_addresses()->set_address(IpAddress::parse(ip)->packed());
  out.set_ip_families(families_of(service));
  out.set_canonical(true);
  mesh::v1::ServicePorts ports;
  for (const Service::Port& port : service.ports) {
    mesh::v1::Protocol protocol = protocol_of(port.app_protocol, port.name, port.number);
    const auto routed = layer4.find({out.hostname(), port.number});
    if (routed != layer4.end() && routed->second != mesh::v1::PROTOCOL_UNSPECIFIED) protocol = routed->second;
    pb::Port& p = *out.add_ports();
    p.set_service_port(port.number);
    p.set_target_port(port.target.number);
    // Declared TCP or TLS, the kernel would send connections past the proxy, which has routes for them.
    p.set_app_protocol(routed == layer4.end() ? to_istio(protocol) : pb::UNKNOWN);
    mesh::v1::ServicePorts::Port& extended = *ports.add_ports();
    extended.set_number(port.number);
    extended.set_name(port.name);
    extended.set_protocol(protocol);
  }
  for (const Service::Port& port : service.datagram_ports) {
    const uint32_t target = datagram_target(service, port, objects);
    if (target == 0) continue;
    mesh::v1::ServicePorts::DatagramPort& datagram = *ports.add_datagram_ports();
    datagram.set_number(port.number);
    datagram.set_target_port(target);
  }
  ports.set_affinity_seconds(service.affinity_seconds);
  if (service.nearness != Service::Nearness::kAny || service.publish_not_ready)
    set_balancing(service, *out.mutable_load_balancing());
  extend(*out.mutable_extensions(), "weft.mesh.v1.ServicePorts", ports);
  return address;
}

pb::Address to_address(const ServiceEntry& entry, const std::string& host, const Layer4Ports& layer4) {
  pb::Address address;
  *address.mutable_service() = to_service(entry, host);
  for (pb::Port& port : *address.mutable_service()->mutable_ports()) {
    if (layer4.contains({host, port.service_port()})) port.set_app_protocol(pb::UNKNOWN);
  }
  extend(*address.mutable_service()->mutable_extensions(), "weft.mesh.v1.ServicePorts", ports_of(entry));
  return address;
}

void add(Compiled& out, const char* type, std::string name, const google::protobuf::Message& message) {
  give_way();
  Resource resource = make_resource(type, name, message);
  out.resources.emplace(std::pair<std::string, std::string>{type, std::move(name)}, std::move(resource));
}

// nullopt: none of its routes is for the mesh.
std::optional<mesh::v1::RouteSet> of_mesh(const VirtualService& service, const mesh::v1::RouteSet& routes,
                                          const MeshConfig* mesh) {
  mesh::v1::RouteSet out = routes_at(service, routes, "mesh");
  add_default_retries(mesh, out);
  if (out.http().empty() && out.tls().empty() && out.tcp().empty()) return std::nullopt;
  return out;
}

// Puts the resources of steps into the result, made anew where something that they depend on has changed.
class Steps {
 public:
  Steps(Remembered& remembered, Compiled& out) : remembered_(remembered), out_(out) {}

  // `make(findings)`: the message, or nullopt when it becomes nothing.
  template <typename Make>
  void add(const Inputs& inputs, const char* type, const std::string& name, Make make) {
    const auto result = remembered_.get(inputs, [&](StepResult* made) {
      if (const auto message = make(&made->findings))
        made->resources.push_back(make_resource(type, name, *message));
    });
    add(*result);
  }

  void add(const StepResult& result) {
    for (const Resource& resource : result.resources)
      out_.resources.emplace(std::pair<std::string, std::string>{resource.type_url(), resource.name()},
                             resource);
    findings_.insert(findings_.end(), result.findings.begin(), result.findings.end());
  }

  // Of an object that depends on no other.
  template <typename Make>
  void add(const ObjectMeta& meta, const char* type, Make make) {
    add(Inputs(Step::kObject).object(meta), type, str_cat(meta.ns, "/", meta.name),
        [&make](std::vector<Finding>*) { return make(); });
  }

  const std::vector<Finding>& findings() const { return findings_; }

 private:
  Remembered& remembered_;
  Compiled& out_;
  std::vector<Finding> findings_;
};

void add_virtual_services(const Objects& objects, const MeshConfig* mesh, Steps& steps) {
  for_each<VirtualService>(objects, [&](const VirtualService& v) {
    if (v.hidden || v.is_delegate()) return;
    Inputs inputs(v.has_delegates ? Step::kDelegating : Step::kObject);
    if (v.has_delegates)
      add_delegating(v, objects, &inputs);
    else
      inputs.object(v.meta);
    inputs.object(mesh == nullptr ? nullptr : &mesh->meta);
    steps.add(inputs, kRouteSetType, str_cat(v.meta.ns, "/", v.meta.name), [&](std::vector<Finding>* found) {
      return v.has_delegates ? of_mesh(v, with_delegates(v, objects, found), mesh)
                             : of_mesh(v, v.routes, mesh);
    });
  });
}

}  // namespace

Compiled compile(const Objects& objects, const std::string& node_name, const ResolvedHosts& resolved,
                 const Compiled* before, const FetchedKeys* keys) {
  Compiled out;
  const KindStamps stamps(objects);
  Remembered remembered(before == nullptr ? nullptr : &before->steps, out.steps);
  Steps steps(remembered, out);
  Workloads workloads = compile_workloads(objects);
  add_service_entries(objects, resolved, workloads);
  const EgressModes egress(objects);
  const MeshConfig* const mesh = mesh_config_of(objects);
  if (mesh != nullptr) add(out, kMeshConfigType, kMeshConfigName, mesh->message);
  const auto plaintext_denials = attach_peer_authentication(objects, workloads);
  attach_policies(objects, workloads);
  for (const auto& [uid, workload] : workloads) add(out, kAddressType, uid, to_address(workload, egress));
  std::vector<Finding> of_routes;
  GatewayFacts facts;
  const std::vector<MeshRouteSet> gateway_api = mesh_routes(objects, stamps, remembered, &of_routes, &facts);
  const Layer4Ports layer4 = layer4_ports(objects, gateway_api);
  for_each<Service>(objects, [&](const Service& service) {
    if (!service.external_name)
      add(out, kAddressType, service_key(service.meta), to_address(service, objects, layer4));
  });
  for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
    if (entry.hidden) return;
    for (const std::string& host : hosts_of(entry, objects))
      add(out, kAddressType, service_key(entry, host), to_address(entry, host, layer4));
  });
  for (const MeshRouteSet& set : gateway_api) steps.add(*set.made);
  const GatewayRouteSets of_gateways = gateway_routes(objects, stamps, remembered, &of_routes, &facts);
  if (node_name == kAllNodes) out.gateway_api = gateway_api_status(objects, stamps, remembered, facts);
  for (const auto& set : of_gateways.sets) steps.add(*set);
  for (const auto& [name, secret] : secrets_of(of_gateways.servers, objects))
    add(out, kSecretType, name, secret);
  warn_of_tunnels(of_gateways, workloads, remembered, &of_routes);
  add_virtual_services(objects, mesh, steps);
  for_each<DestinationRule>(objects, [&steps](const DestinationRule& d) {
    if (!d.hidden) steps.add(d.meta, kDestinationPolicyType, [&d] { return std::optional(d.policy); });
  });
  for_each<AuthorizationPolicy>(objects, [&steps](const AuthorizationPolicy& a) {
    steps.add(a.meta, kAuthorizationType, [&a] { return std::optional(a.policy); });
  });
  for_each<RequestAuthentication>(objects, [&](const RequestAuthentication& r) {
    add(out, kAuthenticationType, str_cat(r.meta.ns, "/", r.meta.name),
        with_keys(r, keys == nullptr ? FetchedKeys() : *keys));
  });
  for (const auto& [name, policy] : plaintext_denials) add(out, kAuthorizationType, name, policy);
  out.local_pods = local_pods(objects, node_name);
  out.mesh_namespaces = mesh_namespaces(objects);
  out.findings = cross_check(objects, workloads, stamps, remembered);
  check_mesh_config(objects, &out.findings);
  out.findings.insert(out.findings.end(), steps.findings().begin(), steps.findings().end());
  out.findings.insert(out.findings.end(), of_routes.begin(), of_routes.end());
  if (keys != nullptr) add_missing_keys(objects, *keys, &out.findings);
  return out;
}

// Both are in the order of their keys.
void diff(const Compiled& before, const Compiled& after, Change& out) {
  auto old = before.resources.begin();
  for (const auto& [key, resource] : after.resources) {
    for (; old != before.resources.end() && old->first < key; ++old) out.removed.push_back(old->first);
    const bool known = old != before.resources.end() && old->first == key;
    if (!known || old->second.version() != resource.version()) out.upserted.push_back(resource);
    if (known) ++old;
  }
  for (; old != before.resources.end(); ++old) out.removed.push_back(old->first);
}

}  // namespace weft::control_plane
