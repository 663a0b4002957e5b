// Which AuthorizationPolicies and RequestAuthentications hold for the clients of a gateway. To them a gateway
// is what its pod is in Istio: a workload of its namespace with the gateway's labels. Pure; the compiler asks
// for what it publishes, the checks between objects for who is meant.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "control-plane/compile/gateway_port.h"
#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

// By targetRefs, by a selector, or, without either, for the namespace or (root namespace) the mesh.
bool selects(const AuthorizationPolicy& policy, const Gateway& gateway);
bool selects(const RequestAuthentication& object, const Gateway& gateway);

// `out`: a GatewayBinding or a TlsServer.
template <typename Message>
void set_policies(const mesh::v1::GatewayPolicies& policies, Message* out) {
  if (policies.authorizations_size() + policies.request_authentications_size() > 0)
    *out->mutable_policies() = policies;
}

class GatewayPolicyIndex {
 public:
  // The objects outlive it.
  explicit GatewayPolicyIndex(const Objects& objects);

  // Of listeners that share requests or connections: what holds at any of their gateways. The oldest gateway
  // that a policy of CUSTOM is for asks the providers of all.
  mesh::v1::GatewayPolicies of(std::span<const Listening> listeners) const;
  // Of those listeners alone that have the host name of a list of routes; "*": all.
  mesh::v1::GatewayPolicies of(std::span<const Listening> listeners, const std::string& host) const;

 private:
  bool asks_provider(const Gateway& gateway) const;

  std::vector<const AuthorizationPolicy*> policies_;
  std::vector<const RequestAuthentication*> authentications_;
};

}  // namespace weft::control_plane
