// See workloads.h. Conventions of names and fields: Istio's ambient workload API.
#include "control-plane/compile/workloads.h"

#include <algorithm>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/compile/protocol.h"
#include "control-plane/resource/endpoint_address.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::workload;

std::string first_label(const std::map<std::string, std::string>& labels,
                        std::initializer_list<const char*> names, const std::string& fallback) {
  for (const char* name : names) {
    const auto found = labels.find(name);
    if (found != labels.end() && !found->second.empty()) return found->second;
  }
  return fallback;
}

// A Deployment's pods belong to a ReplicaSet named "<deployment>-<pod-template-hash>".
void set_owner(const Pod& pod, pb::Workload& out) {
  out.set_workload_type(pb::POD);
  out.set_workload_name(pod.meta.name);
  if (pod.owner_name.empty()) return;
  out.set_workload_name(pod.owner_name);
  if (pod.owner_kind == "Job") out.set_workload_type(pb::JOB);
  const auto hash = pod.meta.labels.find("pod-template-hash");
  if (pod.owner_kind != "ReplicaSet" || hash == pod.meta.labels.end()) return;
  const std::string suffix = str_cat("-", hash->second);
  if (!pod.owner_name.ends_with(suffix)) return;
  out.set_workload_type(pb::DEPLOYMENT);
  out.set_workload_name(pod.owner_name.substr(0, pod.owner_name.size() - suffix.size()));
}

// The pod's own label (dots instead of slashes, which labels cannot have), else topology labels of the pod or
// of its node.
void set_locality(const Pod& pod, const Node* node, pb::Workload& out) {
  pb::Locality place;
  if (const auto own = pod.meta.labels.find("istio-locality"); own != pod.meta.labels.end()) {
    std::string_view rest = own->second;
    for (std::string* part : {place.mutable_region(), place.mutable_zone(), place.mutable_subzone()}) {
      const size_t dot = std::min(rest.find_first_of("./"), rest.size());
      *part = rest.substr(0, dot);
      rest.remove_prefix(std::min(dot + 1, rest.size()));
    }
  } else {
    const auto label = [&](const char* name) {
      return first_label(pod.meta.labels, {name},
                         node == nullptr ? "" : first_label(node->meta.labels, {name}, ""));
    };
    place.set_region(label("topology.kubernetes.io/region"));
    place.set_zone(label("topology.kubernetes.io/zone"));
    place.set_subzone(label("topology.istio.io/subzone"));
  }
  if (!place.region().empty() || !place.zone().empty() || !place.subzone().empty())
    *out.mutable_locality() = std::move(place);
}

// "region/zone/subzone".
void set_locality(std::string_view text, pb::Workload& out) {
  const auto next = [&text] {
    const size_t slash = std::min(text.find('/'), text.size());
    const std::string part(text.substr(0, slash));
    text.remove_prefix(std::min(slash + 1, text.size()));
    return part;
  };
  if (text.empty()) return;
  out.mutable_locality()->set_region(next());
  out.mutable_locality()->set_zone(next());
  out.mutable_locality()->set_subzone(next());
}

