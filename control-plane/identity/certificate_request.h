// A certificate signing request, read strictly: what the authority does not understand it does not sign.
// Called by CertificateAuthority and its fuzz target; pure, knows no caller and no policy.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "base/spiffe_id.h"
#include "base/x509.h"

namespace weft::control_plane {

struct CertificateRequest {
  KeyPtr key;  // the public half
  SpiffeId id;
};

// The request must be one PEM block with nothing before and behind it, at most 16 KiB; signed with SHA-256 by
// the P-256 key that it carries; without a subject; and ask for one extension, a subjectAltName with one
// SPIFFE id. Else kInvalidArgument says which of these is wrong.
absl::StatusOr<CertificateRequest> parse_request(std::string_view pem);

// The public key of a request that names nobody: who asks is proven otherwise. As parse_request(), but
// without any attribute.
absl::StatusOr<KeyPtr> parse_nameless_request(std::string_view pem);

}  // namespace weft::control_plane
