// Authorization of one inbound connection by the identity that its peer proved: the policies that apply to a
// workload of this node, evaluated as the agent evaluates them for the kernel (one evaluator for both). Pure;
// any thread.
#pragma once

#include <memory>
#include <span>
#include <string>

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

// In place of the name of a policy that the workload names and that is not known.
inline constexpr char kUnknownPolicy[] = "unknown policy";

// The verdict of the policies that apply to a workload; one that is null denies. Empty: allowed; else the
// policy that denies.
std::string denied_by(std::span<const AuthorizationPtr> policies, const InboundPeer& peer,
                      const SocketAddress& destination);

}  // namespace weft::proxy
