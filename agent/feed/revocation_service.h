// The revocation lists of this node's authority, or of weft-control's, for the proxy
// (proto/weft/proxy/v1/identity.proto), read anew for each question, and which certificates it is to have
// replaced. Threads of gRPC.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "control-plane/identity/certificate_service.h"
#include "proto/weft/proxy/v1/identity.grpc.pb.h"

namespace weft::agent {

class RevocationService final : public proxy::v1::Revocations::Service {
 public:
  // The lists of now, PEM; any thread.
  using Lists = std::function<absl::StatusOr<std::string>()>;

  // Both outlive it. `lists` empty: nothing is revoked.
  RevocationService(Lists lists, const control_plane::CertificateService& certificates)
      : lists_(std::move(lists)), certificates_(certificates) {}

  // Lists of crl.pem whose time for a successor (nextUpdate, RFC 5280 §5.1.2.5) was over at the last
  // question. What they revoke stays revoked. Any thread.
  uint32_t outdated() const { return outdated_.load(std::memory_order_relaxed); }

  // A list that cannot be read is an error, so that the proxy keeps what it has.
  grpc::Status Get(grpc::ServerContext*, const proxy::v1::RevocationsRequest*,
                   proxy::v1::RevocationsResponse* response) override;

 private:
  void note_outdated(const std::string& lists);

  const Lists lists_;
  const control_plane::CertificateService& certificates_;
  std::atomic<uint32_t> outdated_{0};
};

}  // namespace weft::agent
