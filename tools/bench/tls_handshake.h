// Handshakes of the mesh's own TLS, both ends on this thread and nothing between them but memory: what they
// take of a core, and the arithmetic in them that no implementation can do without. Used by weft-bench-tls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "userspace-proxy/tls/tls_context.h"

namespace weft::bench {

// Two workloads of one mesh whose root issues leaves, as the agent's authority does by itself.
class TlsPair {
 public:
  static constexpr char kClientUid[] = "Kubernetes//Pod/default/client";
  static constexpr char kServerUid[] = "Kubernetes//Pod/default/server";

  // Exits the program with a message when it cannot be made.
  TlsPair();

  // Both, by the uids of their workloads.
  proxy::CredentialSetPtr credentials() const { return set_; }
  const SpiffeId& server_id() const { return server_id_; }

  // CPU seconds of so many handshakes in a row, each with a new connection. Exits the program when one fails,
  // or is resumed where it should not be, or the other way round.
  double full(uint32_t count);
  double resumed(uint32_t count);
  // As full(), of peers that meet for the first time, and so verify each other's chains.
  double first_contact(uint32_t count);
  // As full(), by the library alone: its own verification, no check of identities, no ticket kept.
  double plain_library(uint32_t count) const;

 private:
  // Empty name: no session is offered or kept.
  void shake(const char* session_name, bool resumes);

  SpiffeId client_id_, server_id_;
  proxy::CredentialSetPtr set_;
  std::shared_ptr<proxy::TlsContext> client_, server_;
};

// CPU seconds of what so many full handshakes with certificates of both sides ask of a core, both ends
// together: for each end an X25519 key, its agreement, a P-256 signature, and two verifications of such (the
// peer's, and the authority's below the peer's certificate). Measured as `openssl speed` does: one operation
// after the other with everything set up before.
double handshake_arithmetic(uint32_t count);

// Of the calling thread.
double cpu_seconds();

}  // namespace weft::bench
