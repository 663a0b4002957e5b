// Delta ADS server (xDS "Incremental", ACK and NACK) over a set of resources. The agent serves the proxy with
// it on a Unix socket; weft-control will serve agents. Any thread may call apply(); streams have their own
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "control-plane/control_plane.h"
#include "proto/xds/discovery.grpc.pb.h"

namespace weft::control_plane {

struct ClientState {
  std::string node_id;
  // Highest Change::generation that the client has acknowledged for every type it watches.
  uint64_t acked_generation = 0;
  // Resources refused in the last answer of each type: "type name" to reason.
  std::map<std::string, std::string> rejected;
};

class AdsService {
 public:
  static std::unique_ptr<AdsService> create();
  virtual ~AdsService() = default;

  // For ServerBuilder::RegisterService.
  virtual grpc::Service* service() = 0;
  // Folds the change in and wakes every stream. Each stream sends only what changed for it, one response per
  // type, additions of Address before routes and removals after.
  virtual void apply(const Change& change) = 0;
  virtual std::vector<ClientState> clients() const = 0;
  // Ends all streams; later calls are refused.
  virtual void shutdown() = 0;
};

}  // namespace weft::control_plane
