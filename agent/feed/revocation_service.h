// The authority's revocation lists for the proxy (proto/weft/proxy/v1/identity.proto), read anew for each
// question. Threads of gRPC.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "proto/weft/proxy/v1/identity.grpc.pb.h"

namespace weft::agent {

class RevocationService final : public proxy::v1::Revocations::Service {
 public:
  explicit RevocationService(std::function<absl::StatusOr<std::string>()> lists) : lists_(std::move(lists)) {}

  // A list that cannot be read is an error, so that the proxy keeps what it has.
  grpc::Status Get(grpc::ServerContext*, const proxy::v1::RevocationsRequest*,
                   proxy::v1::RevocationsResponse* response) override;

 private:
  const std::function<absl::StatusOr<std::string>()> lists_;
};

}  // namespace weft::agent
