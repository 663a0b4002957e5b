// A policy is written under a number of its own, then the slot's row is replaced, then the former rows go:
// mesh_lookup sees one policy or the other. See inbound.h.
#include "agent/dataplane/inbound.h"

#include <cstring>

#include "agent/dataplane/addresses.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

AddressKey to_key(const IpAddress& ip) {
  AddressKey key{};
  std::memcpy(key.ip, ip.bytes.data(), sizeof(key.ip));
  return key;
}

IpAddress from_key(const AddressKey& key) {
  IpAddress ip;
  std::memcpy(ip.bytes.data(), key.ip, sizeof(key.ip));
  return ip;
}

// Where connections of the namespace come from, when there is no choice: zeros when there are several.
void only_address(const std::set<IpAddress>& addresses, bool v4, uint8_t (&out)[16]) {
  size_t found = 0;
  std::memset(out, 0, sizeof(out));
  for (const IpAddress& ip : addresses) {
    if (ip.is_v4() == v4 && ++found == 1) std::memcpy(out, ip.bytes.data(), sizeof(out));
  }
  if (found > 1) std::memset(out, 0, sizeof(out));
}

}  // namespace

Inbound::Inbound(const bpf::Programs& programs)
    : slots_(programs.map_fd("m_inbound"), "m_inbound"),
      policy_(programs.map_fd("m_policy"), "m_policy"),
      cidr_(programs.map_fd("m_policy_cidr"), "m_policy_cidr"),
      port_(programs.map_fd("m_policy_port"), "m_policy_port"),
      workload_(programs.map_fd("m_policy_workload"), "m_policy_workload"),
      local_(programs.map_fd("m_local"), "m_local"),
      node_(programs.map_fd("m_node"), "m_node"),
      bypass_(programs.map_fd("m_bypass"), "m_bypass"),
      proxy_dials_(programs.map_fd("m_proxy_dial"), "m_proxy_dial") {
  adopt();
}

// Policies of a former agent stay in force until they are replaced; then their rows must be found.
void Inbound::adopt() {
  for (const uint32_t number : policy_.keys(WEFT_MAX_POLICIES)) {
    rows_[number];
    next_policy_ = std::max(next_policy_, number + 1);
  }
  for (const weft_policy_cidr_key& key : cidr_.keys(WEFT_MAX_POLICY_ROWS)) {
    weft_policy_cidr_key exact = key;
    rows_[key.policy].cidrs.push_back(exact);
  }
  for (const weft_policy_port_key& key : port_.keys(WEFT_MAX_POLICY_ROWS))
    rows_[key.policy].ports.push_back(key);
  for (const weft_policy_workload_key& key : workload_.keys(WEFT_MAX_POLICY_ROWS))
    rows_[key.policy].workloads.push_back(key);
  for (const AddressKey& key : node_.keys(WEFT_MAX_LOCAL_ADDRESSES)) node_addresses_.insert(from_key(key));
  count_ = rows_.size();
}

absl::Status Inbound::enroll(uint32_t slot, const NamespacePlan& plan) {
  // The bridge that a kubelet's probes come from is made with the node's first pod.
  ASSIGN_OR_RETURN(const std::vector<IpAddress> of_node, local_addresses());
  RETURN_IF_ERROR(set_node_addresses(of_node));
  weft_inbound row = slots_.find(slot).value_or(weft_inbound{});
  // A slot of somebody else's leaves nothing behind, but an agent that comes back finds its policy in force.
  if (row.workload_id != plan.workload_id) row = {};
  row.workload_id = plan.workload_id;
  row.flags |= WEFT_INBOUND_ON;
  row.flags &=
      ~(WEFT_INBOUND_FAIL_CLOSED | WEFT_INBOUND_HBONE_ON | WEFT_INBOUND_NATIVE | WEFT_INBOUND_SHORTCUT);
  if (plan.shortcut) row.flags |= WEFT_INBOUND_SHORTCUT;
  if (plan.tunnels) row.flags |= WEFT_INBOUND_HBONE_ON;
  if (plan.native_tunnel) row.flags |= WEFT_INBOUND_NATIVE;
  if (plan.fail_closed) row.flags |= WEFT_INBOUND_FAIL_CLOSED;
  return slots_.put(slot, row);
}

absl::Status Inbound::set_addresses(uint32_t slot, const std::vector<IpAddress>& addresses) {
  const std::optional<weft_inbound> row = slots_.find(slot);
  if (!row) return absl::NotFoundError("no such slot");
  std::set<IpAddress>& owned = owned_[slot];
  const std::set<IpAddress> wanted(addresses.begin(), addresses.end());
  for (const IpAddress& ip : owned) {
    if (!wanted.contains(ip)) local_.erase(to_key(ip));
  }
  owned.clear();
  for (const IpAddress& ip : wanted) {
    RETURN_IF_ERROR(local_.put(to_key(ip), {.workload_id = row->workload_id, .slot = slot}));
    owned.insert(ip);
  }
  weft_inbound with_sources = *row;
  only_address(wanted, true, with_sources.source_v4);
  only_address(wanted, false, with_sources.source_v6);
  if (std::memcmp(&with_sources, &*row, sizeof(with_sources)) == 0) return absl::OkStatus();
  return slots_.put(slot, with_sources);
}

