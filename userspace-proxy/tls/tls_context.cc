// TlsContext of tls_context.h: TLS 1.3 only, HTTP/2 by ALPN, certificates from both sides.
#include "userspace-proxy/tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "userspace-proxy/tls/peer_names.h"
#include "userspace-proxy/tls/tls_algorithms.h"

namespace weft::proxy {
namespace {

constexpr unsigned char kHttp2[] = {2, 'h', '2'};

// Is it one of those that the connection is for?
TlsFault check_identity(const TlsPeer& peer) {
  if (peer.expected.empty()) {
    const bool ours = peer.id.trust_domain == peer.context->credentials().id.trust_domain;
    return ours ? TlsFault::kNoFault : TlsFault::kWrongTrustDomain;
  }
  if (std::find(peer.expected.begin(), peer.expected.end(), peer.id) != peer.expected.end())
    return TlsFault::kNoFault;
  const auto same_domain = [&peer](const SpiffeId& id) { return id.trust_domain == peer.id.trust_domain; };
  return std::any_of(peer.expected.begin(), peer.expected.end(), same_domain) ? TlsFault::kWrongIdentity
                                                                              : TlsFault::kWrongTrustDomain;
}

int select_http2(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                 unsigned int offered_length, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kHttp2, sizeof(kHttp2), offered, offered_length) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

bool revoked(X509* certificate, const Credentials& trust) {
  return std::any_of(trust.crls.begin(), trust.crls.end(), [certificate](const X509CrlPtr& crl) {
    X509_REVOKED* entry = nullptr;
    return X509_NAME_cmp(X509_CRL_get_issuer(crl.get()), X509_get_issuer_name(certificate)) == 0 &&
           X509_CRL_get0_by_cert(crl.get(), &entry, certificate) == 1;
  });
}

}  // namespace

TlsContext::~TlsContext() = default;

absl::StatusOr<std::shared_ptr<TlsContext>> TlsContext::make(CredentialsPtr credentials) {
  std::shared_ptr<TlsContext> out(new TlsContext(std::move(credentials)));
  RETURN_IF_ERROR(annotate(out->credentials_->id.to_string(), out->open()));
  return out;
}

absl::Status TlsContext::open() {
  client_.reset(SSL_CTX_new_ex(tls_algorithms(), nullptr, TLS_client_method()));
  server_.reset(SSL_CTX_new_ex(tls_algorithms(), nullptr, TLS_server_method()));
  if (client_ == nullptr || server_ == nullptr) return openssl_status("TLS context");
  RETURN_IF_ERROR(configure(client_.get()));
  RETURN_IF_ERROR(configure(server_.get()));
  SSL_CTX_set_alpn_protos(client_.get(), kHttp2, sizeof(kHttp2));
  SSL_CTX_set_session_cache_mode(client_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(client_.get(), &TlsContext::on_new_session);
  SSL_CTX_set_alpn_select_cb(server_.get(), select_http2, nullptr);
  // Tickets are names of sessions.
  SSL_CTX_set_options(server_.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(server_.get(), SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(server_.get(), &TlsContext::keep_for_client);
  SSL_CTX_sess_set_get_cb(server_.get(), &TlsContext::find_for_client);
  SSL_CTX_set_num_tickets(server_.get(), 1);
  // Of this identity only: by their store and, should two identities ever have one, by this.
  unsigned char name[32];
  const std::string id = credentials_->id.to_string();
  EVP_Digest(id.data(), id.size(), name, nullptr, EVP_sha256(), nullptr);
  if (SSL_CTX_set_session_id_context(server_.get(), name, sizeof(name)) != 1)
    return openssl_status("sessions");
  return absl::OkStatus();
}

absl::Status TlsContext::configure(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  set_common_options(context);
  // The chain is shown as the authority gave it. Otherwise the library looks for the rest of it, and verifies
  // that, again for each connection, and shows the root too, which the peer has or does not trust.
  SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(context, kMaxChainBytes);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, &TlsContext::verify, nullptr);
  if (SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1)
    return openssl_status("cipher suites");
  RETURN_IF_ERROR(use_certificate(context, credentials_->chain, credentials_->key.get()));
  add_trust(SSL_CTX_get_cert_store(context), credentials_->roots, credentials_->crls);
  ERR_clear_error();
  return absl::OkStatus();
}

SslPtr TlsContext::new_connection(TlsRole role, TlsPeer& peer) {
  peer.context = this;
  SslPtr ssl(SSL_new(role == TlsRole::kClient ? client_.get() : server_.get()));
  if (ssl == nullptr) return ssl;
  set_peer(ssl.get(), peer);
  if (role == TlsRole::kServer) {
    SSL_set_accept_state(ssl.get());
    return ssl;
  }
  SSL_set_connect_state(ssl.get());
  Kept kept = take_session(peer.session_name);
  if (kept.session != nullptr) SSL_set_session(ssl.get(), kept.session.get());
  peer.chain = std::move(kept.chain);
  return ssl;
}

TlsFault TlsContext::check(SSL* ssl, TlsPeer& peer) {
  const unsigned char* protocol = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &length);
  if (length != 2 || std::memcmp(protocol, "h2", 2) != 0) return TlsFault::kNoProtocol;
  if (SSL_session_reused(ssl) == 1) return check_resumed(ssl, peer);
  // Not in verify(), where the peer has not proved yet that it has the certificate's key.
  if (!peer.shown.empty()) peers_of(ssl).keep(std::move(peer.shown), peer.id, peer.chain);
  return TlsFault::kNoFault;
}

// The library verifies nothing when it resumes.
TlsFault TlsContext::check_resumed(SSL* ssl, TlsPeer& peer) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || peer.chain.empty()) return TlsFault::kNoCertificate;
  const Credentials& own = peer.context->credentials();
  const SanReading reading = read_san(certificate, &peer.id);
  const TlsFault fault = reading == SanReading::kOk ? recheck(peer.chain, own) : TlsFault::kNoIdentity;
  const bool expected = peer.expected.empty() ? peer.id.trust_domain == own.id.trust_domain
                                              : std::find(peer.expected.begin(), peer.expected.end(),
                                                          peer.id) != peer.expected.end();
  return fault == TlsFault::kNoFault && !expected ? TlsFault::kWrongIdentity : fault;
}

