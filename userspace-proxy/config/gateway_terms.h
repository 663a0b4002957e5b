// What ends TLS at the gateways of a snapshot. Any thread.
#pragma once

#include <memory>
#include <vector>

#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

inline std::vector<std::shared_ptr<const ServerTerms>> terms_of(const Snapshot& snapshot) {
  std::vector<std::shared_ptr<const ServerTerms>> out;
  for (const GatewayServer& server : snapshot.gateway_servers) {
    if (server.tls != nullptr) out.push_back(server.tls);
  }
  return out;
}

}  // namespace weft::proxy
