// Authorization of one inbound connection by the identity that its peer proved: the policies that apply to a
// workload of this node, evaluated as the agent evaluates them for the kernel (one evaluator for both). Pure;
// any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/spiffe_id.h"

namespace istio::security {
class Authorization;
}

namespace weft::proxy {

using AuthorizationPtr = std::shared_ptr<const istio::security::Authorization>;

struct InboundPeer {
  SocketAddress address;
  SpiffeId id;
};

// The verdict of all policies that apply to a workload of this namespace which names `selected` ("ns/name").
// Empty: allowed; else the policy that denies.
std::string denied_by(std::span<const AuthorizationPtr> all, const std::string& ns,
                      std::span<const std::string> selected, const InboundPeer& peer,
                      const SocketAddress& destination);

}  // namespace weft::proxy
