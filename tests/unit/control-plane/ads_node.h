// An agent as AdsService sees it: it subscribes, acknowledges, and keeps what it is told. Included by tests
// of what nodes have in the end.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/discovery/ads_service.h"

namespace weft::control_plane::test {

class AdsNode {
 public:
  // Type and name of a resource to its version.
  using Held = std::map<std::pair<std::string, std::string>, std::string>;
  struct Says {
    std::string node = {};
    std::vector<std::string> types = {kAddressType};
    std::vector<std::string> services = {};  // of kAddressType; empty: all
    bool gateway = false;
    Held held = {};  // from before
  };

  // Each read is bounded by the call's deadline.
  AdsNode(const std::string& address, Says says)
      : says_(std::move(says)),
        held_(says_.held),
        stub_(envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
    context_.AddMetadata("node", says_.node);
    stream_ = stub_->DeltaAggregatedResources(&context_);
    for (const std::string& type : says_.types) subscribe(type);
  }
  ~AdsNode() {
    context_.TryCancel();
    stream_->Finish();
  }

  // One answer; false: the stream has ended.
  bool read() {
    envoy::service::discovery::v3::DeltaDiscoveryResponse response;
    if (!stream_->Read(&response)) return false;
    const std::string& type = response.type_url();
    for (const auto& each : response.resources()) {
      std::string& version = held_[{type, each.name()}];
      // Never what it has: nothing is sent twice, but for names that were asked for.
      if (says_.services.empty() && version == each.version()) ++repeated_;
      version = each.version();
    }
    for (const std::string& gone : response.removed_resources()) held_.erase({type, gone});
    answered_.insert(type);
    envoy::service::discovery::v3::DeltaDiscoveryRequest ack;
    ack.set_type_url(type);
    ack.set_response_nonce(response.nonce());
    return stream_->Write(ack);
  }
  // Reads until it has that, and was answered about each type.
  void read_until(const Held& wanted) {
    while (answered_.size() < says_.types.size() || held_ != wanted)
      ASSERT_TRUE(read()) << says_.node << " has " << held_.size();
  }

  const Says& says() const { return says_; }
  const Held& held() const { return held_; }
  size_t repeated() const { return repeated_; }

 private:
  void subscribe(const std::string& type) {
    envoy::service::discovery::v3::DeltaDiscoveryRequest request;
    auto& metadata = *request.mutable_node()->mutable_metadata()->mutable_fields();
    metadata[kNodeNameKey].set_string_value(says_.node);
    if (says_.gateway) metadata[kGatewayKey].set_string_value("true");
    request.set_type_url(type);
    if (type == kAddressType) {
      for (const std::string& wanted : says_.services) request.add_resource_names_subscribe(wanted);
    }
    for (const auto& [key, version] : held_) {
      if (key.first == type) (*request.mutable_initial_resource_versions())[key.second] = version;
    }
    stream_->Write(request);
  }

  const Says says_;
  Held held_;
  size_t repeated_ = 0;
  std::set<std::string> answered_;
  std::unique_ptr<envoy::service::discovery::v3::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<envoy::service::discovery::v3::DeltaDiscoveryRequest,
                                           envoy::service::discovery::v3::DeltaDiscoveryResponse>>
      stream_;
};

}  // namespace weft::control_plane::test
