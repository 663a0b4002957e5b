// A gRPC server on a Unix socket that looks at the peer's credentials before it talks: we accept, check
// SO_PEERCRED and hand the connection to gRPC. One for the proxy (xds.sock), one for the operator
// (agent.sock). Never listens on TCP.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/feed/unix_socket.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace weft::agent {

class GrpcUnixServer {
 public:
  // The services outlive the server.
  static absl::StatusOr<std::unique_ptr<GrpcUnixServer>> start(std::string path, SocketAccess access,
                                                               const std::vector<grpc::Service*>& services);
  // Refuses new calls and cancels running ones.
  ~GrpcUnixServer();

 private:
  GrpcUnixServer(std::string path, SocketAccess access);
  void run();

  std::string path_;
  SocketAccess access_;
  UniqueFd listener_;
  UniqueFd wake_;
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
};

}  // namespace weft::agent
