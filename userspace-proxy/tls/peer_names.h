// Names in a peer's certificate, compared with those that the configuration wants. Pure.
#pragma once

#include <span>
#include <string>

#include "base/spiffe_id.h"
#include "base/x509.h"
#include "userspace-proxy/tls/tls_fault.h"

namespace weft::proxy {

// True when subjectAltName has one of `wanted` as a URI (byte by byte), a DNS name (in any case, no
// wildcards) or an address (its bytes). A name with a NUL in it is none.
bool has_name_of(X509* certificate, std::span<const std::string> wanted);

// The workload that the certificate names.
TlsFault read_identity(X509* certificate, SpiffeId* id);

}  // namespace weft::proxy
