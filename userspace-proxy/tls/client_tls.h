// The proxy's side of TLS that it begins itself to servers (DestinationRule): TLS 1.2 and 1.3, the server's
// certificate against roots and names, and one of ours where that is asked for. What is resumed is nothing:
// each connection looks at the certificate anew. Worker thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "userspace-proxy/tls/client_terms.h"
#include "userspace-proxy/tls/tls_context.h"
#include "userspace-proxy/tls/tls_profile.h"

namespace weft::proxy {

class TlsContexts;

class ClientTls final : public TlsProfile {
 public:
  // `own`: the mesh identity of kMesh; null otherwise. Errors name no byte of a key.
  static absl::StatusOr<std::shared_ptr<ClientTls>> make(const ClientTerms& terms, const Credentials* own);

  // Offers TlsPeer::offers by ALPN (RFC 7301).
  SslPtr new_connection(TlsRole role, TlsPeer& peer) override;
  // A server that speaks no HTTP/2 must not get it; one that says nothing about HTTP/1.1 speaks it.
  TlsFault check(SSL* ssl, TlsPeer& peer) override;

 private:
  explicit ClientTls(const ClientTerms& terms) : sni_(terms.sni), names_(terms.names) {}
  absl::Status open(const ClientTerms& terms, const Credentials* own);
  absl::Status trust(const ClientTerms& terms);
  absl::Status use_pair(const TlsKeyPair& pair);
  absl::Status use_own(const Credentials& own);
  bool has_name(X509* certificate) const;
  static int verify(X509_STORE_CTX* store, void* self);

  const std::string sni_;
  const std::vector<std::string> names_;
  SslContextPtr context_;
};

// Those of one worker. A context is made at the first dial with its terms, and used for as long as they are
// the same.
class ClientTlsTable {
 public:
  explicit ClientTlsTable(const TlsContexts& mesh) : mesh_(mesh) {}
  // Null: TLS cannot be begun with these terms for this source; *problem says why, until the next call.
  std::shared_ptr<ClientTls> find(const std::shared_ptr<const ClientTerms>& terms,
                                  const std::string& workload_uid, std::string_view* problem);
  // A line for the log, at most one a second.
  void refused(uint64_t now_ns, const std::string& workload_uid, const std::string& server,
               const ClientTerms& terms, std::string_view why);

 private:
  struct Entry {
    std::shared_ptr<const ClientTerms> terms;
    std::shared_ptr<TlsContext> own;  // of kMesh
    absl::StatusOr<std::shared_ptr<ClientTls>> profile;
  };
  const Entry& entry(const std::shared_ptr<const ClientTerms>& terms, std::shared_ptr<TlsContext> own);

  const TlsContexts& mesh_;
  std::vector<Entry> entries_;
  uint64_t next_log_line_ = 0;
};

}  // namespace weft::proxy
