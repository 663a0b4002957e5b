// One identity's side of TLS on one worker: the library's contexts for both roles, and the sessions that it
// may resume as a client. Replaced as a whole when the credentials are; connections keep the one that they
// began with. Nothing of it is shared by two identities, so no session can be. Worker thread only.
#pragma once

#include <openssl/ssl.h>

#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "userspace-proxy/tls/credentials.h"
#include "userspace-proxy/tls/tls_fault.h"
#include "userspace-proxy/tls/tls_profile.h"
#include "userspace-proxy/tls/verified_peers.h"

namespace weft::proxy {

class TlsContext final : public TlsProfile {
 public:
  static absl::StatusOr<std::shared_ptr<TlsContext>> make(CredentialsPtr credentials);
  ~TlsContext() override;

  const Credentials& credentials() const { return *credentials_; }
  // A connection whose verification asks `peer`; as a client it offers a session of that name, if there is
  // one.
  SslPtr new_connection(TlsRole role, TlsPeer& peer) override;
  // HTTP/2 by ALPN; of a resumed session, the certificate of its first handshake.
  TlsFault check(SSL* ssl, TlsPeer& peer) override;

  // Of a peer's chain that was verified before: all still valid now and on none of these lists? What a
  // resumed session must pass, and a live connection when there is a new list.
  static TlsFault recheck(std::span<const X509Ptr> chain, const Credentials& trust);

  size_t sessions() const { return order_.size(); }
  size_t verified_peers() const { return clients_.size() + servers_.size(); }

 private:
  explicit TlsContext(CredentialsPtr credentials) : credentials_(std::move(credentials)) {}

  absl::Status open();
  absl::Status configure(SSL_CTX* context);
  struct Kept {
    std::string name;
    SslSessionPtr session;
    std::vector<X509Ptr> chain;  // of the peer
  };

  static TlsFault check_resumed(SSL* ssl, TlsPeer& peer);
  VerifiedPeers& peers_of(SSL* ssl) { return SSL_is_server(ssl) == 1 ? clients_ : servers_; }
  Kept take_session(const std::string& name);
  void keep_session(const TlsPeer& peer, SSL_SESSION* session);
  static int keep_for_client(SSL* ssl, SSL_SESSION* session);
  static SSL_SESSION* find_for_client(SSL* ssl, const unsigned char* name, int length, int* copy);
  static int verify(X509_STORE_CTX* store, void*);
  static int on_new_session(SSL* ssl, SSL_SESSION* session);

  // Sessions of one context; RFC 8446 §C.4: each is used once.
  static constexpr size_t kMaxSessions = 1024;

  const CredentialsPtr credentials_;
  SslContextPtr client_, server_;
  VerifiedPeers clients_, servers_;  // that this side has admitted in the other role
  std::list<Kept> order_;            // the oldest first
  absl::flat_hash_map<std::string, std::list<Kept>::iterator> newest_;
};

}  // namespace weft::proxy
