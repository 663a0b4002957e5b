// Istio's certificate service: who calls, what runs on its node, and only then a signature. The agent serves
// it to the proxy of its node on a Unix socket, weft-control to agents. Threads of gRPC.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "control-plane/identity/certificate_authority.h"
#include "proto/istio/ca.grpc.pb.h"

namespace weft::control_plane {

class CertificateService final : public istio::v1::auth::IstioCertificateService::Service {
 public:
  // The chain for a request, as CertificateAuthority::sign() gives it; `pem`: what `request` was read from.
  using Sign = std::function<absl::StatusOr<std::vector<std::string>>(
      const std::string& pem, const CertificateRequest& request, absl::Duration lifetime, absl::Time now)>;
  // The node of the caller, or why nobody knows it.
  using NodeOf = std::function<absl::StatusOr<std::string>(const grpc::ServerContextBase&)>;
  struct Parts {
    Sign sign;
    // Whether a workload of that identity runs on the node. Any thread.
    std::function<bool(const std::string& node, const SpiffeId& id)> runs_on;
    NodeOf node_of;
    std::function<absl::Time()> now = absl::Now;
    // Whom the authority signs for nobody, however often it is asked: that is no refusal, which somebody
    // would look into. Null: there is no such identity. Any thread.
    std::function<bool(const SpiffeId& id)> never_signs = nullptr;
  };
  static Sign signed_by(const CertificateAuthority& authority);
  // All callers are of that node: only for a server that lets nobody connect but the node's proxy and root
  // (SO_PEERCRED). Who brings a token is refused. `node` empty: all are.
  static NodeOf all_of(std::string node);

  explicit CertificateService(Parts parts) : parts_(std::move(parts)) {}

  // The newest certificate of each identity that was asked for.
  struct Issued {
    std::string node;
    std::string serial;
    absl::Time from, to;
    uint64_t count = 0;
  };
  std::map<SpiffeId, Issued> issued() const;
  // Certificates that were given out, and requests that got none, since the start.
  uint64_t given() const { return given_; }
  uint64_t refused() const { return refused_; }
  // When the first of the newest certificates ends whose workloads still run where they were issued for; it
  // may be over. None: there are none.
  std::optional<absl::Time> first_end() const;
  // The bundle of roots of the last chain that was given out; empty before the first.
  std::string last_bundle() const;

  // Certificates of `id` (null: of everybody) that were issued up to now are to be replaced: renewals() says
  // so from here on. Returns whose they are; none: there is no such certificate.
  std::vector<SpiffeId> renew(const SpiffeId* id);
  // Of workloads that still run where they were issued for, whose certificates are to be replaced and were
  // not yet.
  std::vector<SpiffeId> overdue() const;
  // A certificate that begins at `begin` or before is to be replaced. Without an identity: whosoever it is.
  struct Renewal {
    std::string identity;
    absl::Time begin;
  };
  std::vector<Renewal> renewals() const;

  // What is refused is told to the log; the caller hears UNAUTHENTICATED and no reason, as from istiod. Who
  // asks for what is never signed hears UNIMPLEMENTED and why.
  grpc::Status CreateCertificate(grpc::ServerContext* context,
                                 const istio::v1::auth::IstioCertificateRequest* request,
                                 istio::v1::auth::IstioCertificateResponse* response) override;

 private:
  bool is_never_signed(const istio::v1::auth::IstioCertificateRequest& request) const;
  absl::StatusOr<std::vector<std::string>> create(const grpc::ServerContext& context,
                                                  const istio::v1::auth::IstioCertificateRequest& request);
  void remember(const std::string& node, const SpiffeId& id, const std::vector<std::string>& chain);

  const Parts parts_;
  mutable absl::Mutex mutex_;
  std::map<SpiffeId, Issued> issued_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> renewals_ ABSL_GUARDED_BY(mutex_);
  std::string last_bundle_ ABSL_GUARDED_BY(mutex_);
  std::atomic<uint64_t> given_ = 0, refused_ = 0;
};

}  // namespace weft::control_plane
