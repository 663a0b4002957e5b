// ClientTls and its table, see client_tls.h.
#include "userspace-proxy/tls/client_tls.h"

#include <openssl/err.h>

#include <algorithm>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/tls/peer_names.h"
#include "userspace-proxy/tls/tls_contexts.h"

namespace weft::proxy {
namespace {

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;

// The authorities that the system trusts, read once: they are many.
X509_STORE* system_roots() {
  static const StorePtr store = [] {
    StorePtr made(X509_STORE_new());
    X509_STORE_set_default_paths(made.get());
    ERR_clear_error();
    return made;
  }();
  return store.get();
}

bool matches_host(X509* certificate, const std::string& name) {
  constexpr unsigned kFlags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
  return X509_check_host(certificate, name.data(), name.size(), kFlags, nullptr) == 1;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ClientTls>> ClientTls::make(const ClientTerms& terms, const Credentials* own) {
  if (!terms.problem.empty()) return absl::FailedPreconditionError(terms.problem);
  std::shared_ptr<ClientTls> out(new ClientTls(terms));
  const absl::Status opened = out->open(terms, own);
  ERR_clear_error();
  RETURN_IF_ERROR(opened);
  return out;
}

absl::Status ClientTls::open(const ClientTerms& terms, const Credentials* own) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (context_ == nullptr) return openssl_status("TLS context");
  SSL_CTX* const context = context_.get();
  set_common_options(context);
  SSL_CTX_set_security_level(context, 2);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_cipher_list(context, kTls12Ciphers) != 1) return openssl_status("cipher suites");
  if (terms.mode == ClientTlsMode::kMesh) {
    if (own == nullptr)
      return absl::FailedPreconditionError("the source has no certificate of the mesh; see `weft cert list`");
    RETURN_IF_ERROR(use_own(*own));
  } else {
    RETURN_IF_ERROR(trust(terms));
    if (terms.mode == ClientTlsMode::kMutual) RETURN_IF_ERROR(use_pair(terms.pair));
  }
  if (!terms.verifies) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return absl::OkStatus();
  }
  // Whoever answers would do.
  if (terms.names.empty()) return absl::FailedPreconditionError("no name to look for in the certificate");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, &ClientTls::verify, this);
  return absl::OkStatus();
}

absl::Status ClientTls::trust(const ClientTerms& terms) {
  if (terms.roots.empty() && terms.crls.empty()) {
    SSL_CTX_set1_cert_store(context_.get(), system_roots());
    return absl::OkStatus();
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(context_.get());
  std::vector<X509Ptr> roots;
  if (terms.roots.empty()) {
    X509_STORE_set_default_paths(store);
  } else {
    ASSIGN_OR_RETURN(roots, read_certificates(terms.roots));
  }
  ASSIGN_OR_RETURN(const std::vector<X509CrlPtr> crls, read_crls(terms.crls));
  add_trust(store, roots, crls);
  return absl::OkStatus();
}

absl::Status ClientTls::use_pair(const TlsKeyPair& pair) {
  ASSIGN_OR_RETURN(const std::vector<X509Ptr> chain, read_certificates(pair.chain));
  ASSIGN_OR_RETURN(const KeyPtr key, read_private_key(pair.key));
  return use_certificate(context_.get(), chain, key.get());
}

absl::Status ClientTls::use_own(const Credentials& own) {
  add_trust(SSL_CTX_get_cert_store(context_.get()), own.roots, own.crls);
  return use_certificate(context_.get(), own.chain, own.key.get());
}

SslPtr ClientTls::new_connection(TlsRole, TlsPeer& peer) {
  SslPtr ssl(SSL_new(context_.get()));
  if (ssl == nullptr) return ssl;
  set_peer(ssl.get(), peer);
  SSL_set_connect_state(ssl.get());
  // RFC 6066 §3: literal addresses are no server names.
  if (!sni_.empty() && !IpAddress::parse(sni_)) SSL_set_tlsext_host_name(ssl.get(), sni_.c_str());
  if (!peer.offers.empty()) {
    std::string wire(1, static_cast<char>(peer.offers.size()));
    wire += peer.offers;
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned>(wire.size()));
  }
  return ssl;
}

TlsFault ClientTls::check(SSL* ssl, TlsPeer& peer) {
  const unsigned char* protocol = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &length);
  return peer.offers == "h2" && length == 0 ? TlsFault::kNoProtocol : TlsFault::kNoFault;
}

bool ClientTls::has_name(X509* certificate) const {
  return has_name_of(certificate, names_) ||
         std::any_of(names_.begin(), names_.end(),
                     [&](const std::string& name) { return matches_host(certificate, name); });
}

int ClientTls::verify(X509_STORE_CTX* store, void* self) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsPeer& peer = peer_of(ssl);
  X509_STORE_CTX_set_verify_cb(store, allow_unknown_status);
  if (X509_verify_cert(store) != 1) {
    peer.fault = fault_of(X509_STORE_CTX_get_error(store));
    return 0;
  }
  if (static_cast<ClientTls*>(self)->has_name(X509_STORE_CTX_get0_cert(store))) return 1;
  peer.fault = TlsFault::kWrongName;
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

std::shared_ptr<ClientTls> ClientTlsTable::find(const std::shared_ptr<const ClientTerms>& terms,
                                                const std::string& workload_uid, std::string_view* problem) {
  const bool mesh = terms->mode == ClientTlsMode::kMesh;
  const Entry& found = entry(terms, mesh ? mesh_.find(workload_uid) : nullptr);
  if (found.profile.ok()) return *found.profile;
  const auto message = found.profile.status().message();
  *problem = {message.data(), message.size()};
  return nullptr;
}

const ClientTlsTable::Entry& ClientTlsTable::entry(const std::shared_ptr<const ClientTerms>& terms,
                                                   std::shared_ptr<TlsContext> own) {
  const auto known = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& each) { return each.terms == terms && each.own == own; });
  if (known != entries_.end()) return *known;
  // What nobody else knows any more was of another configuration, or of certificates that were renewed.
  std::erase_if(entries_, [&own](const Entry& each) {
    return each.terms.use_count() == 1 ||
           (each.own != nullptr && each.own != own && each.own.use_count() == 1);
  });
  const auto same = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& each) { return *each.terms == *terms && each.own == own; });
  Entry fresh{terms, std::move(own), absl::UnknownError("")};
  fresh.profile = same != entries_.end()
                      ? same->profile
                      : ClientTls::make(*terms, fresh.own == nullptr ? nullptr : &fresh.own->credentials());
  return entries_.emplace_back(std::move(fresh));
}

void ClientTlsTable::refused(uint64_t now_ns, const std::string& workload_uid, const std::string& server,
                             const ClientTerms& terms, std::string_view why) {
  if (now_ns < next_log_line_) return;
  next_log_line_ = now_ns + kNsPerSecond;
  log::warn("server_refused", {{"workload", workload_uid},
                               {"server", server},
                               {"sni", terms.sni},
                               {"fault", why},
                               {"next", "see tls of the DestinationRule, and docs/traffic.md"}});
}

}  // namespace weft::proxy
