// See control_node.h.
#include "tools/bench/control_node.h"

#include <algorithm>
#include <array>

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/discovery/node_findings.h"
#include "control-plane/discovery/node_pods.h"
#include "proto/istio/workload.pb.h"

namespace weft::bench {
namespace {

constexpr std::array<const char*, 9> kTypes = {
    control_plane::kAddressType,  control_plane::kAuthorizationType, control_plane::kAuthenticationType,
    control_plane::kRouteSetType, control_plane::kMeshConfigType,    control_plane::kDestinationPolicyType,
    control_plane::kPodType,      control_plane::kMeshType,          control_plane::kFindingType};
// gRPC's before each message.
constexpr uint64_t kFrame = 5;
// No single change is about so many.
constexpr int kManyResources = 1'000;

}  // namespace

ControlNode::~ControlNode() {
  context_.TryCancel();
  if (thread_.joinable()) thread_.join();
}

absl::Status ControlNode::start(size_t addresses, std::chrono::seconds limit) {
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, channel_.connect());
  RETURN_IF_ERROR(channel_.prepare(context_));
  context_.set_wait_for_ready(true);
  stub_ = envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(channel);
  stream_ = stub_->DeltaAggregatedResources(&context_);
  for (const char* type : kTypes) {
    Request request;
    request.set_type_url(type);
    request.mutable_node()->set_id("node-0");
    if (!stream_->Write(request)) return absl::UnavailableError("weft-control ended the stream at once");
  }
  thread_ = std::thread([this] { read_all(); });
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, limit,
                         [&] { return ended_ || (held_ >= addresses && told_.size() == kTypes.size()); }))
    return absl::DeadlineExceededError(
        str_cat("only ", held_, " of ", addresses, " addresses were told in time"));
  if (ended_) return absl::UnavailableError("weft-control ended the stream");
  synced_ = true;
  figures_ = {};
  return absl::OkStatus();
}

void ControlNode::read_all() {
  Response response;
  while (stream_->Read(&response)) {
    count(response, Clock::now());
    Request answer;
    answer.set_type_url(response.type_url());
    answer.set_response_nonce(response.nonce());
    if (!stream_->Write(answer)) break;
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void ControlNode::count(const Response& response, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const int many = response.resources_size() + response.removed_resources_size();
  figures_.bytes += response.ByteSizeLong() + kFrame;
  figures_.resources += static_cast<uint64_t>(many);
  figures_.largest = std::max(figures_.largest, static_cast<uint64_t>(many));
  if (synced_ && many >= kManyResources) ++figures_.full_pushes;
  if (!synced_ && told_.insert(response.type_url()).second) changed_.notify_all();
  if (response.type_url() != control_plane::kAddressType) return;
  figures_.addresses += static_cast<uint64_t>(many);
  held_ += static_cast<size_t>(response.resources_size());
  if (!expected_.empty()) {
    for (const auto& resource : response.resources()) {
      istio::workload::Address address;
      if (!address.ParseFromString(resource.resource().value())) continue;
      if (address.has_service()) seen(Sight::kService, resource.name(), now);
      if (!address.has_workload()) continue;
      seen(Sight::kNew, resource.name(), now);
      const istio::workload::Workload& workload = address.workload();
      if (workload.status() == istio::workload::HEALTHY && !workload.services().empty())
        seen(Sight::kHealthy, resource.name(), now);
    }
    for (const std::string& name : response.removed_resources()) seen(Sight::kGone, name, now);
  }
  changed_.notify_all();
}

void ControlNode::expect(Sight sight, const std::string& name) {
  const std::lock_guard lock(mutex_);
  expected_[{sight, name}] = {};
}

void ControlNode::begin(Sight sight, const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto waited = expected_.find({sight, name});
  if (waited == expected_.end()) return;
  waited->second.begun = Clock::now();
  if (!waited->second.seen) return;
  figures_.milliseconds[sight].push_back(0);
  expected_.erase(waited);
  changed_.notify_all();
}

void ControlNode::seen(Sight sight, const std::string& name, Clock::time_point now) {
  const auto waited = expected_.find({sight, name});
  if (waited == expected_.end()) return;
  waited->second.seen = true;
  if (!waited->second.begun) return;
  figures_.milliseconds[sight].push_back(
      std::chrono::duration<double, std::milli>(now - *waited->second.begun).count());
  expected_.erase(waited);
}

bool ControlNode::wait_for_all(std::chrono::seconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return ended_ || expected_.empty(); }) && expected_.empty();
}

ControlNode::Figures ControlNode::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(figures_, {});
}

}  // namespace weft::bench
