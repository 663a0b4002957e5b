// What the profiles of tls_profile.h share.
#include "userspace-proxy/tls/tls_profile.h"

#include "userspace-proxy/tls/tls_socket.h"

namespace weft::proxy {
namespace {

int peer_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

size_t TlsProfile::cut_revoked(const Credentials& trust) {
  size_t cut = 0;
  for (TlsSocket* each = live_.front(); each != nullptr; each = live_.after(*each))
    cut += each->cut_if_revoked(trust);
  return cut;
}

void set_peer(SSL* ssl, TlsPeer& peer) { SSL_set_ex_data(ssl, peer_index(), &peer); }

TlsPeer& peer_of(const SSL* ssl) { return *static_cast<TlsPeer*>(SSL_get_ex_data(ssl, peer_index())); }

TlsFault fault_of(int verify_error) {
  switch (verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return TlsFault::kExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return TlsFault::kNotYetValid;
    case X509_V_ERR_CERT_REVOKED:
      return TlsFault::kRevoked;
    case X509_V_ERR_INVALID_PURPOSE:
      return TlsFault::kWrongUsage;
    default:
      return TlsFault::kUntrusted;
  }
}

int allow_unknown_status(int good, X509_STORE_CTX* store) {
  switch (X509_STORE_CTX_get_error(store)) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
      X509_STORE_CTX_set_error(store, X509_V_OK);
      return 1;
    default:
      return good;
  }
}

std::vector<X509Ptr> verified_chain(X509_STORE_CTX* store) {
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(store);
  std::vector<X509Ptr> out;
  for (int i = 0; i < sk_X509_num(chain); ++i) out.push_back(share(sk_X509_value(chain, i)));
  return out;
}

std::vector<X509Ptr> share_all(std::span<const X509Ptr> certificates) {
  std::vector<X509Ptr> out;
  for (const X509Ptr& each : certificates) out.push_back(share(each.get()));
  return out;
}

void add_trust(X509_STORE* store, const std::vector<X509Ptr>& roots, const std::vector<X509CrlPtr>& crls) {
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store, root.get());
  for (const X509CrlPtr& crl : crls) X509_STORE_add_crl(store, crl.get());
  if (!crls.empty()) X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

absl::Status use_certificate(SSL_CTX* context, std::span<const X509Ptr> chain, EVP_PKEY* key) {
  if (chain.empty() || SSL_CTX_use_certificate(context, chain.front().get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key) != 1)
    return openssl_status("certificate and key");
  for (const X509Ptr& each : chain.subspan(1)) {
    if (SSL_CTX_add1_chain_cert(context, each.get()) != 1) return openssl_status("chain");
  }
  return absl::OkStatus();
}

void set_common_options(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_max_early_data(context, 0);
}

}  // namespace weft::proxy
