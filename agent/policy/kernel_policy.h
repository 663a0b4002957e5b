// The policies of one workload as the kernel's bit masks (bpf/abi/policy.h): the same verdicts as evaluate()
// of l4_policy.h gives, for every address, port and workload of this node. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/dataplane/policy_table.h"
#include "agent/policy/l4_policy.h"

namespace weft::agent {

// Who decides what depends on requests.
enum class RequestRules : uint8_t {
  kStrict,   // nobody reads them: see can_hold() of l4_policy.h
  kLeftOpen  // the proxy reads them: denied here is only what no request could change
};

// A workload of this node whose connections the kernel can tell by their namespace.
struct LocalIdentity {
  uint32_t workload_id = 0;
  PeerIdentity identity;
};

// `own`: the addresses of the protected workload. ResourceExhausted when the policies make more than
// WEFT_POLICY_RULES conjunctions.
absl::StatusOr<PolicyTable> compile_policies(std::span<const istio::security::Authorization* const> policies,
                                             std::span<const IpAddress> own,
                                             std::span<const LocalIdentity> local,
                                             RequestRules requests = RequestRules::kStrict);

}  // namespace weft::agent
