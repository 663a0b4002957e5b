// AdsService for many nodes, over a real gRPC connection on a Unix socket. Who calls is said by metadata
// ("node") here; callers_test.cc has how it is proven.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "control-plane/discovery/ads_service.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::control_plane::test {

class NodeAds {
 public:
  explicit NodeAds(AdsService::MayBeGateway may_be_gateway = {})
      : service_(AdsService::create(node_of, std::move(may_be_gateway))) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(service_->service());
    server_ = builder.BuildAndStart();
  }
  ~NodeAds() {
    service_->shutdown();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  AdsService* service() { return service_.get(); }
  const std::string& address() const { return address_; }

 private:
  static absl::StatusOr<std::string> node_of(const grpc::ServerContextBase& context) {
    const auto found = context.client_metadata().find("node");
    if (found == context.client_metadata().end()) return absl::UnauthenticatedError("say who you are");
    return std::string(found->second.data(), found->second.size());
  }

  const ::weft::test::ScratchFolder folder_;
  const std::string address_ = "unix:" + folder_.file("ads.sock");
  const std::unique_ptr<AdsService> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace weft::control_plane::test
