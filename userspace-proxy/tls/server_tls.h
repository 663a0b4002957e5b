// A gateway's side of TLS on one worker, for the server names of one listener: TLS 1.2 and 1.3, HTTP/2 and
// HTTP/1.1 by ALPN (RFC 7301), certificates of clients where they are asked for. Worker thread only.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "userspace-proxy/tls/server_terms.h"
#include "userspace-proxy/tls/tls_profile.h"

namespace weft::proxy {

class ServerTls final : public TlsProfile {
 public:
  // Errors name no byte of a key: what OpenSSL says of a certificate, a key or a cipher, or `problem`.
  static absl::StatusOr<std::shared_ptr<ServerTls>> make(std::shared_ptr<const ServerTerms> terms);

  SslPtr new_connection(TlsRole role, TlsPeer& peer) override;
  TlsFault check(SSL*, TlsPeer&) override { return TlsFault::kNoFault; }
  const ServerTerms& terms() const { return *terms_; }
  // From now on tickets of that period (ticket_secret.h); comes by itself with connections.
  void renew_tickets(uint64_t period);

 private:
  explicit ServerTls(std::shared_ptr<const ServerTerms> terms) : terms_(std::move(terms)) {}
  absl::Status open();
  absl::Status add_certificates();
  absl::Status ask_for_certificates();
  absl::Status share_tickets(uint64_t period);
  static int verify(X509_STORE_CTX* store, void* self);

  const std::shared_ptr<const ServerTerms> terms_;
  SslContextPtr context_;
  uint64_t period_ = 0;  // of the tickets
};

// Those of one worker, by name.
class ServerTlsTable {
 public:
  // From now on these. What is as before keeps its context; connections keep what they began with.
  void replace(std::span<const std::shared_ptr<const ServerTerms>> servers);
  // Null: TLS cannot be ended with these terms; *problem says why.
  std::shared_ptr<ServerTls> find(const ServerTerms& terms, std::string* problem) const;

 private:
  struct Entry {
    std::shared_ptr<const ServerTerms> terms;
    absl::StatusOr<std::shared_ptr<ServerTls>> profile;
  };
  std::map<std::string, Entry> by_name_;
};

}  // namespace weft::proxy
