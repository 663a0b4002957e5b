// See workloads.h. Conventions of names and fields: Istio's ambient workload API.
#include "control-plane/compile/workloads.h"

#include <algorithm>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/compile/protocol.h"
#include "control-plane/compile/workload_index.h"
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

// One workload of a unit; see compile_workload().
class UnitCompiler {
 public:
  UnitCompiler(const Unit& unit, const Objects& objects, const WorkloadIndex& index)
      : unit_(unit), objects_(objects), index_(index) {}

  std::optional<CompiledWorkload> run() {
    if (unit_.kind == Unit::Kind::kPod)
      begin_pod();
    else if (unit_.kind == Unit::Kind::kEntry)
      begin_entry();
    else if (unit_.kind == Unit::Kind::kAddress && index_.owner(unit_.name) == unit_)
      own_ = {unit_.name};
    if (!out_ && own_.empty()) return std::nullopt;
    for (const EndpointSlice* slice : index_.naming(unit_)) add_slice(*slice);
    return std::move(out_);
  }

 private:
  void begin_pod() {
    const Pod* pod = find<Pod>(objects_, unit_.ns, unit_.name);
    if (pod == nullptr || is_terminal(*pod)) return;
    out_ = from_pod(*pod);
    own_ = pod->ips;
    set_locality(*pod, find<Node>(objects_, "", pod->node), out_->workload);
    for (const Service* service : index_.selecting(pod->meta.ns, pod->meta.labels)) {
      pb::PortList list;
      for (const Service::Port& port : service->ports) {
        if (const uint16_t target = resolve_target(port, *pod); target != 0) add_port(list, port, target);
      }
      add_service(*service, std::move(list));
    }
  }

  // Its name is looked up for ServiceEntries only; an address that a pod has is the pod.
  void begin_entry() {
    const WorkloadEntry* entry = find<WorkloadEntry>(objects_, unit_.ns, unit_.name);
    const auto ip = entry == nullptr ? std::nullopt : IpAddress::parse(entry->endpoint.address);
    if (!ip || index_.owner(ip->to_string()) != unit_) return;
    out_ = external_workload(entry_uid(entry->meta), entry->meta.ns, entry->meta.name, ip->packed(),
                             entry->endpoint);
    out_->workload.set_name(entry->meta.name);
    own_ = {ip->to_string()};
    for (const Service* service : index_.selecting(entry->meta.ns, entry->endpoint.labels)) {
      pb::PortList list;
      for (const Service::Port& port : service->ports) {
        const std::string& name = port.target.name.empty() ? port.name : port.target.name;
        const auto own = entry->endpoint.ports.find(name);
        const uint16_t target = own != entry->endpoint.ports.end() ? own->second : port.target.number;
        if (target != 0) add_port(list, port, target);
      }
      add_service(*service, std::move(list));
    }
  }

  void begin_address(const EndpointSlice& slice, const EndpointSlice::Endpoint& endpoint) {
    const std::string& address = unit_.name;
    pb::Workload& w = out_.emplace().workload;
    w.set_uid(str_cat("Kubernetes//Endpoint/", slice.meta.ns, "/", address));
    w.set_name(address);
    w.set_namespace_(slice.meta.ns);
    w.add_addresses(IpAddress::parse(address)->packed());
    w.set_node(endpoint.node);
    w.set_workload_type(pb::POD);
    w.set_workload_name(address);
    w.set_canonical_name(slice.service);
    w.set_canonical_revision("latest");
    if (!endpoint.zone.empty()) w.mutable_locality()->set_zone(endpoint.zone);
  }

  void add_service(const Service& service, pb::PortList list) {
    if (list.ports_size() > 0)
      (*out_->workload.mutable_services())[service_key(service.meta)] = std::move(list);
  }

  void add_slice(const EndpointSlice& slice) {
    const Service* service = find<Service>(objects_, slice.meta.ns, slice.service);
    if (service == nullptr) return;
    for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
      if (!may_be(endpoint)) continue;
      for (const std::string& address : endpoint.addresses) {
        if (index_.target(endpoint, address) == unit_) add_endpoint(*service, slice, endpoint, address);
      }
    }
  }

  // Cheaper than to ask whose an endpoint is, of which a slice may have a thousand.
  bool may_be(const EndpointSlice::Endpoint& endpoint) const {
    if (unit_.kind == Unit::Kind::kPod && endpoint.pod_name == unit_.name && endpoint.pod_ns == unit_.ns)
      return true;
    return std::any_of(endpoint.addresses.begin(), endpoint.addresses.end(),
                       [this](const std::string& address) {
                         return std::find(own_.begin(), own_.end(), address) != own_.end();
                       });
  }

  void add_endpoint(const Service& service, const EndpointSlice& slice,
                    const EndpointSlice::Endpoint& endpoint, const std::string& address) {
    if (!out_) begin_address(slice, endpoint);
    // A slice may know an address that the pod's own status does not name.
    if (unit_.kind == Unit::Kind::kPod && endpoint.pod_name == unit_.name && endpoint.pod_ns == unit_.ns)
      add_address(out_->workload, address);
    // A pod's own Ready condition is the truth about it; without one the slice's word counts.
    if (!endpoint.ready && !says_ready(endpoint)) out_->workload.set_status(pb::UNHEALTHY);
    pb::PortList& list = (*out_->workload.mutable_services())[service_key(service.meta)];
    for (const Service::Port& port : service.ports) {
      for (const EndpointSlice::Port& target : slice.ports) {
        if (target.name == port.name) add_port(list, port, target.number);
      }
    }
    if (list.ports_size() == 0) out_->workload.mutable_services()->erase(service_key(service.meta));
  }

  bool says_ready(const EndpointSlice::Endpoint& endpoint) const {
    const Pod* pod = find<Pod>(objects_, endpoint.pod_ns, endpoint.pod_name);
    return pod != nullptr && pod->ready.has_value();
  }

  void add_address(pb::Workload& workload, const std::string& address) {
    const std::string packed = IpAddress::parse(address)->packed();
    const auto& known = workload.addresses();
    if (std::find(known.begin(), known.end(), packed) == known.end()) workload.add_addresses(packed);
  }

  const Unit& unit_;
  const Objects& objects_;
  const WorkloadIndex& index_;
  std::vector<std::string> own_;  // addresses, as slices name them
  std::optional<CompiledWorkload> out_;
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

const Service* service_of_host(const Objects& objects, const std::string& host) {
  const size_t dot = host.find('.');
  const size_t end = dot == std::string::npos ? dot : host.find('.', dot + 1);
  if (end == std::string::npos) return nullptr;
  const std::string name = host.substr(0, dot), ns = host.substr(dot + 1, end - dot - 1);
  if (service_host(name, ns) != host) return nullptr;
  const auto found = objects.find(ObjectKey{"Service", ns, name});
  return found == objects.end() ? nullptr : &std::get<Service>(*found->second);
}

const Service* find_service(const Objects& objects, const std::string& host) {
  const Service* const service = service_of_host(objects, host);
  return service == nullptr || service->external_name ? nullptr : service;
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

std::optional<CompiledWorkload> compile_workload(const Unit& unit, const Objects& objects,
                                                 const WorkloadIndex& index) {
  return UnitCompiler(unit, objects, index).run();
}

}  // namespace weft::control_plane
