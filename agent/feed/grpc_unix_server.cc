// Accept loop in front of gRPC; see grpc_unix_server.h. Called by Agent. Never reads a byte of a connection
// itself.
#include "agent/feed/grpc_unix_server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <chrono>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {

GrpcUnixServer::GrpcUnixServer(std::string path, SocketAccess access)
    : path_(std::move(path)), access_(access) {}

absl::StatusOr<std::unique_ptr<GrpcUnixServer>> GrpcUnixServer::start(
    std::string path, SocketAccess access, const std::vector<grpc::Service*>& services) {
  std::unique_ptr<GrpcUnixServer> out(new GrpcUnixServer(std::move(path), access));
  grpc::ServerBuilder builder;
  for (grpc::Service* service : services) builder.RegisterService(service);
  // A whole mesh arrives as one response (design: at most a few ten thousand resources).
  builder.SetMaxReceiveMessageSize(64 * 1024 * 1024);
  builder.SetMaxSendMessageSize(64 * 1024 * 1024);
  out->server_ = builder.BuildAndStart();
  if (out->server_ == nullptr) return absl::InternalError(str_cat(out->path_, ": gRPC did not start"));
  out->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!out->wake_.valid()) return errno_status("eventfd", errno);
  ASSIGN_OR_RETURN(out->listener_, listen_unix(out->path_, SOCK_STREAM, access));
  GrpcUnixServer* raw = out.get();
  out->thread_ = std::thread([raw] { raw->run(); });
  return out;
}

void GrpcUnixServer::run() {
  while (true) {
    pollfd fds[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    absl::StatusOr<Accepted> accepted = accept_unix(listener_.get(), access_);
    if (accepted.ok()) {
      // grpcpp/server_posix.h: the server owns the descriptor from here on.
      grpc::AddInsecureChannelFromFd(server_.get(), accepted->socket.release());
      continue;
    }
    if (!absl::IsUnavailable(accepted.status())) {
      log::warn("connection_refused", {{"socket", path_}, {"reason", accepted.status().message()}});
    }
  }
}

GrpcUnixServer::~GrpcUnixServer() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof(one));
    thread_.join();
    ::unlink(path_.c_str());
  }
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace weft::agent
