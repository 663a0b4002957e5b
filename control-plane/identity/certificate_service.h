// Istio's certificate service over a CertificateAuthority: who calls, what runs on its node, and only then a
// signature. The agent serves it to the proxy of its node on a Unix socket. Threads of gRPC.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "control-plane/identity/certificate_authority.h"
#include "proto/istio/ca.grpc.pb.h"

namespace weft::control_plane {

class CertificateService final : public istio::v1::auth::IstioCertificateService::Service {
 public:
  struct Parts {
    const CertificateAuthority& authority;
    // Whether a workload of that identity runs on the node. Any thread.
    std::function<bool(const std::string& node, const SpiffeId& id)> runs_on;
    // The node of the callers: only for a server that lets nobody connect but this node's proxy and root
    // (SO_PEERCRED). Empty: all are refused.
    std::string local_node;
    std::function<absl::Time()> now = absl::Now;
  };
  explicit CertificateService(Parts parts) : parts_(std::move(parts)) {}

  // The newest certificate of each identity that was asked for.
  struct Issued {
    std::string node;
    std::string serial;
    absl::Time from, to;
    uint64_t count = 0;
  };
  std::map<SpiffeId, Issued> issued() const;

  // Certificates of `id` (null: of everybody) that were issued up to now are to be replaced: renewals() says
  // so from here on. Returns whose they are; none: there is no such certificate.
  std::vector<SpiffeId> renew(const SpiffeId* id);
  // Of workloads that run here, whose certificates are to be replaced and were not yet.
  std::vector<SpiffeId> overdue() const;
  // A certificate that begins at `begin` or before is to be replaced. Without an identity: whosoever it is.
  struct Renewal {
    std::string identity;
    absl::Time begin;
  };
  std::vector<Renewal> renewals() const;

  // What is refused is told to the log; the caller hears UNAUTHENTICATED and no reason, as from istiod.
  grpc::Status CreateCertificate(grpc::ServerContext* context,
                                 const istio::v1::auth::IstioCertificateRequest* request,
                                 istio::v1::auth::IstioCertificateResponse* response) override;

 private:
  absl::Status check_caller(const grpc::ServerContext& context) const;
  absl::StatusOr<std::vector<std::string>> create(const grpc::ServerContext& context,
                                                  const istio::v1::auth::IstioCertificateRequest& request);
  void remember(const std::string& node, const SpiffeId& id, const std::string& leaf);

  const Parts parts_;
  mutable absl::Mutex mutex_;
  std::map<SpiffeId, Issued> issued_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> renewals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
