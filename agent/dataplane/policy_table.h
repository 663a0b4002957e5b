// The L4 policies of one workload as the kernel evaluates them: bit masks over at most WEFT_POLICY_RULES
// rules (bpf/abi/policy.h). Made by agent/policy, written by Inbound. Plain data.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/address.h"
#include "bpf/abi/policy.h"

namespace weft::agent {

struct PolicyTable {
  struct Cidr {
    IpAddress ip;
    uint32_t prefix_length = 0;  // of the 128-bit form: 104 for 10.0.0.0/8
    weft_rules rules{};
  };
  weft_policy fixed{};
  std::vector<Cidr> cidrs;  // each with the rules of the prefixes around it
  std::vector<std::pair<uint32_t, weft_rules>> ports;
  std::vector<std::pair<uint32_t, weft_rules>> workloads;
};

}  // namespace weft::agent