int TlsContext::verify(X509_STORE_CTX* store, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsPeer& peer = peer_of(ssl);
  TlsContext& self = *peer.context;
  std::string shown = VerifiedPeers::shown(store);
  const VerifiedPeers::Peer* before = self.peers_of(ssl).find(shown, self.credentials());
  if (before != nullptr) {
    peer.chain = share_all(before->chain);
    peer.id = before->id;
  } else {
    X509_STORE_CTX_set_verify_cb(store, allow_unknown_status);
    if (X509_verify_cert(store) != 1) {
      peer.fault = fault_of(X509_STORE_CTX_get_error(store));
      return 0;
    }
    peer.chain = verified_chain(store);
    peer.fault = read_identity(X509_STORE_CTX_get0_cert(store), &peer.id);
  }
  if (peer.fault == TlsFault::kNoFault) peer.fault = check_identity(peer);
  if (peer.fault == TlsFault::kNoFault) {
    if (before == nullptr) peer.shown = std::move(shown);
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

TlsFault TlsContext::recheck(std::span<const X509Ptr> chain, const Credentials& trust) {
  const absl::Time now = absl::Now();
  TlsFault fault = TlsFault::kNoFault;
  for (const X509Ptr& each : chain) {
    if (revoked(each.get(), trust)) return TlsFault::kRevoked;
    if (not_before(each.get()) > now) fault = TlsFault::kNotYetValid;
    if (not_after(each.get()) <= now) fault = TlsFault::kExpired;
  }
  return fault;
}

TlsContext::Kept TlsContext::take_session(const std::string& name) {
  const auto found = newest_.find(name);
  if (found == newest_.end()) return {};
  Kept kept = std::move(*found->second);
  order_.erase(found->second);
  newest_.erase(found);
  return kept;
}

void TlsContext::keep_session(const TlsPeer& peer, SSL_SESSION* session) {
  take_session(peer.session_name);
  if (order_.size() >= kMaxSessions) {
    newest_.erase(order_.front().name);
    order_.pop_front();
  }
  order_.push_back(Kept{peer.session_name, SslSessionPtr(session), share_all(peer.chain)});
  newest_[peer.session_name] = std::prev(order_.end());
}

// What a ticket names is kept here and not in the ticket; see session_store.h. A copy: the library marks the
// session of a connection that is cut as one that is not resumed, on that connection's thread.
int TlsContext::keep_for_client(SSL* ssl, SSL_SESSION* session) {
  const TlsPeer& peer = peer_of(ssl);
  SslSessionPtr copy(SSL_SESSION_dup(session));
  if (copy != nullptr) peer.context->credentials().sessions->keep(std::move(copy), share_all(peer.chain));
  return 0;
}

// The caller's from here on.
SSL_SESSION* TlsContext::find_for_client(SSL* ssl, const unsigned char* name, int length, int* copy) {
  *copy = 0;
  TlsPeer& peer = peer_of(ssl);
  SessionStore::Kept kept = peer.context->credentials().sessions->take(
      {reinterpret_cast<const char*>(name), static_cast<size_t>(length)});
  if (kept.session != nullptr) peer.chain = std::move(kept.chain);
  return kept.session.release();
}

// 1: the session is ours.
int TlsContext::on_new_session(SSL* ssl, SSL_SESSION* session) {
  const TlsPeer& peer = peer_of(ssl);
  if (peer.session_name.empty() || SSL_SESSION_is_resumable(session) != 1) return 0;
  peer.context->keep_session(peer, session);
  return 1;
}

}  // namespace weft::proxy
