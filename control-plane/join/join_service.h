// The service NodeMembership of proto/weft/node/v1/join.proto: from calls to JoinDesk. Threads of gRPC.
#pragma once

#include <functional>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "control-plane/join/join_desk.h"
#include "proto/weft/node/v1/join.grpc.pb.h"

namespace weft::control_plane {

// The one method whose caller has nothing to show in the call itself.
inline constexpr char kJoinMethod[] = "/weft.node.v1.NodeMembership/Join";

class JoinService final : public weft::node::v1::NodeMembership::Service {
 public:
  // The node of a caller, or why nobody knows it.
  using NodeOf = std::function<absl::StatusOr<std::string>(const grpc::ServerContextBase&)>;

  // `desk` outlives it.
  JoinService(JoinDesk& desk, NodeOf node_of) : desk_(desk), node_of_(std::move(node_of)) {}

  grpc::Status Join(grpc::ServerContext* context, const weft::node::v1::JoinRequest* request,
                    weft::node::v1::NodeCertificate* answer) override;
  grpc::Status Renew(grpc::ServerContext* context, const weft::node::v1::RenewRequest* request,
                     weft::node::v1::NodeCertificate* answer) override;

 private:
  JoinDesk& desk_;
  const NodeOf node_of_;
};

}  // namespace weft::control_plane
