// The TLS contexts of one worker: one for each identity of this node, found by workload. Made anew when
// credentials are replaced; connections keep theirs, new ones get the new one. Worker thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/tls/tls_context.h"

namespace weft::proxy {

class TlsContexts {
 public:
  // From now on these. Live connections whose peers are on a revocation list now are ended.
  void replace(CredentialSetPtr credentials);
  // Null: the workload has no certificate (yet).
  std::shared_ptr<TlsContext> find(const std::string& workload_uid) const;

 private:
  struct Entry {
    CredentialsPtr credentials;
    std::shared_ptr<TlsContext> context;
  };
  // Null: there is nothing of its trust domain.
  const Credentials* trust_for(const SpiffeId& id) const;

  CredentialSetPtr set_;
  absl::flat_hash_map<SpiffeId, Entry> by_id_;
  std::vector<std::weak_ptr<TlsContext>> former_;  // of connections that are still open
};

}  // namespace weft::proxy
