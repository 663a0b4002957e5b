// A node at weft-control: one stream of delta ADS, as an agent has it, and when what came. Used by
// weft-bench-control.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "control-plane/remote/control_channel.h"
#include "proto/xds/discovery.grpc.pb.h"

namespace weft::bench {

class ControlNode {
 public:
  using Clock = std::chrono::steady_clock;
  // What of an endpoint the node waits for.
  enum class Sight : uint8_t { kNew, kHealthy, kGone, kService };

  explicit ControlNode(control_plane::ControlAccess access) : channel_(std::move(access)) {}
  ~ControlNode();

  // Until it has been told of so many addresses, and of every type. Errors: the server cannot be reached or
  // ends the stream, DeadlineExceeded.
  absl::Status start(size_t addresses, std::chrono::seconds limit);
  // Before what makes weft-control tell it, and when that has its event on the wire. What the node sees
  // before counts as seen at once.
  void expect(Sight sight, const std::string& name);
  void begin(Sight sight, const std::string& name);
  // False: something that was expected has not come in time.
  bool wait_for_all(std::chrono::seconds limit);

  struct Figures {
    std::map<Sight, std::vector<double>> milliseconds;
    uint64_t bytes = 0;      // of answers, with gRPC's five of each
    uint64_t resources = 0;  // of these, told or taken back
    uint64_t addresses = 0;  // of these, endpoints and services
    uint64_t largest = 0;    // resources of one answer
    uint64_t full_pushes = 0;
  };
  // Of what came since the last call.
  Figures take();

 private:
  using Response = envoy::service::discovery::v3::DeltaDiscoveryResponse;
  using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;

  void read_all();
  void count(const Response& response, Clock::time_point now);
  void seen(Sight sight, const std::string& name, Clock::time_point now);

  control_plane::ControlChannel channel_;
  grpc::ClientContext context_;
  std::unique_ptr<envoy::service::discovery::v3::AggregatedDiscoveryService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  struct Expected {
    std::optional<Clock::time_point> begun;
    bool seen = false;
  };
  std::map<std::pair<Sight, std::string>, Expected> expected_;
  Figures figures_;
  size_t held_ = 0;             // addresses
  std::set<std::string> told_;  // types
  bool synced_ = false, ended_ = false;
};

}  // namespace weft::bench
