// Making certificates: a root for ourselves, a leaf for a request. Pure functions over keys, names and times;
// the authority decides what is signed and with which issuer.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/spiffe_id.h"
#include "base/x509.h"

namespace weft::control_plane {

// Who signs: a certificate of an authority, and its key.
struct Issuer {
  X509Ptr certificate;
  KeyPtr key;
};

struct Validity {
  absl::Time from;
  absl::Time to;
};

// Self-signed, may issue leaves and intermediates. `name` becomes the subject.
absl::StatusOr<X509Ptr> issue_root(std::string_view name, EVP_PKEY* key, const Validity& validity);

// For TLS of both sides: no subject, the id as a critical subjectAltName, a random serial number. Never valid
// longer than its issuer.
absl::StatusOr<X509Ptr> issue_leaf(const Issuer& issuer, EVP_PKEY* key, const SpiffeId& id,
                                   const Validity& validity);

// For a TLS server: no subject, these DNS names and IP addresses as a critical subjectAltName. At least one;
// kInvalidArgument: a name is neither.
absl::StatusOr<X509Ptr> issue_server(const Issuer& issuer, EVP_PKEY* key,
                                     const std::vector<std::string>& names, const Validity& validity);

// For the TLS client that an agent is: subject O=system:nodes, CN=system:node:<node>, as Kubernetes names
// nodes, and no other name.
absl::StatusOr<X509Ptr> issue_node(const Issuer& issuer, EVP_PKEY* key, const std::string& node,
                                   const Validity& validity);

}  // namespace weft::control_plane
