// Delta ADS server (xDS "Incremental", ACK and NACK) over a set of resources. The agent serves the proxy with
// it on a Unix socket; weft-control serves agents, each what is for its node. Any thread may call apply();
// streams have their own threads.
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
  // Whom the client was proven to be; empty where nobody is asked.
  std::string node;
  // Highest Change::generation that the client has acknowledged for every type it watches.
  uint64_t acked_generation = 0;
  // Resources refused in the last answer of each type: "type name" to reason.
  std::map<std::string, std::string> rejected;
};

// What an agent says about its node in the metadata of a stream's first request: its name, and "true" when
// it opens ports for clients outside the mesh. Of later requests `node` is not read, as xDS has it: an agent
// that becomes a gateway, or none, begins another stream.
inline constexpr char kNodeNameKey[] = "NODE_NAME";
inline constexpr char kGatewayKey[] = "GATEWAY";

// What one node may cost. Clients that are no nodes (the proxy on the agent's own socket) are not bounded.
// An agent has one stream; a connection that broke without a word counts for the 40 seconds until its pings
// are missed.
inline constexpr size_t kMaxStreamsOfNode = 4;
// Of a stream, over all types: of names that the client says it holds or wants, and of the bytes of these and
// their versions.
inline constexpr size_t kMaxNames = 300'000;
inline constexpr size_t kMaxNamesBytes = 32u << 20;
inline constexpr size_t kMaxNameBytes = 1024;

class AdsService {
 public:
  // The node that calls, from what its call has; must not block. An error refuses the call with its code and
  // message.
  using NodeOf = std::function<absl::StatusOr<std::string>(const grpc::ServerContextBase&)>;

  // Whether this node may be a gateway, which is given what gateways need, the keys among it: an agent says
  // of itself that it is one. Must not block.
  using MayBeGateway = std::function<bool(const std::string& node)>;

  // Without `node_of` every client sees everything. Without `may_be_gateway` no node is one; a client that
  // says it all the same is refused (PERMISSION_DENIED).
  static std::unique_ptr<AdsService> create(NodeOf node_of = {}, MayBeGateway may_be_gateway = {});
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
