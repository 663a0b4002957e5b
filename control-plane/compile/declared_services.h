// What ServiceEntries make of workloads: services of those that exist, and workloads of addresses that nobody
// else has. Made anew when ServiceEntries, WorkloadEntries, names of Services or looked-up addresses change,
// and compared with what was before, so that only those workloads are compiled that it is about. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/service_entries.h"
#include "control-plane/compile/workload_index.h"
#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

class DeclaredServices {
 public:
  // Without entries.
  DeclaredServices() = default;
  DeclaredServices(const Objects& objects, const ResolvedHosts& resolved);

  // Adds the services that the entries give to what the unit is (`workload`: see compile_workload()); makes
  // it where only they do.
  void add(const Unit& unit, const WorkloadIndex& index, std::optional<CompiledWorkload>* workload) const;

  // Whether the entries name the address, as IpAddress::to_string() has it.
  bool names(const std::string& address) const { return by_address_.contains(address); }

  // About what the two do not say the same: addresses, WorkloadEntries, and namespaces whose workloads are
  // selected.
  struct Difference {
    std::set<std::string> addresses, namespaces;
    std::set<Unit> entries;
  };
  Difference compare(const DeclaredServices& other) const;

 private:
  // One sentence of an entry: that somebody is an endpoint of a service.
  struct Saying {
    uint64_t order = 0;  // in which they are said
    std::string key;     // of the service
    istio::workload::PortList ports;
    std::string entry_ns, entry_name;             // of the ServiceEntry
    std::map<std::string, std::string> selector;  // of by_namespace_
    ServiceEntry::Endpoint endpoint;              // of by_address_
    // The WorkloadEntry that it is of: where that is a workload, the address is not asked for.
    std::optional<Unit> machine = std::nullopt;

    bool says_the_same(const Saying& other) const;
  };
  template <typename Key>
  using Sayings = std::map<Key, std::vector<Saying>>;

  void add_entry(const ServiceEntry& entry, const Objects& objects, const ResolvedHosts& resolved);
  void add_selector(const ServiceEntry& entry, const std::string& key, const Objects& objects,
                    const ResolvedHosts& resolved);
  void add_name(Saying saying, const ServiceEntry& entry, const ResolvedHosts& resolved);
  void add_address(Saying saying, const std::string& address);
  // Those at an address that count there.
  std::vector<const Saying*> at(const std::string& address, const WorkloadIndex& index) const;

  uint64_t next_ = 0;
  Sayings<std::string> by_namespace_;
  Sayings<std::string> by_address_;
  Sayings<Unit> by_entry_;
};

}  // namespace weft::control_plane