CompiledWorkload from_pod(const Pod& pod) {
  CompiledWorkload out{.labels = pod.meta.labels};
  pb::Workload& w = out.workload;
  w.set_uid(pod_uid(pod.meta));
  w.set_name(pod.meta.name);
  w.set_namespace_(pod.meta.ns);
  for (const std::string& ip : pod.ips) w.add_addresses(IpAddress::parse(ip)->packed());
  w.set_service_account(pod.service_account);
  w.set_node(pod.node);
  set_owner(pod, w);
  w.set_canonical_name(first_label(pod.meta.labels,
                                   {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"},
                                   w.workload_name()));
  w.set_canonical_revision(
      first_label(pod.meta.labels,
                  {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest"));
  const bool healthy = pod.ready.value_or(true) && !pod.deleting;
  w.set_status(healthy ? pb::HEALTHY : pb::UNHEALTHY);
  if (pod.host_network) w.set_network_mode(pb::HOST_NETWORK);
  // Both as Istio reads them: whoever captures the pod says so, or the pod speaks HBONE itself.
  const auto says = [](const std::map<std::string, std::string>& map, const char* key,
                       std::string_view value) {
    const auto found = map.find(key);
    return found != map.end() && found->second == value;
  };
  const bool native = says(pod.meta.labels, "networking.istio.io/tunnel", "http");
  if (native || says(pod.meta.annotations, "ambient.istio.io/redirection", "enabled"))
    w.set_tunnel_protocol(pb::HBONE);
  w.set_native_tunnel(native);
  return out;
}

uint16_t resolve_target(const Service::Port& port, const Pod& pod) {
  if (port.target.name.empty()) return port.target.number;
  for (const Pod::Port& candidate : pod.ports) {
    if (candidate.name == port.target.name) return candidate.number;
  }
  return 0;
}

void add_port(pb::PortList& list, const Service::Port& port, uint16_t target) {
  for (const pb::Port& known : list.ports()) {
    if (known.service_port() == port.number) return;
  }
  pb::Port& out = *list.add_ports();
  out.set_service_port(port.number);
  out.set_target_port(target);
  out.set_app_protocol(to_istio(protocol_of(port.app_protocol, port.name, port.number)));
}

class WorkloadCompiler {
 public:
  explicit WorkloadCompiler(const Objects& objects) : objects_(objects) {}

  Workloads run() {
    for_each<Pod>(objects_, [this](const Pod& pod) { add_pod(pod); });
    for_each<WorkloadEntry>(objects_, [this](const WorkloadEntry& entry) { add_entry(entry); });
    for_each<Service>(objects_, [this](const Service& service) { select(service); });
    for_each<EndpointSlice>(objects_, [this](const EndpointSlice& slice) { add_slice(slice); });
    return std::move(workloads_);
  }

 private:
  void add_pod(const Pod& pod) {
    if (is_terminal(pod)) return;
    CompiledWorkload workload = from_pod(pod);
    const auto node = objects_.find(ObjectKey{"Node", "", pod.node});
    set_locality(pod, node == objects_.end() ? nullptr : std::get_if<Node>(node->second), workload.workload);
    // Host-network pods share the node's address, so an address does not name them.
    if (!pod.host_network) {
      for (const std::string& ip : pod.ips) uid_by_ip_.emplace(ip, workload.workload.uid());
    }
    pods_by_ns_[pod.meta.ns].push_back(&pod);
    workloads_.emplace(workload.workload.uid(), std::move(workload));
  }

  // Its name is looked up for ServiceEntries only; an address that a pod has is the pod.
  void add_entry(const WorkloadEntry& entry) {
    const auto ip = IpAddress::parse(entry.endpoint.address);
    if (!ip || !is_endpoint_address(*ip)) return;
    const std::string uid = entry_uid(entry.meta);
    if (!uid_by_ip_.emplace(ip->to_string(), uid).second) return;
    CompiledWorkload workload =
        external_workload(uid, entry.meta.ns, entry.meta.name, ip->packed(), entry.endpoint);
    workload.workload.set_name(entry.meta.name);
    workloads_.emplace(uid, std::move(workload));
  }

  void select(const Service& service) {
    if (service.selector.empty() || service.external_name) return;
    for_each<WorkloadEntry>(objects_, [&](const WorkloadEntry& entry) { select(service, entry); });
    const auto pods = pods_by_ns_.find(service.meta.ns);
    if (pods == pods_by_ns_.end()) return;
    for (const Pod* pod : pods->second) {
      if (!selects(service.selector, pod->meta.labels)) continue;
      pb::PortList list;
      for (const Service::Port& port : service.ports) {
        if (const uint16_t target = resolve_target(port, *pod); target != 0) add_port(list, port, target);
      }
      auto& services = *workloads_.at(pod_uid(pod->meta)).workload.mutable_services();
      if (list.ports_size() > 0) services[service_key(service.meta)] = std::move(list);
    }
  }

  void select(const Service& service, const WorkloadEntry& entry) {
    const auto workload = workloads_.find(entry_uid(entry.meta));
    if (entry.meta.ns != service.meta.ns || workload == workloads_.end() ||
        !selects(service.selector, entry.endpoint.labels))
      return;
    pb::PortList list;
    for (const Service::Port& port : service.ports) {
      const auto own = entry.endpoint.ports.find(port.target.name.empty() ? port.name : port.target.name);
      const uint16_t target = own != entry.endpoint.ports.end() ? own->second : port.target.number;
      if (target != 0) add_port(list, port, target);
    }
    auto& services = *workload->second.workload.mutable_services();
    if (list.ports_size() > 0) services[service_key(service.meta)] = std::move(list);
  }

  void add_slice(const EndpointSlice& slice) {
    const auto found = objects_.find(ObjectKey{"Service", slice.meta.ns, slice.service});
    if (found == objects_.end()) return;
    const Service& service = std::get<Service>(*found->second);
    for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
      for (const std::string& address : endpoint.addresses) add_endpoint(service, slice, endpoint, address);
    }
  }

  void add_endpoint(const Service& service, const EndpointSlice& slice,
                    const EndpointSlice::Endpoint& endpoint, const std::string& address) {
    const std::string uid = find_or_create(slice, endpoint, address);
    if (uid.empty()) return;
    CompiledWorkload& workload = workloads_.at(uid);
    // A pod's own Ready condition is the truth about it; without one the slice's word counts.
    if (!endpoint.ready && !says_ready(endpoint)) workload.workload.set_status(pb::UNHEALTHY);
    pb::PortList& list = (*workload.workload.mutable_services())[service_key(service.meta)];
    for (const Service::Port& port : service.ports) {
      for (const EndpointSlice::Port& target : slice.ports) {
        if (target.name == port.name) add_port(list, port, target.number);
      }
    }
    if (list.ports_size() == 0) workload.workload.mutable_services()->erase(service_key(service.meta));
  }

  bool says_ready(const EndpointSlice::Endpoint& endpoint) const {
    const auto pod = objects_.find(ObjectKey{"Pod", endpoint.pod_ns, endpoint.pod_name});
    return pod != objects_.end() && std::get<Pod>(*pod->second).ready.has_value();
  }

  // The uid of the endpoint's workload; empty when it belongs to a pod that has ended.
  std::string find_or_create(const EndpointSlice& slice, const EndpointSlice::Endpoint& endpoint,
                             const std::string& address) {
    if (const auto pod = objects_.find(ObjectKey{"Pod", endpoint.pod_ns, endpoint.pod_name});
        pod != objects_.end()) {
      const std::string uid = pod_uid(meta_of(*pod->second));
      const auto workload = workloads_.find(uid);
      if (workload == workloads_.end()) return "";
      add_address(workload->second.workload, address);
      return uid;
    }
    if (const auto known = uid_by_ip_.find(address); known != uid_by_ip_.end()) return known->second;
    const std::string uid = str_cat("Kubernetes//Endpoint/", slice.meta.ns, "/", address);
    CompiledWorkload created;
    pb::Workload& w = created.workload;
    w.set_uid(uid);
    w.set_name(address);
    w.set_namespace_(slice.meta.ns);
    w.add_addresses(IpAddress::parse(address)->packed());
    w.set_node(endpoint.node);
    w.set_workload_type(pb::POD);
    w.set_workload_name(address);
    w.set_canonical_name(slice.service);
    w.set_canonical_revision("latest");
    if (!endpoint.zone.empty()) w.mutable_locality()->set_zone(endpoint.zone);
    uid_by_ip_.emplace(address, uid);
    workloads_.emplace(uid, std::move(created));
    return uid;
  }

  void add_address(pb::Workload& workload, const std::string& address) {
    const std::string packed = IpAddress::parse(address)->packed();
    const auto& known = workload.addresses();
    if (std::find(known.begin(), known.end(), packed) == known.end()) workload.add_addresses(packed);
  }

  const Objects& objects_;
  Workloads workloads_;
  std::map<std::string, std::vector<const Pod*>> pods_by_ns_;
  std::map<std::string, std::string> uid_by_ip_;
};

}  // namespace

CompiledWorkload external_workload(const std::string& uid, const std::string& ns, const std::string& owner,
                                   const std::string& packed, const ServiceEntry::Endpoint& endpoint) {
  CompiledWorkload out{.workload = {}, .labels = endpoint.labels};
  pb::Workload& w = out.workload;
  w.set_uid(uid);
  w.set_namespace_(ns);
  w.add_addresses(packed);
  w.set_service_account(endpoint.service_account);
  w.set_workload_type(pb::POD);
  w.set_workload_name(owner);
  w.set_canonical_name(owner);
  w.set_canonical_revision("latest");
  if (endpoint.weight != 1) w.mutable_capacity()->set_value(endpoint.weight);
  set_locality(endpoint.locality, w);
  return out;
}

std::string entry_uid(const ObjectMeta& meta) {
  return str_cat("Kubernetes//WorkloadEntry/", meta.ns, "/", meta.name);
}

std::string pod_uid(const ObjectMeta& meta) { return str_cat("Kubernetes//Pod/", meta.ns, "/", meta.name); }

const Service* find_service(const Objects& objects, const std::string& host) {
  const size_t dot = host.find('.');
  const size_t end = dot == std::string::npos ? dot : host.find('.', dot + 1);
  if (end == std::string::npos) return nullptr;
  const std::string name = host.substr(0, dot), ns = host.substr(dot + 1, end - dot - 1);
  if (service_host(name, ns) != host) return nullptr;
  const auto found = objects.find(ObjectKey{"Service", ns, name});
  if (found == objects.end()) return nullptr;
  const auto& service = std::get<Service>(*found->second);
  return service.external_name ? nullptr : &service;
}

std::string service_key(const ObjectMeta& meta) {
  return str_cat(meta.ns, "/", service_host(meta.name, meta.ns));
}

bool is_terminal(const Pod& pod) { return pod.phase == "Succeeded" || pod.phase == "Failed"; }

bool selects(const std::map<std::string, std::string>& selector,
             const std::map<std::string, std::string>& labels) {
  if (selector.empty()) return false;
  return std::all_of(selector.begin(), selector.end(), [&labels](const auto& pair) {
    const auto found = labels.find(pair.first);
    return found != labels.end() && found->second == pair.second;
  });
}

Workloads compile_workloads(const Objects& objects) { return WorkloadCompiler(objects).run(); }

}  // namespace weft::control_plane
