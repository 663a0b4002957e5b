// What connections of one kind prove, ask of their peers and check: a TlsSocket has one. The mesh's own is
// tls_context.h, a gateway's server_tls.h. Worker thread only.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/spiffe_id.h"
#include "base/x509.h"
#include "userspace-proxy/net/intrusive_list.h"
#include "userspace-proxy/tls/tls_fault.h"

namespace weft::proxy {

using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

class TlsContext;
class TlsSocket;
struct Credentials;
struct TlsContextTag;

enum class TlsRole : uint8_t { kClient, kServer };

// What one connection expects of its peer, and what it found. Lives as long as the connection.
struct TlsPeer {
  // Of the mesh. One of these; empty: any workload of our own trust domain.
  std::vector<SpiffeId> expected;
  // Client: sessions are resumed with the same name only; the name must tell endpoint and expectation.
  std::string session_name;
  // Client, of servers outside the mesh: the one protocol that is offered by ALPN; empty: none. A literal.
  std::string_view offers;

  TlsContext* context = nullptr;
  TlsFault fault = TlsFault::kNoFault;
  SpiffeId id;  // of the mesh, once the handshake is done
  // As verified, the leaf first; of a resumed session, what was verified when it began.
  std::vector<X509Ptr> chain;
  std::string shown;  // of the mesh, where the chain was verified for this connection: VerifiedPeers::shown()
};

class TlsProfile {
 public:
  virtual ~TlsProfile() = default;
  TlsProfile(const TlsProfile&) = delete;
  TlsProfile& operator=(const TlsProfile&) = delete;

  // A connection whose verification asks `peer`, which outlives it. Null: no memory.
  virtual SslPtr new_connection(TlsRole role, TlsPeer& peer) = 0;
  // Once the library has shaken hands: what is still wrong.
  virtual TlsFault check(SSL* ssl, TlsPeer& peer) = 0;

  // Ends the connections whose peers' chains, as verified, the lists of `trust` revoke. Returns how many.
  size_t cut_revoked(const Credentials& trust);

 protected:
  TlsProfile() = default;

  friend class TlsSocket;
  IntrusiveList<TlsSocket, TlsContextTag> live_;
};

// Where a connection's TlsPeer is kept.
void set_peer(SSL* ssl, TlsPeer& peer);
TlsPeer& peer_of(const SSL* ssl);

// What the library says of a certificate, as a fault.
TlsFault fault_of(int verify_error);
// X509_STORE_CTX_verify_cb: a certificate without a list, or with one that was not renewed in time, is taken;
// what an old list revokes stays revoked.
int allow_unknown_status(int good, X509_STORE_CTX* store);
// The chain that was verified, the leaf first.
std::vector<X509Ptr> verified_chain(X509_STORE_CTX* store);
// Another reference to each.
std::vector<X509Ptr> share_all(std::span<const X509Ptr> certificates);
// Roots to trust, and lists to obey.
void add_trust(X509_STORE* store, const std::vector<X509Ptr>& roots, const std::vector<X509CrlPtr>& crls);

// Shows the chain, the leaf first, whose key this is.
absl::Status use_certificate(SSL_CTX* context, std::span<const X509Ptr> chain, EVP_PKEY* key);

// Of TLS 1.2: forward secrecy and AEAD (RFC 9325 §4.2).
inline constexpr char kTls12Ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

// Of a peer's chain in the mesh, in bytes, without the root. A session that is kept holds it, and thousands
// are kept; a chain of the mesh is a few certificates, each well below 2 KB. The library's own bound is
// 100 KB.
inline constexpr long kMaxChainBytes = 16 << 10;

// What every context of ours is like: no renegotiation, no early data, buffers released when idle.
void set_common_options(SSL_CTX* context);

}  // namespace weft::proxy
