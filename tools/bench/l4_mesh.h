// A mesh of a chosen size in a real kernel, as the agent keeps it: model, plan, tables, and what it serves
// its proxy over ADS. One of them per cgroup, so that two sizes can be compared side by side. l4_agent.h
// gives each a process of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/grpc_unix_server.h"
#include "agent/mesh/reconciler.h"
#include "control-plane/discovery/ads_service.h"

namespace weft::bench {

class L4Mesh {
 public:
  struct Options {
    std::string cgroup;
    std::string pin_root;
    std::string run_dir;
    std::string netns_path;  // enrolled as the client's
    SocketAddress vip;       // of the service that clients dial
    SocketAddress backend;
  };
  // Serves its proxy at <run_dir>/xds.sock. Exits the program with a message when the kernel refuses.
  explicit L4Mesh(const Options& options);
  ~L4Mesh();

  struct Spent {
    double seconds = 0;
    double cpu_seconds = 0;  // of the whole process
  };
  // `services` services with one endpoint each, beside the one that is dialled; until the kernel has all.
  Spent load(uint32_t services);
  // Moves the endpoint of service `index` to another address; milliseconds until the kernel has it.
  double change(uint32_t index, uint32_t version);

 private:
  // Until everything queued before has been done.
  void wait();

  Options options_;
  std::unique_ptr<agent::Dataplane> dataplane_;
  std::unique_ptr<control_plane::AdsService> ads_;
  std::unique_ptr<agent::ProxyFeed> feed_;
  std::unique_ptr<agent::Reconciler> reconciler_;
  std::unique_ptr<agent::GrpcUnixServer> server_;
  uint64_t generation_ = 0;
};

}  // namespace weft::bench
