// See tls_handshake.h.
#include "tools/bench/tls_handshake.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <time.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "control-plane/identity/issue.h"

namespace weft::bench {
namespace {

using proxy::TlsContext;
using proxy::TlsPeer;
using proxy::TlsRole;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;

void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "weft-bench-tls: %s\n", what);
  std::exit(1);
}

// What `ssl` says and hears, in memory.
void connect_by_memory(SSL* one, SSL* other) {
  BIO* left = nullptr;
  BIO* right = nullptr;
  must(BIO_new_bio_pair(&left, 64 * 1024, &right, 64 * 1024) == 1, "no memory");
  SSL_set_bio(one, left, left);
  SSL_set_bio(other, right, right);
}

// A P-256 signature and its verification, an X25519 key and its agreement, each ready to be done again.
class Primitives {
 public:
  Primitives() {
    const KeyPtr key(EVP_EC_gen("P-256"));
    sign_.reset(EVP_PKEY_CTX_new(key.get(), nullptr));
    verify_.reset(EVP_PKEY_CTX_new(key.get(), nullptr));
    must(EVP_PKEY_sign_init(sign_.get()) == 1 && EVP_PKEY_verify_init(verify_.get()) == 1, "no P-256");
    sign();
    const KeyPtr ours(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
    const KeyPtr theirs(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
    derive_.reset(EVP_PKEY_CTX_new(ours.get(), nullptr));
    must(EVP_PKEY_derive_init(derive_.get()) == 1 &&
             EVP_PKEY_derive_set_peer_ex(derive_.get(), theirs.get(), 0) == 1,
         "no X25519");
    make_.reset(EVP_PKEY_CTX_new_id(EVP_PKEY_X25519, nullptr));
    must(EVP_PKEY_keygen_init(make_.get()) == 1, "no X25519");
  }

  void sign() {
    length_ = signature_.size();
    must(EVP_PKEY_sign(sign_.get(), signature_.data(), &length_, digest_.data(), digest_.size()) == 1,
         "a signature failed");
  }
  void verify() {
    must(EVP_PKEY_verify(verify_.get(), signature_.data(), length_, digest_.data(), digest_.size()) == 1,
         "a verification failed");
  }
  void agree() {
    size_t length = secret_.size();
    must(EVP_PKEY_derive(derive_.get(), secret_.data(), &length) == 1, "an agreement failed");
  }
  void make_key() {
    EVP_PKEY* made = nullptr;
    must(EVP_PKEY_keygen(make_.get(), &made) == 1, "a key failed");
    EVP_PKEY_free(made);
  }

 private:
  KeyContextPtr sign_, verify_, derive_, make_;
  std::array<unsigned char, 32> digest_{1, 2, 3}, secret_{};
  std::array<unsigned char, 128> signature_{};
  size_t length_ = 0;
};

}  // namespace

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TlsPair::TlsPair()
    : client_id_(*SpiffeId::parse("spiffe://cluster.local/ns/default/sa/client")),
      server_id_(*SpiffeId::parse("spiffe://cluster.local/ns/default/sa/server")) {
  const absl::Time now = absl::Now();
  const control_plane::Validity validity{now - absl::Minutes(1), now + absl::Hours(24)};
  control_plane::Issuer issuer;
  issuer.key = *make_key();
  issuer.certificate = *control_plane::issue_root("cluster.local", issuer.key.get(), validity);
  auto set = std::make_shared<proxy::CredentialSet>();
  for (const auto& [id, uid] : {std::pair(&client_id_, kClientUid), std::pair(&server_id_, kServerUid)}) {
    KeyPtr key = *make_key();
    const X509Ptr leaf = *control_plane::issue_leaf(issuer, key.get(), *id, validity);
    const std::string chain[] = {to_pem(leaf.get()), to_pem(issuer.certificate.get())};
    auto made = proxy::make_credentials(*id, std::move(key), chain, "");
    must(made.ok(), "no credentials");
    set->by_id.emplace(*id, *made);
    set->by_workload.emplace(uid, *made);
  }
  client_ = *TlsContext::make(set->by_id.at(client_id_));
  server_ = *TlsContext::make(set->by_id.at(server_id_));
  set_ = std::move(set);
}

void TlsPair::shake(const char* session_name, bool resumes) {
  TlsPeer of_client, of_server;
  of_client.expected = {server_id_};
  of_client.session_name = session_name;
  const proxy::SslPtr client = client_->new_connection(TlsRole::kClient, of_client);
  const proxy::SslPtr server = server_->new_connection(TlsRole::kServer, of_server);
  connect_by_memory(client.get(), server.get());
  for (bool done = false; !done;) {
    const int ours = SSL_do_handshake(client.get());
    const int theirs = SSL_do_handshake(server.get());
    done = ours == 1 && theirs == 1;
    must(done || SSL_get_error(client.get(), ours) == SSL_ERROR_WANT_READ ||
             SSL_get_error(server.get(), theirs) == SSL_ERROR_WANT_READ,
         "a handshake failed");
  }
  must(client_->check(client.get(), of_client) == proxy::TlsFault::kNoFault &&
           server_->check(server.get(), of_server) == proxy::TlsFault::kNoFault,
       "a peer was refused");
  // The ticket comes behind the handshake.
  char nothing = 0;
  SSL_read(client.get(), &nothing, 1);
  must(SSL_session_reused(client.get()) == (resumes ? 1 : 0), "a session was not what it should be");
  // The library resumes nothing that did not end well.
  SSL_shutdown(client.get());
  SSL_shutdown(server.get());
}

double TlsPair::full(uint32_t count) {
  const double begin = cpu_seconds();
  for (uint32_t i = 0; i < count; ++i) shake("", false);
  return cpu_seconds() - begin;
}

double TlsPair::resumed(uint32_t count) {
  if (client_->sessions() == 0) shake("server", false);
  must(client_->sessions() == 1, "there is no ticket");
  const double begin = cpu_seconds();
  for (uint32_t i = 0; i < count; ++i) shake("server", true);
  return cpu_seconds() - begin;
}

double TlsPair::first_contact(uint32_t count) {
  double out = 0;
  for (uint32_t i = 0; i < count; ++i) {
    // What peers learn of each other is their contexts'.
    client_ = *TlsContext::make(set_->by_id.at(client_id_));
    server_ = *TlsContext::make(set_->by_id.at(server_id_));
    const double begin = cpu_seconds();
    shake("", false);
    out += cpu_seconds() - begin;
  }
  return out;
}

double TlsPair::plain_library(uint32_t count) const {
  const auto make = [](const SSL_METHOD* method, const proxy::Credentials& own) {
    proxy::SslContextPtr out(SSL_CTX_new(method));
    SSL_CTX_set_min_proto_version(out.get(), TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(out.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(out.get(), 1);
    SSL_CTX_set_verify(out.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    proxy::add_trust(SSL_CTX_get_cert_store(out.get()), own.roots, {});
    must(proxy::use_certificate(out.get(), own.chain, own.key.get()).ok(), "no certificate");
    return out;
  };
  const proxy::SslContextPtr ours = make(TLS_client_method(), client_->credentials());
  const proxy::SslContextPtr theirs = make(TLS_server_method(), server_->credentials());
  const double begin = cpu_seconds();
  for (uint32_t i = 0; i < count; ++i) {
    const proxy::SslPtr client(SSL_new(ours.get())), server(SSL_new(theirs.get()));
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    connect_by_memory(client.get(), server.get());
    for (int turn = 0, done = 0; done < 2; ++turn) {
      done = (SSL_do_handshake(client.get()) == 1 ? 1 : 0) + (SSL_do_handshake(server.get()) == 1 ? 1 : 0);
      must(turn < 10, "a handshake of the library failed");
    }
    char nothing = 0;
    SSL_read(client.get(), &nothing, 1);
    SSL_shutdown(client.get());
    SSL_shutdown(server.get());
  }
  return cpu_seconds() - begin;
}

double handshake_arithmetic(uint32_t count) {
  Primitives primitives;
  const double begin = cpu_seconds();
  for (uint32_t i = 0; i < 2 * count; ++i) {
    primitives.make_key();
    primitives.agree();
    primitives.sign();
    primitives.verify();
    primitives.verify();
  }
  return cpu_seconds() - begin;
}

}  // namespace weft::bench
