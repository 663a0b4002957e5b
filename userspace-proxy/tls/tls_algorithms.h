// The algorithms that TLS of the mesh is made of, and few others: a library context of OpenSSL whose one
// provider answers with what the library's default provider implements, less the kinds of keys that no
// certificate of a mesh has. Not for strength, of which the settings of contexts decide, but for time:
// OpenSSL 3.0 asks every decoder and every kind of key that a library context knows for each certificate that
// it reads.
#pragma once

#include <openssl/types.h>

namespace weft::proxy {

// Made at the first call and kept until the process ends. Null, which means the library's own context: it
// cannot be made, or this machine wants approved implementations (FIPS), which are none of the default
// provider's. Thread-safe.
OSSL_LIB_CTX* tls_algorithms();

}  // namespace weft::proxy
