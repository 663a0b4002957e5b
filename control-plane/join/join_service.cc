// See join_service.h.
#include "control-plane/join/join_service.h"

namespace weft::control_plane {
namespace {

grpc::Status answer_with(absl::StatusOr<std::string> chain, weft::node::v1::NodeCertificate* answer) {
  if (!chain.ok())
    return {static_cast<grpc::StatusCode>(chain.status().code()), std::string(chain.status().message())};
  answer->set_chain(*std::move(chain));
  return grpc::Status::OK;
}

}  // namespace

grpc::Status JoinService::Join(grpc::ServerContext* context, const weft::node::v1::JoinRequest* request,
                               weft::node::v1::NodeCertificate* answer) {
  return answer_with(desk_.join(request->token(), request->node(), request->csr(), context->peer()), answer);
}

grpc::Status JoinService::Renew(grpc::ServerContext* context, const weft::node::v1::RenewRequest* request,
                                weft::node::v1::NodeCertificate* answer) {
  const absl::StatusOr<std::string> node = node_of_(*context);
  return answer_with(node.ok() ? desk_.renew(*node, request->csr()) : node, answer);
}

}  // namespace weft::control_plane
