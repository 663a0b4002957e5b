// What a gateway's policies say of one client: their answers about its address are found once for each
// connection, so that a request costs what it changes. Of one connection, worker thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/spiffe_id.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {

class GatewayAccess {
 public:
  // What the client's ClientHello asks for, of the connection; empty: nothing, or it speaks no TLS.
  std::string_view server_name;

  // The client's certificate of the mesh, which its TLS asked for, names this workload.
  void proved(const SpiffeId& id) {
    identity_ = agent::PeerIdentity{id.trust_domain, id.ns, id.account};
    peer_ = id.to_string();
  }
  // "spiffe://…"; empty: it has proved no identity.
  std::string_view peer() const { return peer_; }

  // What is returned is good until the next call.
  const ConnectionPolicy& policy(const std::shared_ptr<const PolicySet>& set, const SocketAddress& client,
                                 const SocketAddress& dialled) {
    if (known_ == nullptr || known_->set != set) {
      const agent::PolicyConnection connection{
          .source = client.ip, .identity = identity_, .destination = dialled};
      known_ = std::make_unique<Known>(Known{set, ConnectionPolicy(set, connection)});
    }
    return known_->policy;
  }

 private:
  std::optional<agent::PeerIdentity> identity_;  // of a client outside the mesh: none
  std::string peer_;
  struct Known {
    std::shared_ptr<const PolicySet> set;
    ConnectionPolicy policy;
  };
  std::unique_ptr<Known> known_;  // null: nothing was asked
};

}  // namespace weft::proxy
