// The Authorization service of <run-dir>/agent.sock: who may reach whom, and why. gRPC threads call it.
#pragma once

#include <string>

#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/authorization.grpc.pb.h"

namespace weft::agent {

class AuthorizationList final : public admin::v1::Authorization::Service {
 public:
  // The reconciler outlives it.
  AuthorizationList(std::string node_name, Reconciler& reconciler)
      : node_name_(std::move(node_name)), reconciler_(reconciler) {}

  grpc::Status Check(grpc::ServerContext*, const admin::v1::AuthorizationRequest* request,
                     admin::v1::AuthorizationReport* reply) override;

 private:
  const std::string node_name_;
  Reconciler& reconciler_;
};

}  // namespace weft::agent
