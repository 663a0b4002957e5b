// See stale_units.h.
#include "control-plane/compile/stale_units.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/compile/authorization.h"
#include "control-plane/compile/local_pods.h"

namespace weft::control_plane {
namespace {

auto content(const EndpointSlice::Endpoint& e) {
  return std::tie(e.pod_ns, e.pod_name, e.addresses, e.ready, e.node, e.zone);
}

struct ByContent {
  bool operator()(const EndpointSlice::Endpoint* a, const EndpointSlice::Endpoint* b) const {
    return content(*a) < content(*b);
  }
};

bool same_ports(const EndpointSlice& a, const EndpointSlice& b) {
  return std::equal(a.ports.begin(), a.ports.end(), b.ports.begin(), b.ports.end(),
                    [](const auto& x, const auto& y) { return x.name == y.name && x.number == y.number; });
}

bool same_endpoints_wanted(const Service& a, const Service& b) {
  const auto content_of = [](const Service::Port& p) {
    return std::tie(p.name, p.number, p.target.number, p.target.name, p.app_protocol);
  };
  return a.selector == b.selector && a.external_name == b.external_name &&
         std::equal(a.ports.begin(), a.ports.end(), b.ports.begin(), b.ports.end(),
                    [&](const auto& x, const auto& y) { return content_of(x) == content_of(y); });
}

// How endpoints that refer to it find it.
auto standing(const Pod* pod) {
  const bool there = pod != nullptr;
  return std::tuple(there, there && is_terminal(*pod), there && pod->host_network);
}

std::string label(const Node* node, const char* name) {
  if (node == nullptr) return "";
  const auto found = node->meta.labels.find(name);
  return found == node->meta.labels.end() ? "" : found->second;
}

template <typename T>
const T* typed(const Object* object) {
  return object == nullptr ? nullptr : std::get_if<T>(object);
}

template <typename T>
StaleUnits::Name name_of(const T* before, const T* now) {
  const ObjectMeta& meta = (now != nullptr ? now : before)->meta;
  return {meta.ns, meta.name};
}

}  // namespace

template <typename T>
void StaleUnits::note_typed(const ObjectChange& change) {
  const T* before = typed<T>(change.before);
  const T* now = typed<T>(change.now);
  if (before != nullptr || now != nullptr) note(before, now);
}

void StaleUnits::note(const ObjectChange& change) {
  note_typed<Pod>(change);
  note_typed<EndpointSlice>(change);
  note_typed<Service>(change);
  note_typed<WorkloadEntry>(change);
  note_typed<Node>(change);
  note_typed<Namespace>(change);
  note_typed<AuthorizationPolicy>(change);
  note_typed<PeerAuthentication>(change);
  note_typed<Sidecar>(change);
  note_typed<MeshConfig>(change);
  note_typed<ServiceEntry>(change);
}

void StaleUnits::note(const Pod* before, const Pod* now) {
  const Unit unit = unit_of(now != nullptr ? *now : *before);
  units_.insert(unit);
  const bool moved = standing(before) != standing(now);
  if (!moved && before->ips == now->ips) return;
  for (const Pod* pod : {before, now}) {
    if (pod != nullptr) addresses_.insert(pod->ips.begin(), pod->ips.end());
  }
  if (!moved) return;
  for (const EndpointSlice* slice : index_.naming(unit)) {
    for (const EndpointSlice::Endpoint& endpoint : slice->endpoints) {
      if (endpoint.pod_name == unit.name && endpoint.pod_ns == unit.ns) add(endpoint);
    }
  }
}

void StaleUnits::add(const EndpointSlice::Endpoint& endpoint) {
  if (!endpoint.pod_name.empty()) units_.insert({Unit::Kind::kPod, endpoint.pod_ns, endpoint.pod_name});
  addresses_.insert(endpoint.addresses.begin(), endpoint.addresses.end());
}

void StaleUnits::add_all(const EndpointSlice* slice) {
  if (slice == nullptr) return;
  for (const EndpointSlice::Endpoint& endpoint : slice->endpoints) add(endpoint);
}

// The first of several endpoints with an address may say what its workload is, and the order of those of one
// pod is that of its addresses.
void StaleUnits::add_shared(const EndpointSlice& slice) {
  std::set<std::string> seen;
  std::set<Unit> pods;
  for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
    Unit pod{Unit::Kind::kPod, endpoint.pod_ns, endpoint.pod_name};
    if (!endpoint.pod_name.empty() && !pods.insert(pod).second) units_.insert(std::move(pod));
    for (const std::string& address : endpoint.addresses) {
      if (!seen.insert(address).second) addresses_.insert(address);
    }
  }
}

