// ServerTls and its table, see server_tls.h.
#include "userspace-proxy/tls/server_tls.h"

#include <openssl/err.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/tls/peer_names.h"
#include "userspace-proxy/tls/ticket_secret.h"

namespace weft::proxy {
namespace {

constexpr unsigned char kHttpProtocols[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

// Who offers nothing that we speak gets HTTP/1.1, as without ALPN.
int select_http(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                unsigned int offered_length, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kHttpProtocols, sizeof(kHttpProtocols), offered,
                            offered_length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int version_of(TlsVersion version, int automatic) {
  switch (version) {
    case TlsVersion::kAuto:
      return automatic;
    case TlsVersion::k12:
      return TLS1_2_VERSION;
    case TlsVersion::k13:
      return TLS1_3_VERSION;
  }
  return automatic;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ServerTls>> ServerTls::make(std::shared_ptr<const ServerTerms> terms,
                                                           CredentialsPtr own) {
  if (!terms->problem.empty()) return absl::FailedPreconditionError(terms->problem);
  if (terms->identity && own == nullptr)
    return absl::FailedPreconditionError(str_cat("the certificate of ", terms->identity->to_string(),
                                                 " has not come; next: see `weft cert list`, and "
                                                 "docs/identity.md, Gateways"));
  std::shared_ptr<ServerTls> out(new ServerTls(std::move(terms), std::move(own)));
  RETURN_IF_ERROR(out->open());
  return out;
}

absl::Status ServerTls::open() {
  context_.reset(SSL_CTX_new(TLS_server_method()));
  if (context_ == nullptr) return openssl_status("TLS context");
  SSL_CTX* const context = context_.get();
  set_common_options(context);
  // As kSecurityBits of compile/gateway_tls.cc: what is weaker is a finding there.
  SSL_CTX_set_security_level(context, 2);
  SSL_CTX_set_min_proto_version(context, version_of(terms_->min, TLS1_2_VERSION));
  SSL_CTX_set_max_proto_version(context, version_of(terms_->max, TLS1_3_VERSION));
  std::string ciphers;
  for (const std::string& each : terms_->ciphers) str_append(&ciphers, ciphers.empty() ? "" : ":", each);
  if (SSL_CTX_set_cipher_list(context, ciphers.empty() ? kTls12Ciphers : ciphers.c_str()) != 1)
    return openssl_status("cipher suites");
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (!terms_->opaque) SSL_CTX_set_alpn_select_cb(context, select_http, nullptr);
  RETURN_IF_ERROR(own_ != nullptr ? add_own_certificate() : add_certificates());
  RETURN_IF_ERROR(terms_->mutual ? ask_for_certificates() : share_tickets(ticket_period()));
  ERR_clear_error();
  return absl::OkStatus();
}

absl::Status ServerTls::add_certificates() {
  if (terms_->certificates.empty()) return absl::FailedPreconditionError("no certificate");
  std::set<int> kinds;
  for (const TlsKeyPair& pair : terms_->certificates) {
    ASSIGN_OR_RETURN(const std::vector<X509Ptr> chain, read_certificates(pair.chain));
    ASSIGN_OR_RETURN(const KeyPtr key, read_private_key(pair.key));
    if (!kinds.insert(EVP_PKEY_get_base_id(key.get())).second)
      return absl::FailedPreconditionError("two certificates have keys of one kind; next: give one of them");
    RETURN_IF_ERROR(use_certificate(context_.get(), chain, key.get()));
  }
  return absl::OkStatus();
}

// As the authority gave it, and no more.
absl::Status ServerTls::add_own_certificate() {
  SSL_CTX_set_mode(context_.get(), SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(context_.get(), kMaxChainBytes);
  return use_certificate(context_.get(), own_->chain, own_->key.get());
}

// Nothing is resumed: each connection shows its certificate anew.
absl::Status ServerTls::ask_for_certificates() {
  if (own_ != nullptr) {
    add_trust(SSL_CTX_get_cert_store(context_.get()), own_->roots, own_->crls);
    for (const X509Ptr& root : own_->roots) SSL_CTX_add_client_CA(context_.get(), root.get());
  } else {
    ASSIGN_OR_RETURN(const std::vector<X509Ptr> roots, read_certificates(terms_->roots));
    ASSIGN_OR_RETURN(const std::vector<X509CrlPtr> crls, read_crls(terms_->crls));
    add_trust(SSL_CTX_get_cert_store(context_.get()), roots, crls);
    for (const X509Ptr& root : roots) SSL_CTX_add_client_CA(context_.get(), root.get());
  }
  const int demanded = terms_->optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | demanded, nullptr);
  SSL_CTX_set_cert_verify_callback(context_.get(), &ServerTls::verify, this);
  SSL_CTX_set_options(context_.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context_.get(), 0);
  return absl::OkStatus();
}

void ServerTls::renew_tickets(uint64_t period) {
  const absl::Status status = share_tickets(period);
  if (!status.ok()) log::warn("tickets_not_renewed", {{"server", terms_->name}, {"error", status.message()}});
}

// Of this listener only, and of these certificates: another one's tickets are not understood.
absl::Status ServerTls::share_tickets(uint64_t period) {
  period_ = period;
  ASSIGN_OR_RETURN(const TicketSecret secret, ticket_secret(period));
  std::string material = str_cat(terms_->name, "\n");
  for (const TlsKeyPair& pair : terms_->certificates) material += pair.chain;
  std::array<unsigned char, 128> keys{};
  for (unsigned char part = 0; part < 2; ++part) {
    const std::string input = str_cat(material, static_cast<int>(part));
    unsigned length = 0;
    if (HMAC(EVP_sha512(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(input.data()), input.size(), keys.data() + part * 64,
             &length) == nullptr)
      return openssl_status("session tickets");
  }
  unsigned char name[32];
  EVP_Digest(terms_->name.data(), terms_->name.size(), name, nullptr, EVP_sha256(), nullptr);
  if (SSL_CTX_set_session_id_context(context_.get(), name, sizeof(name)) != 1 ||
      SSL_CTX_set_tlsext_ticket_keys(context_.get(), keys.data(), 80) != 1)
    return openssl_status("session tickets");
  return absl::OkStatus();
}

SslPtr ServerTls::new_connection(TlsRole, TlsPeer& peer) {
  // Who brings an older ticket shakes hands in full. Should the keys not be had, the old ones serve on.
  if (!terms_->mutual && ticket_period() != period_) renew_tickets(ticket_period());
  SslPtr ssl(SSL_new(context_.get()));
  if (ssl == nullptr) return ssl;
  set_peer(ssl.get(), peer);
  SSL_set_accept_state(ssl.get());
  return ssl;
}

int ServerTls::verify(X509_STORE_CTX* store, void* self) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsPeer& peer = peer_of(ssl);
  X509_STORE_CTX_set_verify_cb(store, allow_unknown_status);
  if (X509_verify_cert(store) != 1) {
    peer.fault = fault_of(X509_STORE_CTX_get_error(store));
    return 0;
  }
  peer.fault = static_cast<ServerTls*>(self)->judge(store, peer);
  if (peer.fault == TlsFault::kNoFault) return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

// Of a client whose certificate leads to a root.
TlsFault ServerTls::judge(X509_STORE_CTX* store, TlsPeer& peer) const {
  X509* const certificate = X509_STORE_CTX_get0_cert(store);
  if (own_ != nullptr) {
    const TlsFault fault = read_identity(certificate, &peer.id);
    if (fault != TlsFault::kNoFault) return fault;
    if (peer.id.trust_domain != own_->id.trust_domain) return TlsFault::kWrongTrustDomain;
    peer.chain = verified_chain(store);
  }
  const bool named = terms_->client_names.empty() || has_name_of(certificate, terms_->client_names);
  return named ? TlsFault::kNoFault : TlsFault::kWrongName;
}

void ServerTlsTable::replace(std::span<const std::shared_ptr<const ServerTerms>> servers) {
  Entries next;
  for (const auto& terms : servers) add(terms, next);
  take(std::move(next));
}

void ServerTlsTable::replace(CredentialSetPtr credentials) {
  set_ = std::move(credentials);
  Entries next;
  for (const auto& [name, entry] : by_name_) add(entry.terms, next);
  take(std::move(next));
  cut_revoked();
}

void ServerTlsTable::add(const std::shared_ptr<const ServerTerms>& terms, Entries& next) const {
  CredentialsPtr own = own_of(*terms);
  const auto known = by_name_.find(terms->name);
  if (known != by_name_.end() && *known->second.terms == *terms && known->second.own == own) {
    next.emplace(terms->name, known->second);
    return;
  }
  next.emplace(terms->name, Entry{terms, own, ServerTls::make(terms, own)});
}

void ServerTlsTable::take(Entries next) {
  for (const auto& [name, entry] : by_name_) {
    const auto now = next.find(name);
    const bool stays = now != next.end() && now->second.profile.ok() && entry.profile.ok() &&
                       *now->second.profile == *entry.profile;
    if (!stays && entry.own != nullptr && entry.profile.ok()) former_.push_back(*entry.profile);
  }
  by_name_ = std::move(next);
  std::erase_if(former_, [](const auto& profile) { return profile.expired(); });
}

CredentialsPtr ServerTlsTable::own_of(const ServerTerms& terms) const {
  if (!terms.identity || set_ == nullptr) return nullptr;
  const auto found = set_->by_id.find(*terms.identity);
  return found == set_->by_id.end() ? nullptr : found->second;
}

// An identity that is no more has no lists of its own; those of its trust domain are the same for all.
const Credentials* ServerTlsTable::trust_for(const SpiffeId& id) const {
  auto found = set_->by_id.find(id);
  if (found == set_->by_id.end())
    found = std::find_if(set_->by_id.begin(), set_->by_id.end(),
                         [&id](const auto& row) { return row.first.trust_domain == id.trust_domain; });
  return found == set_->by_id.end() ? nullptr : found->second.get();
}

void ServerTlsTable::cut_revoked() {
  size_t cut = 0;
  const auto look_at = [&](ServerTls& profile) {
    const auto& id = profile.terms().identity;
    const Credentials* trust = id ? trust_for(*id) : nullptr;
    if (trust != nullptr) cut += profile.cut_revoked(*trust);
  };
  for (const auto& [name, entry] : by_name_) {
    if (entry.profile.ok()) look_at(**entry.profile);
  }
  for (const auto& weak : former_) {
    if (const std::shared_ptr<ServerTls> profile = weak.lock()) look_at(*profile);
  }
  if (cut > 0) log::warn("revoked_connections_closed", {{"count", cut}});
}

std::shared_ptr<ServerTls> ServerTlsTable::find(const ServerTerms& terms, std::string* problem) const {
  const auto found = by_name_.find(terms.name);
  if (found == by_name_.end()) {
    *problem = "it is not known here";
    return nullptr;
  }
  if (found->second.profile.ok()) return *found->second.profile;
  *problem = std::string(found->second.profile.status().message());
  return nullptr;
}

}  // namespace weft::proxy
