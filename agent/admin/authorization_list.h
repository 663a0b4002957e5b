// The Authorization service of <run-dir>/agent.sock: who may reach whom, why, and what other policies would
// change. gRPC threads call it.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/observe_hub.h"
#include "agent/feed/proxy_status.h"
#include "agent/mesh/reconciler.h"
#include "control-plane/policy_manifest.h"
#include "proto/weft/admin/v1/authorization.grpc.pb.h"

namespace weft::agent {

class AuthorizationList final : public admin::v1::Authorization::Service {
 public:
  // All outlive it.
  struct Parts {
    std::string node_name;
    Reconciler& reconciler;
    const Dataplane& dataplane;
    ProxyStatus& proxy;
    ObserveHub& hub;
    control_plane::ReadPolicies read_policies;
  };
  explicit AuthorizationList(Parts parts) : parts_(std::move(parts)) {}

  // Ends running Shadow calls.
  void shutdown() { stopping_ = true; }

  grpc::Status Check(grpc::ServerContext*, const admin::v1::AuthorizationRequest* request,
                     admin::v1::AuthorizationReport* reply) override;
  grpc::Status Shadow(grpc::ServerContext* context, const admin::v1::ShadowRequest* request,
                      grpc::ServerWriter<admin::v1::ShadowReport>* writer) override;

 private:
  const Parts parts_;
  std::atomic<bool> stopping_{false};
};

}  // namespace weft::agent
