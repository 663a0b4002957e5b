// See compiler.h.
#include "control-plane/compile/compiler.h"

#include "base/address.h"
#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/compile/delegates.h"
#include "control-plane/compile/gateway_reach.h"
#include "control-plane/compile/gateway_routes.h"
#include "control-plane/compile/gateway_status.h"
#include "control-plane/compile/gateway_tls.h"
#include "control-plane/compile/gateways.h"
#include "control-plane/compile/layer4_ports.h"
#include "control-plane/compile/make_resource.h"
#include "control-plane/compile/mesh_config.h"
#include "control-plane/compile/protocol.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/compile/workload_stage.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::workload;

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
  for_each_in<Pod>(objects, service.meta.ns, [&](const Pod& pod) {
    if (number != 0 || !selects(service.selector, pod.meta.labels)) return;
    for (const Pod::Port& candidate : pod.datagram_ports) {
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

void add(Compiled& out, const char* type, const std::string& name, const google::protobuf::Message& message) {
  give_way();
  out.add(make_resource(type, name, message));
}

std::string name_of(const ObjectMeta& meta) { return str_cat(meta.ns, "/", meta.name); }

// Puts the resources of steps into the result, made anew where something that they depend on has changed.
class Steps {
 public:
  Steps(Remembered& remembered, Compiled& out) : remembered_(remembered), out_(out) {}

  // `make(findings)`: the message, or nullopt when it becomes nothing. `name()`: asked only for what is made.
  template <typename Name, typename Make>
  void add(const Inputs& inputs, const char* type, Name name, Make make) {
    const auto result = remembered_.get(inputs, [&](StepResult* made) {
      if (const auto message = make(&made->findings))
        made->resources.push_back(make_resource(type, name(), *message));
    });
    add(*result);
  }

  void add(const StepResult& result) {
    for (const Resource& resource : result.resources) out_.add(resource);
    findings_.insert(findings_.end(), result.findings.begin(), result.findings.end());
  }

  // Of an object that depends on no other.
  template <typename Make>
  void add(const ObjectMeta& meta, const char* type, Make make) {
    add(
        Inputs(Step::kObject).object(meta), type, [&meta] { return name_of(meta); },
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
    std::optional<mesh::v1::RouteSet> whole, made;
    steps.add(
        inputs, kRouteSetType, [&v] { return name_of(v.meta); },
        [&](std::vector<Finding>* found) {
          if (v.has_delegates) whole = with_delegates(v, objects, found);
          return routes_on_mesh(v, whole ? *whole : *v.routes, mesh, made);
        });
  });
}

void add_services(const Objects& objects, const Layer4Ports& layer4, Steps& steps) {
  for_each<Service>(objects, [&](const Service& service) {
    if (service.external_name) return;
    Inputs inputs(Step::kService);
    inputs.object(service.meta);
    // Of thousands of Services, after each change of one.
    const std::string host =
        layer4.empty() ? std::string() : service_host(service.meta.name, service.meta.ns);
    for (const Service::Port& port : service.ports) {
      const auto routed = layer4.find({host, port.number});
      inputs.number(routed == layer4.end() ? 0 : 1 + static_cast<uint64_t>(routed->second));
    }
    for (const Service::Port& port : service.datagram_ports)
      inputs.number(datagram_target(service, port, objects));
    steps.add(
        inputs, kAddressType, [&service] { return service_key(service.meta); },
        [&](std::vector<Finding>*) { return std::optional(to_address(service, objects, layer4)); });
  });
}

void add_service_entries(const Objects& objects, const Layer4Ports& layer4, Compiled& out) {
  for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
    if (entry.hidden) return;
    for (const std::string& host : hosts_of(entry, objects))
      add(out, kAddressType, service_key(entry, host), to_address(entry, host, layer4));
  });
}

void add_policies(const Objects& objects, const FetchedKeys* keys, Steps& steps, Compiled& out) {
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
}

}  // namespace

Compiled compile_rest(const Objects& objects, const std::string& node_name, const WorkloadFacts& facts,
                      const Compiled* before, const FetchedKeys* keys) {
  Compiled out;
  if (before != nullptr) out.steps.reserve(before->steps.size());
  const KindStamps stamps(objects);
  Remembered remembered(before == nullptr ? nullptr : &before->steps, out.steps);
  Steps steps(remembered, out);
  const MeshConfig* const mesh = mesh_config_of(objects);
  if (mesh != nullptr) add(out, kMeshConfigType, kMeshConfigName, mesh->message);
  std::vector<Finding> of_routes;
  GatewayFacts gateways;
  const std::vector<MeshRouteSet> gateway_api =
      mesh_routes(objects, stamps, remembered, &of_routes, &gateways);
  const Layer4Ports layer4 = layer4_ports(objects, gateway_api);
  add_services(objects, layer4, steps);
  add_service_entries(objects, layer4, out);
  for (const MeshRouteSet& set : gateway_api) steps.add(*set.made);
  const GatewayRouteSets of_gateways = gateway_routes(objects, stamps, remembered, &of_routes, &gateways);
  if (node_name == kAllNodes) out.gateway_api = gateway_api_status(objects, stamps, remembered, gateways);
  for (const auto& set : of_gateways.sets) steps.add(*set);
  for (const auto& [name, secret] : secrets_of(of_gateways.servers, objects))
    add(out, kSecretType, name, secret);
  warn_of_tunnels(of_gateways, facts.tunnel_hosts(), remembered, &of_routes);
  add_virtual_services(objects, mesh, steps);
  add_policies(objects, keys, steps, out);
  out.findings = cross_check(objects, facts, stamps, remembered);
  check_mesh_config(objects, &out.findings);
  out.findings.insert(out.findings.end(), steps.findings().begin(), steps.findings().end());
  out.findings.insert(out.findings.end(), of_routes.begin(), of_routes.end());
  if (keys != nullptr) add_missing_keys(objects, *keys, &out.findings);
  return out;
}

Compiled compile(const Objects& objects, const std::string& node_name, const ResolvedHosts& resolved,
                 const Compiled* before, const FetchedKeys* keys) {
  std::vector<ObjectChange> all;
  for (const auto& [key, object] : objects) all.push_back({key, nullptr, object});
  WorkloadStage stage(objects, node_name);
  Change told;
  stage.apply(all, resolved, &told);
  stage.begin_asking();
  Compiled out = compile_rest(objects, node_name, stage.facts(), before, keys);
  stage.for_each_resource([&out](const Resource& resource) { out.add(resource); });
  out.local_pods = node_name == kAllNodes ? std::move(told.changed_pods) : stage.local_pods();
  out.mesh_namespaces = stage.mesh_namespaces();
  const std::vector<Finding> of_endpoints = stage.checks().findings();
  out.findings.insert(out.findings.end(), of_endpoints.begin(), of_endpoints.end());
  return out;
}

// Both are in the order of their keys.
void diff(const Compiled& before, const Compiled& after, Change& out) {
  auto old = before.resources.begin();
  for (const auto& [key, resource] : after.resources) {
    for (; old != before.resources.end() && old->first < key; ++old) out.removed.emplace_back(old->first);
    const bool known = old != before.resources.end() && old->first == key;
    if (!known || old->second.version() != resource.version()) out.upserted.push_back(resource);
    if (known) ++old;
  }
  for (; old != before.resources.end(); ++old) out.removed.emplace_back(old->first);
}

}  // namespace weft::control_plane
