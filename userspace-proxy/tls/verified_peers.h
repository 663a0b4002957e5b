// Peers whose chains one context has verified, so that the next connection of the same peer need not do it
// again. By the bytes that the peer shows: the same bytes below the same roots have the same signatures,
// names and usages, and what time and revocation lists change is looked at for each connection. That the peer
// has the key is not of it: TLS proves that in each handshake. Belongs to one role of one context, whose
// roots and lists never change: with others there is another context, and nothing here. Worker thread only.
#pragma once

#include <openssl/x509.h>

#include <cstddef>
#include <list>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/spiffe_id.h"
#include "userspace-proxy/tls/credentials.h"

namespace weft::proxy {

class VerifiedPeers {
 public:
  struct Peer {
    SpiffeId id;
    std::vector<X509Ptr> chain;  // as verified, the leaf first
  };
  static constexpr size_t kMax = 256;

  // SHA-256 of all that the peer shows and that verification reads: what a stranger adds to it is not kept.
  // Empty: it cannot be written out.
  static std::string shown(X509_STORE_CTX* store);

  // Null: unknown, or no longer good by the time of day or the lists of `trust`; then it is forgotten, and
  // the library says what is wrong.
  const Peer* find(const std::string& shown, const Credentials& trust);
  // Only what was verified and admitted, of a peer that has proved its key: who shows another's certificate
  // cannot drive out anybody. The oldest goes when there are kMax.
  void keep(std::string shown, const SpiffeId& id, const std::vector<X509Ptr>& chain);
  size_t size() const { return order_.size(); }

 private:
  struct Entry {
    std::string shown;
    Peer peer;
  };
  std::list<Entry> order_;  // the oldest first
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_shown_;
};

}  // namespace weft::proxy
