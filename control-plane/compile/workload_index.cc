// See workload_index.h.
#include "control-plane/compile/workload_index.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <type_traits>

#include "absl/hash/hash.h"
#include "base/address.h"
#include "base/strings.h"
#include "control-plane/resource/endpoint_address.h"

namespace weft::control_plane {
namespace {

uint64_t hash_of(const std::string& address) { return absl::HashOf(address); }

uint64_t hash_of_pod(const std::string& ns, const std::string& name) { return absl::HashOf('p', ns, name); }

uint64_t hash_of_pair(const std::string& ns, const std::string& key, const std::string& value) {
  return absl::HashOf(ns, key, value);
}

// By the pair of its selector that says most, as far as its length tells.
uint64_t hash_of(const Service& service) {
  const auto pair =
      std::max_element(service.selector.begin(), service.selector.end(),
                       [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  return hash_of_pair(service.meta.ns, pair->first, pair->second);
}

bool has_selector(const Service& service) { return !service.selector.empty() && !service.external_name; }

bool has_address(const Pod& pod) { return !pod.host_network && !is_terminal(pod); }

std::optional<std::string> address_of(const WorkloadEntry& entry) {
  const auto ip = IpAddress::parse(entry.endpoint.address);
  if (!ip || !is_endpoint_address(*ip)) return std::nullopt;
  return ip->to_string();
}

// What the slice is found by.
std::vector<uint64_t> hashes_of(const EndpointSlice& slice) {
  std::vector<uint64_t> out;
  for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
    if (!endpoint.pod_name.empty()) out.push_back(hash_of_pod(endpoint.pod_ns, endpoint.pod_name));
    for (const std::string& address : endpoint.addresses) out.push_back(hash_of(address));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

template <typename T>
bool in_order(const T* a, const T* b) {
  return std::tie(a->meta.ns, a->meta.name) < std::tie(b->meta.ns, b->meta.name);
}

template <typename Map, typename T>
void insert(Map& map, uint64_t hash, const T* object) {
  auto& row = map[hash];
  row.insert(std::lower_bound(row.begin(), row.end(), object, in_order<T>), object);
}

template <typename Map, typename T>
void erase(Map& map, uint64_t hash, const T* object) {
  const auto row = map.find(hash);
  if (row == map.end()) return;
  row->second.erase(std::remove(row->second.begin(), row->second.end(), object), row->second.end());
  if (row->second.empty()) map.erase(row);
}

}  // namespace

Unit unit_of(const Pod& pod) { return {Unit::Kind::kPod, pod.meta.ns, pod.meta.name}; }
Unit unit_of(const WorkloadEntry& entry) { return {Unit::Kind::kEntry, entry.meta.ns, entry.meta.name}; }
Unit unit_of_address(const std::string& address) { return {Unit::Kind::kAddress, "", address}; }

void WorkloadIndex::take(const ObjectChange& change) {
  const auto visit = [](const Object* object, auto use) {
    if (object == nullptr) return;
    std::visit(
        [&use](const auto& typed) {
          using T = std::decay_t<decltype(typed)>;
          if constexpr (std::is_same_v<T, Pod> || std::is_same_v<T, WorkloadEntry> ||
                        std::is_same_v<T, EndpointSlice> || std::is_same_v<T, Service>)
            use(typed);
        },
        *object);
  };
  visit(change.before, [this](const auto& object) { remove(object); });
  visit(change.now, [this](const auto& object) { put(object); });
}

void WorkloadIndex::put(const Pod& pod) {
  if (!has_address(pod)) return;
  for (const std::string& ip : pod.ips) insert(pods_, hash_of(ip), &pod);
}

void WorkloadIndex::remove(const Pod& pod) {
  if (!has_address(pod)) return;
  for (const std::string& ip : pod.ips) erase(pods_, hash_of(ip), &pod);
}

void WorkloadIndex::put(const WorkloadEntry& entry) {
  if (const auto address = address_of(entry)) insert(entries_, hash_of(*address), &entry);
}

void WorkloadIndex::remove(const WorkloadEntry& entry) {
  if (const auto address = address_of(entry)) erase(entries_, hash_of(*address), &entry);
}

void WorkloadIndex::put(const EndpointSlice& slice) {
  for (const uint64_t hash : hashes_of(slice)) insert(slices_, hash, &slice);
}

void WorkloadIndex::remove(const EndpointSlice& slice) {
  for (const uint64_t hash : hashes_of(slice)) erase(slices_, hash, &slice);
}

void WorkloadIndex::put(const Service& service) {
  if (has_selector(service)) insert(services_, hash_of(service), &service);
}

void WorkloadIndex::remove(const Service& service) {
  if (has_selector(service)) erase(services_, hash_of(service), &service);
}

std::vector<const Service*> WorkloadIndex::selecting(const std::string& ns,
                                                     const std::map<std::string, std::string>& labels) const {
  std::vector<const Service*> out;
  for (const auto& [key, value] : labels) {
    const auto row = services_.find(hash_of_pair(ns, key, value));
    if (row == services_.end()) continue;
    for (const Service* service : row->second) {
      if (service->meta.ns == ns && selects(service->selector, labels)) out.push_back(service);
    }
  }
  std::sort(out.begin(), out.end(), in_order<Service>);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<Unit> WorkloadIndex::holders(const std::string& address) const {
  std::vector<Unit> out;
  if (const auto row = pods_.find(hash_of(address)); row != pods_.end()) {
    for (const Pod* pod : row->second) {
      if (std::find(pod->ips.begin(), pod->ips.end(), address) != pod->ips.end())
        out.push_back(unit_of(*pod));
    }
  }
  if (const auto row = entries_.find(hash_of(address)); row != entries_.end()) {
    for (const WorkloadEntry* entry : row->second) {
      if (address_of(*entry) == address) out.push_back(unit_of(*entry));
    }
  }
  return out;
}

Unit WorkloadIndex::owner(const std::string& address) const {
  std::vector<Unit> all = holders(address);
  return all.empty() ? unit_of_address(address) : std::move(all.front());
}

std::optional<Unit> WorkloadIndex::target(const EndpointSlice::Endpoint& endpoint,
                                          const std::string& address) const {
  if (!endpoint.pod_name.empty()) {
    if (const Pod* pod = find<Pod>(objects_, endpoint.pod_ns, endpoint.pod_name))
      return is_terminal(*pod) ? std::nullopt : std::optional(unit_of(*pod));
  }
  return owner(address);
}

std::optional<Unit> WorkloadIndex::workload_at(const std::string& address) const {
  std::set<Unit> all;
  for (Unit& unit : holders(address)) {
    if (unit.kind == Unit::Kind::kPod) all.insert(std::move(unit));
  }
  if (Unit own = owner(address); own.kind == Unit::Kind::kEntry) all.insert(std::move(own));
  for (const EndpointSlice* slice : naming(unit_of_address(address))) {
    if (find<Service>(objects_, slice->meta.ns, slice->service) == nullptr) continue;
    for (const EndpointSlice::Endpoint& endpoint : slice->endpoints) {
      if (std::find(endpoint.addresses.begin(), endpoint.addresses.end(), address) ==
          endpoint.addresses.end())
        continue;
      const auto unit = target(endpoint, address);
      if (!unit) continue;
      const Pod* pod = unit->kind == Unit::Kind::kPod ? find<Pod>(objects_, unit->ns, unit->name) : nullptr;
      if (pod == nullptr || !pod->host_network) all.insert(*unit);
    }
  }
  if (all.empty()) return std::nullopt;
  // As uids go: "Kubernetes//Endpoint/…", "Kubernetes//Pod/ns/name", "Kubernetes//WorkloadEntry/…".
  const auto rank = [](const Unit& unit) {
    const int kind = unit.kind == Unit::Kind::kAddress ? 0 : unit.kind == Unit::Kind::kPod ? 1 : 2;
    return std::pair(kind, str_cat(unit.ns, "/", unit.name));
  };
  return *std::min_element(all.begin(), all.end(),
                           [&](const Unit& a, const Unit& b) { return rank(a) < rank(b); });
}

std::vector<const EndpointSlice*> WorkloadIndex::naming(const Unit& unit) const {
  std::vector<const EndpointSlice*> out;
  const auto add = [&](uint64_t hash) {
    const auto row = slices_.find(hash);
    if (row != slices_.end()) out.insert(out.end(), row->second.begin(), row->second.end());
  };
  switch (unit.kind) {
    case Unit::Kind::kPod:
      add(hash_of_pod(unit.ns, unit.name));
      if (const Pod* pod = find<Pod>(objects_, unit.ns, unit.name); pod != nullptr && has_address(*pod)) {
        for (const std::string& ip : pod->ips) add(hash_of(ip));
      }
      break;
    case Unit::Kind::kEntry:
      if (const WorkloadEntry* entry = find<WorkloadEntry>(objects_, unit.ns, unit.name)) {
        if (const auto address = address_of(*entry)) add(hash_of(*address));
      }
      break;
    case Unit::Kind::kAddress:
    case Unit::Kind::kDeclared:
      add(hash_of(unit.name));
      break;
  }
  std::sort(out.begin(), out.end(), in_order<EndpointSlice>);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace weft::control_plane
