// RevocationService of revocation_service.h.
#include "agent/feed/revocation_service.h"

#include "base/log.h"

namespace weft::agent {

grpc::Status RevocationService::Get(grpc::ServerContext*, const proxy::v1::RevocationsRequest*,
                                    proxy::v1::RevocationsResponse* response) {
  absl::StatusOr<std::string> lists = lists_();
  if (!lists.ok()) {
    log::warn("revocations_unreadable", {{"error", lists.status().message()}, {"next", "correct crl.pem"}});
    return {grpc::StatusCode::FAILED_PRECONDITION, std::string(lists.status().message())};
  }
  response->set_lists(*std::move(lists));
  return grpc::Status::OK;
}

}  // namespace weft::agent
