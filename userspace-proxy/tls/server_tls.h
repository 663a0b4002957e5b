// A gateway's side of TLS on one worker, for the server names of one listener: TLS 1.2 and 1.3, HTTP/2 and
// HTTP/1.1 by ALPN (RFC 7301), certificates of clients where they are asked for. Worker thread only.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "userspace-proxy/tls/credentials.h"
#include "userspace-proxy/tls/server_terms.h"
#include "userspace-proxy/tls/tls_profile.h"

namespace weft::proxy {

class ServerTls final : public TlsProfile {
 public:
  // Errors name no byte of a key: what OpenSSL says of a certificate, a key or a cipher, or `problem`. `own`:
  // of the identity of the terms; null without one, or while there is no certificate for it.
  static absl::StatusOr<std::shared_ptr<ServerTls>> make(std::shared_ptr<const ServerTerms> terms,
                                                         CredentialsPtr own = nullptr);

  SslPtr new_connection(TlsRole role, TlsPeer& peer) override;
  TlsFault check(SSL*, TlsPeer&) override { return TlsFault::kNoFault; }
  const ServerTerms& terms() const { return *terms_; }
  // From now on tickets of that period (ticket_secret.h); comes by itself with connections.
  void renew_tickets(uint64_t period);

 private:
  ServerTls(std::shared_ptr<const ServerTerms> terms, CredentialsPtr own)
      : terms_(std::move(terms)), own_(std::move(own)) {}
  absl::Status open();
  absl::Status add_certificates();
  absl::Status add_own_certificate();
  absl::Status ask_for_certificates();
  absl::Status share_tickets(uint64_t period);
  TlsFault judge(X509_STORE_CTX* store, TlsPeer& peer) const;
  static int verify(X509_STORE_CTX* store, void* self);

  const std::shared_ptr<const ServerTerms> terms_;
  const CredentialsPtr own_;  // of the mesh; null: the terms name no identity
  SslContextPtr context_;
  uint64_t period_ = 0;  // of the tickets
};

// Those of one worker, by name.
class ServerTlsTable {
 public:
  // From now on these. What is as before keeps its context; connections keep what they began with.
  void replace(std::span<const std::shared_ptr<const ServerTerms>> servers);
  // The same, of what listeners show that have an identity of the mesh. Live connections end whose clients
  // are on a revocation list now.
  void replace(CredentialSetPtr credentials);
  // Null: TLS cannot be ended with these terms; *problem says why.
  std::shared_ptr<ServerTls> find(const ServerTerms& terms, std::string* problem) const;

 private:
  struct Entry {
    std::shared_ptr<const ServerTerms> terms;
    CredentialsPtr own;
    absl::StatusOr<std::shared_ptr<ServerTls>> profile;
  };
  using Entries = std::map<std::string, Entry>;

  void add(const std::shared_ptr<const ServerTerms>& terms, Entries& next) const;
  void take(Entries next);
  CredentialsPtr own_of(const ServerTerms& terms) const;
  const Credentials* trust_for(const SpiffeId& id) const;
  void cut_revoked();

  CredentialSetPtr set_;  // null: none has come
  Entries by_name_;
  // With an identity of the mesh, of connections that are still open.
  std::vector<std::weak_ptr<ServerTls>> former_;
};

}  // namespace weft::proxy