void Inbound::unenroll(uint32_t slot) {
  const std::optional<weft_inbound> row = slots_.find(slot);
  slots_.put(slot, {}).IgnoreError();  // an array refuses no index below its size
  for (const IpAddress& ip : owned_[slot]) local_.erase(to_key(ip));
  owned_.erase(slot);
  for (const weft_dial_key& key : proxy_dials_.keys(WEFT_MAX_PROXY_DIALS)) {
    if (key.slot == slot) proxy_dials_.erase(key);
  }
  if (!row) return;
  if (row->policy != 0) erase_rules(row->policy);
  // Addresses that a former agent wrote.
  for (const AddressKey& key : local_.keys(WEFT_MAX_LOCAL_ADDRESSES)) {
    const std::optional<weft_local> local = local_.find(key);
    if (local && local->workload_id == row->workload_id) local_.erase(key);
  }
}

absl::Status Inbound::write_rules(uint32_t number, const PolicyTable& table) {
  Rows& rows = rows_[number];
  count_ = rows_.size();
  for (const PolicyTable::Cidr& cidr : table.cidrs) {
    weft_policy_cidr_key key{.prefixlen = 32 + cidr.prefix_length, .policy = number, .ip = {}};
    std::memcpy(key.ip, cidr.ip.bytes.data(), sizeof(key.ip));
    RETURN_IF_ERROR(cidr_.put(key, cidr.rules));
    rows.cidrs.push_back(key);
  }
  for (const auto& [port, rules] : table.ports) {
    const weft_policy_port_key key{.policy = number, .port = port};
    RETURN_IF_ERROR(port_.put(key, rules));
    rows.ports.push_back(key);
  }
  for (const auto& [workload, rules] : table.workloads) {
    const weft_policy_workload_key key{.policy = number, .workload_id = workload};
    RETURN_IF_ERROR(workload_.put(key, rules));
    rows.workloads.push_back(key);
  }
  return policy_.put(number, table.fixed);
}

// The policy's own row first: without it a verdict denies, whatever rows are left.
void Inbound::erase_rules(uint32_t number) {
  policy_.erase(number);
  const auto rows = rows_.find(number);
  if (rows == rows_.end()) return;
  for (const auto& key : rows->second.cidrs) cidr_.erase(key);
  for (const auto& key : rows->second.ports) port_.erase(key);
  for (const auto& key : rows->second.workloads) workload_.erase(key);
  rows_.erase(rows);
  count_ = rows_.size();
}

absl::Status Inbound::set_policy(uint32_t slot, const InboundPolicy& policy) {
  const std::optional<weft_inbound> before = slots_.find(slot);
  if (!before) return absl::NotFoundError("no such slot");
  weft_inbound row = *before;
  row.flags &= ~(WEFT_INBOUND_DENY_ALL | WEFT_INBOUND_INSPECT);
  if (policy.deny_all) row.flags |= WEFT_INBOUND_DENY_ALL;
  if (policy.inspect) row.flags |= WEFT_INBOUND_INSPECT;
  row.policy = 0;
  absl::Status written;
  if (policy.rules) {
    row.policy = next_policy_++;
    written = write_rules(row.policy, *policy.rules);
    if (!written.ok()) {
      erase_rules(row.policy);
      row.policy = 0;
      row.flags |= WEFT_INBOUND_DENY_ALL;
    }
  }
  RETURN_IF_ERROR(slots_.put(slot, row));
  if (before->policy != 0) erase_rules(before->policy);
  return annotate("its policy does not fit the kernel, so everything is denied", written);
}

absl::Status Inbound::set_node_addresses(const std::vector<IpAddress>& addresses) {
  const std::set<IpAddress> wanted(addresses.begin(), addresses.end());
  if (wanted == node_addresses_) return absl::OkStatus();
  for (const IpAddress& ip : node_addresses_) {
    if (!wanted.contains(ip)) node_.erase(to_key(ip));
  }
  node_addresses_.clear();
  for (const IpAddress& ip : wanted) {
    RETURN_IF_ERROR(node_.put(to_key(ip), 1));
    node_addresses_.insert(ip);
  }
  return absl::OkStatus();
}

std::vector<BypassRow> Inbound::bypasses() const {
  std::vector<BypassRow> out;
  for (const weft_bypass_key& key : bypass_.keys(WEFT_MAX_NAMESPACES * 2)) {
    const std::optional<weft_bypass> row = bypass_.find(key);
    if (!row) continue;
    out.push_back({.workload_id = key.workload_id,
                   .inbound = key.direction == WEFT_BYPASS_INBOUND,
                   .bypassed = row->bypassed,
                   .refused = row->refused});
  }
  return out;
}

void Inbound::forget(uint32_t workload_id) {
  bypass_.erase({.workload_id = workload_id, .direction = WEFT_BYPASS_OUTBOUND});
  bypass_.erase({.workload_id = workload_id, .direction = WEFT_BYPASS_INBOUND});
}

}  // namespace weft::agent
