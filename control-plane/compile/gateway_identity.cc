// See gateway_identity.h.
#include "control-plane/compile/gateway_identity.h"

#include <set>

#include "base/spiffe_id.h"
#include "base/strings.h"
#include "control-plane/resource/gateway_api.h"

namespace weft::control_plane {

std::string gateway_identity(const Gateway& gateway) {
  const SpiffeId id{.trust_domain = kDefaultTrustDomain,
                    .ns = gateway.meta.ns,
                    .account = str_cat(gateway.meta.name, "-", kGatewayClass)};
  std::string out = id.to_string();
  if (!SpiffeId::parse(out)) out.clear();
  return out;
}

void set_identities(std::span<const Listening> listeners, mesh::v1::GatewayBinding* out) {
  std::set<std::string> identities;
  for (const Listening& one : listeners) identities.insert(gateway_identity(*one.gateway));
  identities.erase("");
  out->mutable_identities()->Assign(identities.begin(), identities.end());
}

}  // namespace weft::control_plane