void StaleUnits::note(const EndpointSlice* before, const EndpointSlice* now) {
  slices_.insert(name_of(before, now));
  if (before == nullptr || now == nullptr || before->service != now->service || !same_ports(*before, *now)) {
    add_all(before);
    add_all(now);
    return;
  }
  using Endpoints = std::set<const EndpointSlice::Endpoint*, ByContent>;
  const auto of = [](const EndpointSlice& slice) {
    Endpoints out;
    for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) out.insert(&endpoint);
    return out;
  };
  const Endpoints old_ones = of(*before), new_ones = of(*now);
  for (const auto* endpoint : old_ones) {
    if (!new_ones.contains(endpoint)) add(*endpoint);
  }
  for (const auto* endpoint : new_ones) {
    if (!old_ones.contains(endpoint)) add(*endpoint);
  }
  add_shared(*before);
  add_shared(*now);
}

void StaleUnits::add_selected(const Service& service) {
  if (service.external_name) return;
  for_each_in<Pod>(objects_, service.meta.ns, [&](const Pod& pod) {
    if (selects(service.selector, pod.meta.labels)) units_.insert(unit_of(pod));
  });
  for_each_in<WorkloadEntry>(objects_, service.meta.ns, [&](const WorkloadEntry& entry) {
    if (selects(service.selector, entry.endpoint.labels)) units_.insert(unit_of(entry));
  });
}

void StaleUnits::note(const Service* before, const Service* now) {
  const Name name = name_of(before, now);
  services_.insert(name);
  const bool exists = before != nullptr && now != nullptr;
  if (exists && same_endpoints_wanted(*before, *now)) return;
  if (!exists || before->external_name != now->external_name) declared_ = true;
  for (const Service* service : {before, now}) {
    if (service != nullptr) add_selected(*service);
  }
  for_each_in<EndpointSlice>(objects_, name.first, [&](const EndpointSlice& slice) {
    if (slice.service != name.second) return;
    slices_.emplace(slice.meta.ns, slice.meta.name);
    add_all(&slice);
  });
}

void StaleUnits::note(const WorkloadEntry* before, const WorkloadEntry* now) {
  declared_ = true;
  for (const WorkloadEntry* entry : {before, now}) {
    if (entry == nullptr) continue;
    units_.insert(unit_of(*entry));
    if (const auto ip = IpAddress::parse(entry->endpoint.address)) addresses_.insert(ip->to_string());
  }
}

void StaleUnits::note(const Node* before, const Node* now) {
  const std::string& name = (now != nullptr ? now : before)->meta.name;
  const std::vector<const char*> places = {"topology.kubernetes.io/region", "topology.kubernetes.io/zone",
                                           "topology.istio.io/subzone"};
  if (std::all_of(places.begin(), places.end(),
                  [&](const char* place) { return label(before, place) == label(now, place); }))
    return;
  nodes_.insert(name);
}

void StaleUnits::add_pods_of_nodes() {
  if (nodes_.empty()) return;
  for_each<Pod>(objects_, [&](const Pod& pod) {
    if (nodes_.contains(pod.node)) units_.insert(unit_of(pod));
  });
}

void StaleUnits::note(const Namespace* before, const Namespace* now) {
  if (wants_capture(before) == wants_capture(now) && takes_shortcut(before) == takes_shortcut(now)) return;
  const std::string& name = (now != nullptr ? now : before)->meta.name;
  for_each_in<Pod>(objects_, name, [&](const Pod& pod) { units_.insert(unit_of(pod)); });
}

void StaleUnits::add_reach(const std::string& ns) {
  if (ns == kRootNamespace)
    everything_ = true;
  else
    namespaces_.insert(ns);
}

// Workloads have its name, whatever it says.
void StaleUnits::note(const AuthorizationPolicy* before, const AuthorizationPolicy* now) {
  selectors_ = true;
  const Name name = name_of(before, now);
  if (before == nullptr || now == nullptr) policies_.insert(str_cat(name.first, "/", name.second));
  const auto reach = [](const AuthorizationPolicy& policy) {
    return std::tie(policy.selector, policy.services, policy.gateways);
  };
  if (before != nullptr && now != nullptr && reach(*before) == reach(*now)) return;
  for (const AuthorizationPolicy* policy : {before, now}) {
    if (policy == nullptr) continue;
    for (const std::string& service : policy->services) endpoints_of_.insert(target_key(*policy, service));
    if (policy->services.empty() && !policy->selector.empty()) add_reach(name.first);
  }
}

void StaleUnits::note(const PeerAuthentication* before, const PeerAuthentication* now) {
  peers_ = true;
  add_reach(name_of(before, now).first);
}

void StaleUnits::note(const Sidecar* before, const Sidecar* now) {
  egress_ = true;
  const auto speaks = [](const Sidecar* object) {
    return object != nullptr && object->registry_only.has_value();
  };
  if (speaks(before) || speaks(now)) add_reach(name_of(before, now).first);
}

void StaleUnits::note(const MeshConfig* before, const MeshConfig* now) {
  egress_ = true;
  const bool exists = before != nullptr && now != nullptr;
  if (!exists || before->registry_only != now->registry_only) everything_ = true;
}

void StaleUnits::note(const ServiceEntry*, const ServiceEntry*) { declared_ = true; }

}  // namespace weft::control_plane
