// A TLS peer that is OpenSSL and nothing of ours, on a thread of its own: shakes hands over a blocking
// socket, then runs the test's script. For the tests of TlsSocket.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "tests/unit/identity/pki.h"

namespace weft::test {

class OpensslPeer {
 public:
  struct Setup {
    bool server = false;
    const Leaf* leaf = nullptr;   // null: no certificate
    X509* between = nullptr;      // who issued the leaf, when that is no root
    std::vector<X509*> trusts;    // empty: everybody
    const char* alpn = "\x02h2";  // empty: none
    int max_version = TLS1_3_VERSION;
    SSL_SESSION* session = nullptr;     // to resume
    const char* server_name = nullptr;  // that a client asks for; null: none
    bool asks = true;                   // for the other side's certificate
  };
  using Script = std::function<void(SSL*)>;

  OpensslPeer(UniqueFd fd, Setup setup, Script script = {})
      : fd_(std::move(fd)),
        setup_(std::move(setup)),
        script_(std::move(script)),
        thread_([this] { run(); }) {}
  ~OpensslPeer() { join(); }

  void join() {
    if (thread_.joinable()) thread_.join();
  }
  // After join().
  bool shook_hands() const { return shook_hands_; }
  bool resumed() const { return resumed_; }
  // The alert that it got, as OpenSSL words it; empty: none.
  const std::string& error() const { return error_; }

  static std::string read(SSL* ssl, size_t bytes) {
    std::string out(bytes, '\0');
    size_t at = 0;
    while (at < bytes) {
      const int count = SSL_read(ssl, out.data() + at, static_cast<int>(bytes - at));
      if (count <= 0) break;
      at += static_cast<size_t>(count);
    }
    out.resize(at);
    return out;
  }
  static bool write(SSL* ssl, std::string_view text) {
    return SSL_write(ssl, text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size());
  }

 private:
  void run() {
    // The other side may be gone: then a write fails, and nothing else ends.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    SSL_CTX* context = SSL_CTX_new(setup_.server ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_max_proto_version(context, setup_.max_version);
    if (setup_.leaf != nullptr) {
      SSL_CTX_use_certificate(context, setup_.leaf->certificate.get());
      SSL_CTX_use_PrivateKey(context, setup_.leaf->key.get());
      if (setup_.between != nullptr) SSL_CTX_add1_chain_cert(context, setup_.between);
    }
    const std::string alpn = setup_.alpn;
    if (!alpn.empty() && !setup_.server)
      SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn.data()),
                              static_cast<unsigned>(alpn.size()));
    if (!alpn.empty() && setup_.server)
      SSL_CTX_set_alpn_select_cb(context, select, const_cast<char*>(setup_.alpn));
    const int verify = setup_.asks ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE;
    if (setup_.trusts.empty()) {
      SSL_CTX_set_verify(context, verify, [](int, X509_STORE_CTX*) { return 1; });
    } else {
      SSL_CTX_set_verify(context, verify, nullptr);
      for (X509* root : setup_.trusts) X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root);
    }
    const unsigned char name[] = "peer";
    SSL_CTX_set_session_id_context(context, name, sizeof(name));
    SSL* ssl = SSL_new(context);
    if (setup_.session != nullptr) SSL_set_session(ssl, setup_.session);
    if (setup_.server_name != nullptr) SSL_set_tlsext_host_name(ssl, setup_.server_name);
    SSL_set_fd(ssl, fd_.get());
    shook_hands_ = (setup_.server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1;
    resumed_ = SSL_session_reused(ssl) == 1;
    if (shook_hands_ && script_) script_(ssl);
    const char* reason = ERR_reason_error_string(ERR_peek_error());
    if (reason != nullptr) error_ = reason;
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(context);
    fd_.reset();
  }

  static int select(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                    unsigned int offered_length, void* wanted) {
    const auto* list = static_cast<const unsigned char*>(wanted);
    return SSL_select_next_proto(const_cast<unsigned char**>(out), length, list, list[0] + 1u, offered,
                                 offered_length) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
  }

  UniqueFd fd_;
  const Setup setup_;
  const Script script_;
  bool shook_hands_ = false;
  bool resumed_ = false;
  std::string error_;
  std::thread thread_;
};

}  // namespace weft::test
