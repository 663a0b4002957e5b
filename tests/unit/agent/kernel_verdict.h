// What the kernel makes of a policy's tables.
#pragma once

#include "agent/policy/kernel_policy.h"

namespace weft::agent {

// As bpf/lib/policy.h decides.
inline bool kernel_allows(const PolicyTable& table, const IpAddress& source, uint16_t port,
                          uint32_t workload) {
  weft_rules ip = table.fixed.other_ip, at = table.fixed.other_port, who = table.fixed.other_workload;
  uint32_t longest = 0;
  for (const PolicyTable::Cidr& cidr : table.cidrs) {
    bool inside = cidr.prefix_length >= longest;
    for (uint32_t bit = 0; bit < cidr.prefix_length; ++bit) {
      const int mask = 0x80 >> (bit % 8);
      if ((cidr.ip.bytes[bit / 8] & mask) != (source.bytes[bit / 8] & mask)) inside = false;
    }
    if (!inside) continue;
    longest = cidr.prefix_length;
    ip = cidr.rules;
  }
  for (const auto& [number, rules] : table.ports) {
    if (number == port) at = rules;
  }
  for (const auto& [id, rules] : table.workloads) {
    if (id == workload) who = rules;
  }
  uint64_t denied = 0, allowed = 0;
  for (int i = 0; i < WEFT_POLICY_WORDS; ++i) {
    const uint64_t match = ip.word[i] & at.word[i] & who.word[i];
    denied |= match & table.fixed.deny.word[i];
    allowed |= match & table.fixed.allow.word[i];
  }
  if (denied != 0) return false;
  return allowed != 0 || (table.fixed.flags & WEFT_POLICY_HAS_ALLOW) == 0;
}

}  // namespace weft::agent
