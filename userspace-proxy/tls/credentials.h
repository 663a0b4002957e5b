// What one workload identity proves itself with, and whom it trusts: made on a control thread, immutable but
// for the sessions of its clients, shared by the workers. The key is in memory only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/spiffe_id.h"
#include "base/x509.h"
#include "userspace-proxy/tls/session_store.h"

namespace weft::proxy {

struct Credentials {
  SpiffeId id;
  std::vector<X509Ptr> chain;  // the leaf first, without the root
  KeyPtr key;
  std::vector<X509Ptr> roots;
  std::vector<X509CrlPtr> crls;
  // What clients resume: the same on every worker, another one for every identity and every renewal.
  std::shared_ptr<SessionStore> sessions = std::make_shared<SessionStore>();
};
using CredentialsPtr = std::shared_ptr<const Credentials>;

// All that a proxy has, replaced as a whole.
struct CredentialSet {
  absl::flat_hash_map<SpiffeId, CredentialsPtr> by_id;
  // By the workloads of this node that have the identity.
  absl::flat_hash_map<std::string, CredentialsPtr> by_workload;
};
using CredentialSetPtr = std::shared_ptr<const CredentialSet>;

// From what an authority answered, PEM: the leaf, intermediates, and last the roots. Refused when the leaf is
// of another key or another identity, or when there are no roots: somebody else's certificate would be worse
// than none.
absl::StatusOr<CredentialsPtr> make_credentials(const SpiffeId& id, KeyPtr key,
                                                std::span<const std::string> chain, std::string_view crls);
// The same identity, key and chain with other revocation lists.
absl::StatusOr<CredentialsPtr> with_crls(const Credentials& credentials, std::string_view crls);

}  // namespace weft::proxy
