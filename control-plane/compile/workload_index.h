// What can become a workload, by what it has in common with others: labels that a Service selects, an
// address, the EndpointSlices that name it. Follows the objects change by change, so that one workload can be
// compiled without a look at all others. One thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {

// What one workload, at most, is made of.
struct Unit {
  enum class Kind : uint8_t {
    kPod,
    kEntry,     // a WorkloadEntry
    kAddress,   // of EndpointSlices, and of neither of these
    kDeclared,  // of ServiceEntries, and of none of these
  };
  Kind kind = Kind::kPod;
  std::string ns;    // of an object
  std::string name;  // of an object; else the address, as IpAddress::to_string() has it

  auto operator<=>(const Unit&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Unit& unit) {
    return H::combine(std::move(h), unit.kind, unit.ns, unit.name);
  }
};

Unit unit_of(const Pod& pod);
Unit unit_of(const WorkloadEntry& entry);
Unit unit_of_address(const std::string& address);

class WorkloadIndex {
 public:
  // The objects outlive this. It knows none of them before take() has told it of each.
  explicit WorkloadIndex(const Objects& objects) : objects_(objects) {}

  // Of any kind; the objects are as they are after the change.
  void take(const ObjectChange& change);

  // The Services of the namespace that select the labels, in the order of their names.
  std::vector<const Service*> selecting(const std::string& ns,
                                        const std::map<std::string, std::string>& labels) const;
  // Pods and WorkloadEntries with the address, those first that have it rather than the others: in a mesh an
  // address is one workload. Pods in the node's network have none of their own.
  std::vector<Unit> holders(const std::string& address) const;
  // Whose the address is; kAddress: nobody's.
  Unit owner(const std::string& address) const;
  // Who an endpoint of a slice is, at one of its addresses; nullopt: a pod that has ended.
  std::optional<Unit> target(const EndpointSlice::Endpoint& endpoint, const std::string& address) const;
  // Of the workloads of pods, WorkloadEntries and EndpointSlices that have the address, also by a slice's
  // word, the first by their uid; nullopt: none has it.
  std::optional<Unit> workload_at(const std::string& address) const;
  // Slices that may name the pod, or the address, each once in the order of their keys; some may not.
  std::vector<const EndpointSlice*> naming(const Unit& unit) const;

 private:
  template <typename T>
  using ByHash = absl::flat_hash_map<uint64_t, absl::InlinedVector<const T*, 1>>;

  void put(const Pod& pod);
  void put(const WorkloadEntry& entry);
  void put(const EndpointSlice& slice);
  void put(const Service& service);
  void remove(const Pod& pod);
  void remove(const WorkloadEntry& entry);
  void remove(const EndpointSlice& slice);
  void remove(const Service& service);

  const Objects& objects_;
  // By hashes of what the objects have: of two with the same hash both are looked at.
  ByHash<Pod> pods_;               // address
  ByHash<WorkloadEntry> entries_;  // address
  ByHash<EndpointSlice> slices_;   // address, and namespace and name of a pod
  ByHash<Service> services_;       // namespace and one pair of the selector
};

// What the unit is by itself: with the Services and EndpointSlices that it is in, without ServiceEntries,
// policies and extensions. nullopt: nothing, or (kDeclared) nothing without ServiceEntries.
std::optional<CompiledWorkload> compile_workload(const Unit& unit, const Objects& objects,
                                                 const WorkloadIndex& index);

}  // namespace weft::control_plane
