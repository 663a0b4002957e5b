// See declared_services.h.
#include "control-plane/compile/declared_services.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/resource/endpoint_address.h"

namespace weft::control_plane {
namespace {

using Resolution = ServiceEntry::Resolution;

// Calls found(key) for each key whose lists do not say the same.
template <typename Map, typename Same, typename Found>
void for_each_difference(const Map& a, const Map& b, Same same, Found found) {
  for (const auto& [key, list] : a) {
    const auto other = b.find(key);
    if (other == b.end() ||
        !std::equal(list.begin(), list.end(), other->second.begin(), other->second.end(), same))
      found(key);
  }
  for (const auto& [key, list] : b) {
    if (!a.contains(key)) found(key);
  }
}

}  // namespace

bool DeclaredServices::Saying::says_the_same(const Saying& other) const {
  const auto rest = [](const Saying& s) {
    const ServiceEntry::Endpoint& e = s.endpoint;
    // Names of workloads have the address as it is written.
    return std::tie(s.key, s.entry_ns, s.entry_name, s.selector, s.machine, e.address, e.labels, e.weight,
                    e.locality, e.service_account);
  };
  return rest(*this) == rest(other) && ports.SerializeAsString() == other.ports.SerializeAsString();
}

DeclaredServices::DeclaredServices(const Objects& objects, const ResolvedHosts& resolved) {
  for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
    if (!entry.hidden) add_entry(entry, objects, resolved);
  });
}

void DeclaredServices::add_entry(const ServiceEntry& entry, const Objects& objects,
                                 const ResolvedHosts& resolved) {
  const auto add = [&](const std::string& key, ServiceEntry::Endpoint endpoint) {
    add_name({.key = key,
              .ports = ports_for(entry, endpoint.ports),
              .entry_ns = entry.meta.ns,
              .entry_name = entry.meta.name,
              .selector = {},
              .endpoint = std::move(endpoint)},
             entry, resolved);
  };
  for (const std::string& host : hosts_of(entry, objects)) {
    const std::string key = service_key(entry, host);
    if (!entry.selector.empty()) {
      add_selector(entry, key, objects, resolved);
    } else if (entry.endpoints.empty() && entry.resolves()) {
      add(key, ServiceEntry::Endpoint{.address = host});
    } else {
      for (const ServiceEntry::Endpoint& endpoint : entry.endpoints) add(key, endpoint);
    }
  }
}

void DeclaredServices::add_selector(const ServiceEntry& entry, const std::string& key, const Objects& objects,
                                    const ResolvedHosts& resolved) {
  Saying saying{.order = ++next_,
                .key = key,
                .ports = ports_for(entry, {}),
                .entry_ns = entry.meta.ns,
                .entry_name = entry.meta.name,
                .selector = entry.selector,
                .endpoint = {}};
  by_namespace_[entry.meta.ns].push_back(saying);
  saying.selector.clear();
  for_each_in<WorkloadEntry>(objects, entry.meta.ns, [&](const WorkloadEntry& machine) {
    if (!selects(entry.selector, machine.endpoint.labels)) return;
    saying.order = ++next_;
    saying.ports = ports_for(entry, machine.endpoint.ports);
    saying.endpoint = machine.endpoint;
    saying.machine = unit_of(machine);
    by_entry_[unit_of(machine)].push_back(saying);
    if (entry.resolves() || IpAddress::parse(machine.endpoint.address)) add_name(saying, entry, resolved);
  });
}

void DeclaredServices::add_name(Saying saying, const ServiceEntry& entry, const ResolvedHosts& resolved) {
  if (IpAddress::parse(saying.endpoint.address)) {
    const std::string address = saying.endpoint.address;
    return add_address(std::move(saying), address);
  }
  const auto found = resolved.find(saying.endpoint.address);
  if (found == resolved.end()) return;
  for (const std::string& address : found->second) {
    add_address(saying, address);
    if (entry.resolution == Resolution::kDnsRoundRobin) return;
  }
}

void DeclaredServices::add_address(Saying saying, const std::string& address) {
  const IpAddress ip = *IpAddress::parse(address);
  if (!is_endpoint_address(ip)) return;
  saying.order = ++next_;
  saying.endpoint.address = address;
  by_address_[ip.to_string()].push_back(std::move(saying));
}

std::vector<const DeclaredServices::Saying*> DeclaredServices::at(const std::string& address,
                                                                  const WorkloadIndex& index) const {
  std::vector<const Saying*> out;
  const auto found = by_address_.find(address);
  if (found == by_address_.end()) return out;
  const Unit owner = index.owner(address);
  for (const Saying& saying : found->second) {
    if (saying.machine != owner) out.push_back(&saying);
  }
  return out;
}

void DeclaredServices::add(const Unit& unit, const WorkloadIndex& index,
                           std::optional<CompiledWorkload>* workload) const {
  std::vector<const Saying*> named, selecting;
  uint64_t since = 0;
  if (unit.kind == Unit::Kind::kDeclared) {
    if (!index.workload_at(unit.name)) named = at(unit.name, index);
    if (named.empty()) return;
    // The first that names it says what it is.
    const Saying& first = *named.front();
    *workload = external_workload(
        str_cat("Kubernetes//ServiceEntry/", first.entry_ns, "/", first.endpoint.address), first.entry_ns,
        first.entry_name, IpAddress::parse(unit.name)->packed(), first.endpoint);
    (*workload)->workload.set_name(first.endpoint.address);
    (*workload)->declared_by_services = true;
    since = first.order;
  }
  if (!workload->has_value()) return;
  istio::workload::Workload& out = (*workload)->workload;
  if (unit.kind != Unit::Kind::kDeclared) {
    for (const std::string& packed : out.addresses()) {
      const std::string address = IpAddress::from_packed(packed)->to_string();
      if (!names(address) || index.workload_at(address) != unit) continue;
      for (const Saying* saying : at(address, index)) named.push_back(saying);
    }
  }
  if (const auto of_ns = by_namespace_.find(out.namespace_()); of_ns != by_namespace_.end()) {
    for (const Saying& saying : of_ns->second) {
      if (saying.order > since && selects(saying.selector, (*workload)->labels)) selecting.push_back(&saying);
    }
  }
  if (const auto machine = by_entry_.find(unit); machine != by_entry_.end()) {
    for (const Saying& saying : machine->second) selecting.push_back(&saying);
  }
  // Of several with one key the last selector counts, else the first that names the address.
  std::vector<std::pair<const Saying*, bool>> all;
  for (const Saying* saying : named) all.emplace_back(saying, false);
  for (const Saying* saying : selecting) all.emplace_back(saying, true);
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.first->order < b.first->order; });
  for (const auto& [saying, replaces] : all) {
    if (replaces)
      (*out.mutable_services())[saying->key] = saying->ports;
    else
      out.mutable_services()->insert({saying->key, saying->ports});
  }
}

DeclaredServices::Difference DeclaredServices::compare(const DeclaredServices& other) const {
  Difference out;
  const auto same = [](const Saying& a, const Saying& b) { return a.says_the_same(b); };
  for_each_difference(by_address_, other.by_address_, same,
                      [&out](const std::string& address) { out.addresses.insert(address); });
  for_each_difference(by_namespace_, other.by_namespace_, same,
                      [&out](const std::string& ns) { out.namespaces.insert(ns); });
  for_each_difference(by_entry_, other.by_entry_, same,
                      [&out](const Unit& unit) { out.entries.insert(unit); });
  return out;
}

}  // namespace weft::control_plane
