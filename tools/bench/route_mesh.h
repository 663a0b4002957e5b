// A mesh of many routes on its whole way from manifest to snapshot, as a node has it: the control plane's
// pipeline, the ADS server on a Unix socket, the proxy's configuration client. Used by weft-bench-route; no
// root. The wait for more events of a folder (ControlPlane::Options::debounce) is not in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/pipeline.h"
#include "userspace-proxy/config/config_client.h"

namespace grpc {
class Server;
}

namespace weft::bench {

class RouteMesh {
 public:
  struct Options {
    uint32_t routes = 0;     // in all,
    uint32_t sets = 1;       // in so many VirtualServices of a service each
    SocketAddress dialled;   // where clients dial the service of the first one
    SocketAddress endpoint;  // and who answers there
  };
  // `publish`: the proxy's snapshots, on the configuration client's thread. Exits the program with a message
  // when the socket cannot be had.
  RouteMesh(const Options& options, proxy::ConfigClient::Publish publish);
  ~RouteMesh();

  // VirtualService `set` and its service; weights are as `version` has them.
  std::string manifest(uint32_t set, uint32_t version) const;
  // The manifest of VirtualService `set`, parsed; the change is on its way to the proxy when this returns.
  // Milliseconds of the parser, and of the pipeline behind it.
  struct Spent {
    double parse_ms = 0;
    double compile_ms = 0;
  };
  Spent change(uint32_t set, const std::string& text);
  // Where VirtualService `set` has its first route's weights changed to, and where its service is dialled.
  static uint32_t weight_of(uint32_t version);
  static std::string host_of(uint32_t set);
  SocketAddress dialled(uint32_t set) const;

 private:
  void forward(control_plane::Change change);

  const Options options_;
  bool first_ = true;
  std::vector<control_plane::FileVersions> files_;  // of each VirtualService
  std::string socket_;
  std::unique_ptr<control_plane::AdsService> ads_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<control_plane::Pipeline> pipeline_;
  std::unique_ptr<proxy::ConfigClient> client_;
};

}  // namespace weft::bench
