// Client of delta ADS (xDS protocol, "Incremental"): subscribes to everything of some types, hands what comes
// to a Receiver in bursts, acknowledges or refuses, and connects again when the stream ends. Knows no
// resource. The proxy is fed by it over a Unix socket, the agent by weft-control. It has two threads: one
// reads responses into a short queue, the other drains it and is the one that calls the receiver.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "proto/xds/discovery.pb.h"

namespace weft::xds {

// What a DeltaClient feeds; every call comes from the client's thread.
class Receiver {
 public:
  virtual ~Receiver() = default;
  // Name to version of what is in force of a type: a new stream begins with it, so that nothing comes twice.
  virtual std::map<std::string, std::string> held(const std::string& type) const = 0;
  // An error refuses the resource, and its message is the server's reason (one line); what was in force of
  // that name stays.
  virtual absl::Status put(const std::string& type,
                           const envoy::service::discovery::v3::Resource& resource) = 0;
  virtual void remove(const std::string& type, const std::string& name) = 0;
  // A burst has been put; it is acknowledged when this returns. `complete`: every type has answered at least
  // once since the client started.
  virtual void settle(bool complete) = 0;
  // Asked after bursts, and while it says true every 100 ms: gives back what is not in use any more.
  virtual bool tidy() { return false; }
};

class DeltaClient {
 public:
  struct Options {
    std::string target;  // for the log
    envoy::service::discovery::v3::Node node;
    std::vector<std::string> types;
    // The channel of the next stream, which has it for itself.
    std::function<absl::StatusOr<std::shared_ptr<grpc::Channel>>()> connect;
    // Adds to the call what it needs, as a token; empty: nothing. An error counts as a failed attempt.
    std::function<absl::Status(grpc::ClientContext&)> prepare;
    std::chrono::milliseconds backoff_min{10};
    std::chrono::milliseconds backoff_max{2000};
    double backoff_jitter = 0.25;
  };
  // Counts since the start.
  struct State {
    // The stream of now has answered.
    bool connected = false;
    // Why there is none, "" before the first end of one.
    std::string error;
    // Since when it is as it is.
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    uint64_t streams = 0;    // that answered
    uint64_t failures = 0;   // attempts and streams that ended with an error
    uint64_t resources = 0;  // received
    uint64_t removals = 0;   // received
    uint64_t bytes = 0;      // of messages received, as protobuf has them
  };

  // `receiver` outlives the client.
  static std::unique_ptr<DeltaClient> start(Options options, Receiver& receiver);
  // Cancels the stream and joins.
  virtual ~DeltaClient() = default;

  virtual State state() const = 0;  // any thread
};

}  // namespace weft::xds
