// One plain connection that comes in to a pod whose policies ask about requests: who opened it, as far as
// that is known, and what the policies leave to decide. Owned by its DownstreamConnection. Worker thread
// only.
#pragma once

#include <memory>
#include <optional>

#include "userspace-proxy/exchange/context.h"

namespace weft::proxy {

class PlainInbound {
 public:
  explicit PlainInbound(agent::PolicyConnection facts) : facts_(std::move(facts)) {}

  // Reads the pod's policies of this snapshot. False: they are those of before. A pod that is not known lets
  // nobody in.
  bool read(CaptureOrigin& origin, const Snapshot& snapshot) {
    std::shared_ptr<const PolicySet> now = policies_of(origin, snapshot);
    if (was_read_ && now == set_) return false;
    was_read_ = true;
    set_ = std::move(now);
    policy_ = set_ == nullptr ? ConnectionPolicy() : ConnectionPolicy(set_, facts_);
    return true;
  }

  const ConnectionPolicy& policy() const { return policy_; }
  // Nobody in the mesh saw it go out, so every request of it is recorded here.
  bool from_outside() const { return !facts_.identity; }

 private:
  const agent::PolicyConnection facts_;
  bool was_read_ = false;
  std::shared_ptr<const PolicySet> set_;
  ConnectionPolicy policy_;
};

// The identity of the captured pod, where the address is its: as in the kernel (m_local), a pod that is
// captured on this node is known by its address, and nobody else.
inline std::optional<agent::PeerIdentity> identity_at(CaptureOrigin& pod, const Snapshot& snapshot,
                                                      const IpAddress& address) {
  const uint32_t source = source_of(pod, snapshot);
  if (source == kNone || snapshot.sources[source].spec == nullptr) return std::nullopt;
  const WorkloadSpec& spec = *snapshot.sources[source].spec;
  if (spec.host_network || (spec.v4 != address && spec.v6 != address)) return std::nullopt;
  return agent::PeerIdentity{spec.identity.trust_domain, spec.identity.ns, spec.identity.account};
}

}  // namespace weft::proxy
