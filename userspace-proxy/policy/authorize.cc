// denied_by() of authorize.h.
#include "userspace-proxy/policy/authorize.h"

#include <vector>

#include "agent/policy/l4_policy.h"

namespace weft::proxy {

namespace pb = istio::security;

std::string denied_by(std::span<const AuthorizationPtr> policies, const InboundPeer& peer,
                      const SocketAddress& destination) {
  std::vector<const pb::Authorization*> apply;
  apply.reserve(policies.size());
  for (const AuthorizationPtr& policy : policies) {
    if (policy == nullptr) return kUnknownPolicy;
    apply.push_back(policy.get());
  }
  const agent::PolicyConnection connection{
      .source = peer.address.ip,
      .identity = agent::PeerIdentity{peer.id.trust_domain, peer.id.ns, peer.id.account},
      .destination = destination};
  const agent::Verdict verdict = agent::evaluate(apply, connection);
  return verdict.allowed() ? std::string() : verdict.policy;
}

}  // namespace weft::proxy
