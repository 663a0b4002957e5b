// The proxy's end of handover.proto: connects to the agent, shows what it holds, takes listeners of new pods
// and gives up those of gone ones. Owned by Proxy, one thread. While the agent is away every pod stays
// served.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

class HandoverClient {
 public:
  struct Options {
    std::string socket_path;
    std::string version;
    std::chrono::milliseconds backoff_min{10};
    // Short: until a restarted agent has the listeners back, they live and die with this process.
    std::chrono::milliseconds backoff_max{200};
    // The map to beat into, each time an agent sends one; on the client's thread.
    std::function<absl::Status(UniqueFd)> heartbeat;
    // The workloads that are served, whenever there are others; on the client's thread.
    std::function<void(std::set<std::string>)> served;
  };

  // The workers are borrowed and outlive the client.
  static absl::StatusOr<std::unique_ptr<HandoverClient>> start(Options options, std::vector<Worker*> workers);
  // Closes the socket and joins; the workers keep what they have.
  virtual ~HandoverClient() = default;
};

}  // namespace weft::proxy
