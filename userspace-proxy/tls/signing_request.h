// What the proxy sends to an authority: a certificate signing request as Istio's authority expects it. The
// key stays here.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/spiffe_id.h"
#include "base/x509.h"

namespace weft::proxy {

// PEM: no subject, one critical subjectAltName, signed with SHA-256.
absl::StatusOr<std::string> make_signing_request(EVP_PKEY* key, const SpiffeId& id);

}  // namespace weft::proxy
