// How a gateway ends TLS for some server names: what the configuration says, with the keys, as plain values.
// Made on the configuration thread, immutable, shared by the workers. Keys are never printed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/spiffe_id.h"

namespace weft::proxy {

enum class TlsVersion : uint8_t { kAuto, k12, k13 };

// PEM: a chain, the leaf first, and the leaf's key.
struct TlsKeyPair {
  std::string chain, key;
  bool operator==(const TlsKeyPair&) const = default;
};

struct ServerTerms {
  std::string name;                       // unique on its port; for logs
  std::vector<TlsKeyPair> certificates;   // one for each kind of key
  bool mutual = false;                    // clients need a certificate that leads to one of
  std::string roots;                      // PEM
  bool optional = false;                  // of mutual: who shows none is let in too
  std::string crls;                       // PEM; empty: none
  std::vector<std::string> client_names;  // of which it has one; empty: any
  TlsVersion min = TlsVersion::kAuto, max = TlsVersion::kAuto;
  std::vector<std::string> ciphers;  // of TLS 1.2, OpenSSL's names; empty: ours
  bool opaque = false;               // what is decrypted is no HTTP
  // Of mutual: what is shown is this identity's certificate of the mesh, and clients are workloads of its
  // trust domain. Certificates, roots and lists are the mesh's then (Credentials), and not here.
  std::optional<SpiffeId> identity;
  std::string problem;  // not empty: no handshake succeeds, for this reason

  bool operator==(const ServerTerms&) const = default;
  // A client that one of them has admitted is one that the other would admit: it is the same server, and asks
  // the same of clients.
  bool admits_as(const ServerTerms& other) const {
    return name == other.name && mutual == other.mutual && optional == other.optional &&
           identity == other.identity && roots == other.roots && crls == other.crls &&
           client_names == other.client_names;
  }
};

}  // namespace weft::proxy
