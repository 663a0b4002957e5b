// What is revoked, of the files that may say so. Reads files; keeps nothing.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "control-plane/identity/certificate_authority.h"

namespace weft::control_plane {

// PEM: the lists of `file`, where there is one ("": none is looked for), behind the authority's own. Errors
// name the file: it cannot be read, or has no list.
absl::StatusOr<std::string> all_revocations(const CertificateAuthority& authority, const std::string& file);

}  // namespace weft::control_plane
