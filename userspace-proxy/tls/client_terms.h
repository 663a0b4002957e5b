// How the proxy begins TLS to the servers of a cluster (DestinationRule, trafficPolicy.tls): what the
// configuration says, with the keys, as plain values. Made on the configuration thread, immutable, shared by
// the workers. Keys are never printed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "userspace-proxy/tls/server_terms.h"

namespace weft::proxy {

enum class ClientTlsMode : uint8_t {
  kDisable,
  kSimple,  // only the server shows a certificate
  kMutual,  // we show that of a Secret
  kMesh,    // we show that of the source's own identity
};

struct ClientTerms {
  ClientTlsMode mode = ClientTlsMode::kSimple;
  TlsKeyPair pair;                 // of kMutual
  std::string roots;               // PEM; empty: the system's. Of kMesh: the mesh's
  std::string crls;                // PEM; empty: none
  std::string sni;                 // empty, or an address: none is sent
  std::vector<std::string> names;  // the server's certificate has one of these: URI, DNS name or address
  bool verifies = true;            // false: whoever answers is taken for the server
  std::string problem;             // not empty: no handshake succeeds, for this reason

  bool operator==(const ClientTerms&) const = default;
};

// Equal when what it points to is.
struct ClientTermsRef {
  std::shared_ptr<const ClientTerms> terms;
  explicit operator bool() const { return terms != nullptr; }
  bool operator==(const ClientTermsRef& other) const {
    if (terms == other.terms) return true;
    return terms != nullptr && other.terms != nullptr && *terms == *other.terms;
  }
};

}  // namespace weft::proxy
