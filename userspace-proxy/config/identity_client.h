// Certificates of the workloads that this proxy serves: makes the keys, has them signed by the agent's
// certificate service (Istio's protocol), renews at about half of their lives, or when the agent wants it,
// and asks for revocation lists. A key is never written, sent or logged. Owned by Proxy; has a thread of its
// own. While the agent is away, what is held serves on.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "userspace-proxy/tls/credentials.h"

namespace weft::proxy {

class IdentityClient {
 public:
  struct Options {
    std::string target;  // "unix:/run/weft/xds.sock"
    // How often revocation lists are asked for.
    std::chrono::milliseconds revocation_period{2000};
    std::chrono::milliseconds call_deadline{5000};
  };
  // On the client's thread, whenever the set is another one.
  using Publish = std::function<void(CredentialSetPtr)>;

  static std::unique_ptr<IdentityClient> start(Options options, Publish publish);
  // Cancels a call that is under way and joins.
  virtual ~IdentityClient() = default;

  // Any thread: the workloads to have certificates for, by uid; replaces what was wanted before.
  virtual void want(std::map<std::string, SpiffeId> workloads) = 0;
};

}  // namespace weft::proxy
