// What the kernel holds of inbound connections against what it should, for `weft diff`. See inbound.h.
#include <cstring>

#include "agent/dataplane/inbound.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

template <typename Row>
bool equal(const std::optional<Row>& found, const Row& wanted) {
  return found && std::memcmp(&*found, &wanted, sizeof(wanted)) == 0;
}

template <typename Key>
size_t rows_of(const std::vector<Key>& keys, uint32_t number) {
  size_t count = 0;
  for (const Key& key : keys) count += key.policy == number ? 1 : 0;
  return count;
}

}  // namespace

std::vector<std::string> Inbound::differences(uint32_t slot, const NamespacePlan& plan) const {
  std::vector<std::string> out;
  const std::optional<weft_inbound> row = slots_.find(slot);
  if (!row || !(row->flags & WEFT_INBOUND_ON)) return {"its row of m_inbound is off"};
  if (row->workload_id != plan.workload_id) out.emplace_back("its row of m_inbound names another workload");
  if (((row->flags & WEFT_INBOUND_FAIL_CLOSED) != 0) != plan.fail_closed)
    out.emplace_back("its row of m_inbound has another fail mode");
  if (((row->flags & WEFT_INBOUND_SHORTCUT) != 0) != plan.shortcut)
    out.emplace_back("its row of m_inbound says something else about the shortcut");
  const auto owned = owned_.find(slot);
  if (owned == owned_.end()) return out;
  for (const IpAddress& ip : owned->second) {
    AddressKey key{};
    std::memcpy(key.ip, ip.bytes.data(), sizeof(key.ip));
    if (!equal(local_.find(key), weft_local{.workload_id = plan.workload_id, .slot = slot}))
      out.push_back(str_cat("m_local does not say that ", ip.to_string(), " is its address"));
  }
  return out;
}

std::string Inbound::rules_difference(uint32_t number, const PolicyTable& table) const {
  if (!equal(policy_.find(number), table.fixed)) return "the kernel holds another policy";
  for (const PolicyTable::Cidr& cidr : table.cidrs) {
    weft_policy_cidr_key key{.prefixlen = 32 + cidr.prefix_length, .policy = number, .ip = {}};
    std::memcpy(key.ip, cidr.ip.bytes.data(), sizeof(key.ip));
    if (!equal(cidr_.find(key), cidr.rules))
      return str_cat("m_policy_cidr differs for ", cidr.ip.to_string());
  }
  for (const auto& [port, rules] : table.ports) {
    if (!equal(port_.find({.policy = number, .port = port}), rules))
      return str_cat("m_policy_port differs for port ", port);
  }
  for (const auto& [workload, rules] : table.workloads) {
    if (!equal(workload_.find({.policy = number, .workload_id = workload}), rules))
      return str_cat("m_policy_workload differs for workload id ", workload);
  }
  const size_t more = rows_of(cidr_.keys(WEFT_MAX_POLICY_ROWS), number) - table.cidrs.size() +
                      rows_of(port_.keys(WEFT_MAX_POLICY_ROWS), number) - table.ports.size() +
                      rows_of(workload_.keys(WEFT_MAX_POLICY_ROWS), number) - table.workloads.size();
  return more == 0 ? "" : "the kernel holds rules of its that nobody asked for";
}

std::string Inbound::policy_difference(uint32_t slot, const InboundPolicy& policy) const {
  const weft_inbound row = slots_.find(slot).value_or(weft_inbound{});
  if (policy.deny_all != ((row.flags & WEFT_INBOUND_DENY_ALL) != 0))
    return policy.deny_all ? "everything should be denied" : "everything is denied";
  if (policy.inspect != ((row.flags & WEFT_INBOUND_INSPECT) != 0))
    return policy.inspect ? "the proxy should inspect its connections" : "the proxy inspects its connections";
  if (!policy.rules) return row.policy == 0 ? "" : "a policy that nobody asked for is in force";
  return row.policy == 0 ? "its policy is not in force" : rules_difference(row.policy, *policy.rules);
}

}  // namespace weft::agent
