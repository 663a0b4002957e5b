// denied_by() of authorize.h.
#include "userspace-proxy/policy/authorize.h"

#include <algorithm>

#include "agent/policy/l4_policy.h"
#include "base/strings.h"

namespace weft::proxy {

namespace pb = istio::security;

std::string denied_by(std::span<const AuthorizationPtr> all, const std::string& ns,
                      std::span<const std::string> selected, const InboundPeer& peer,
                      const SocketAddress& destination) {
  std::vector<const pb::Authorization*> apply;
  for (const AuthorizationPtr& policy : all) {
    const bool in_scope =
        policy->scope() == pb::GLOBAL || (policy->scope() == pb::NAMESPACE && policy->namespace_() == ns);
    const auto named = [&] {
      const std::string name = str_cat(policy->namespace_(), "/", policy->name());
      return std::find(selected.begin(), selected.end(), name) != selected.end();
    };
    if (in_scope || named()) apply.push_back(policy.get());
  }
  const agent::PolicyConnection connection{
      .source = peer.address.ip,
      .identity = agent::PeerIdentity{peer.id.trust_domain, peer.id.ns, peer.id.account},
      .destination = destination};
  const agent::Verdict verdict = agent::evaluate(apply, connection);
  return verdict.allowed() ? std::string() : verdict.policy;
}

}  // namespace weft::proxy
