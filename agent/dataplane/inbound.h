// What happens to connections that arrive in enrolled namespaces: the slots' rows, their policies, and whose
// address is whose. Dataplane thread only, but for bypasses() and policies().
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "agent/dataplane/dataplane.h"
#include "bpf/abi/policy.h"
#include "bpf/user/map.h"
#include "bpf/user/programs.h"

namespace weft::agent {

// The bytes of an address as a map key.
struct AddressKey {
  uint8_t ip[16];
};

class Inbound {
 public:
  explicit Inbound(const bpf::Programs& programs);

  // Makes the slot the workload's, with the policy that it has.
  absl::Status enroll(uint32_t slot, const NamespacePlan& plan);
  // The addresses that the namespace really has, none of them link-local: each proof of its workload for
  // others on this node.
  absl::Status set_addresses(uint32_t slot, const std::vector<IpAddress>& addresses);
  // Nothing of the slot is left.
  void unenroll(uint32_t slot);
  absl::Status set_policy(uint32_t slot, const InboundPolicy& policy);
  // The node's own addresses, whose connections pass (probes).
  absl::Status set_node_addresses(const std::vector<IpAddress>& addresses);
  bool is_node(const IpAddress& ip) const { return node_addresses_.contains(ip); }

  // How the slot's rows differ from what they should be, one sentence each. Reads every row.
  std::vector<std::string> differences(uint32_t slot, const NamespacePlan& plan) const;
  // The same of its policy, one sentence or none.
  std::string policy_difference(uint32_t slot, const InboundPolicy& policy) const;
  std::vector<BypassRow> bypasses() const;
  void forget(uint32_t workload_id);
  size_t policies() const { return count_.load(std::memory_order_relaxed); }

 private:
  absl::Status write_rules(uint32_t number, const PolicyTable& table);
  void erase_rules(uint32_t number);
  std::string rules_difference(uint32_t number, const PolicyTable& table) const;
  void adopt();

  // Which rows belong to a policy number, so that they can be removed.
  struct Rows {
    std::vector<weft_policy_cidr_key> cidrs;
    std::vector<weft_policy_port_key> ports;
    std::vector<weft_policy_workload_key> workloads;
  };

  bpf::Map<uint32_t, weft_inbound> slots_;
  bpf::Map<uint32_t, weft_policy> policy_;
  bpf::Map<weft_policy_cidr_key, weft_rules> cidr_;
  bpf::Map<weft_policy_port_key, weft_rules> port_;
  bpf::Map<weft_policy_workload_key, weft_rules> workload_;
  bpf::Map<AddressKey, weft_local> local_;
  bpf::Map<AddressKey, uint32_t> node_;
  bpf::Map<weft_bypass_key, weft_bypass> bypass_;
  bpf::Map<weft_dial_key, uint64_t> proxy_dials_;
  std::map<uint32_t, Rows> rows_;                  // by policy number
  std::map<uint32_t, std::set<IpAddress>> owned_;  // by slot
  std::set<IpAddress> node_addresses_;
  uint32_t next_policy_ = 1;
  std::atomic<size_t> count_ = 0;
};

}  // namespace weft::agent
