// A tiny HTTP/1.1 server for metrics and health: GET only, one thread, poll based, everything bounded. Used
// by Agent, one per address. Not a general server: a request body, a long head or a slow client ends the
// connection.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/fd.h"

namespace weft {

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpServer {
 public:
  struct Options {
    SocketAddress address;
    size_t max_head_bytes = 8 * 1024;
    size_t max_connections = 64;
    // For the whole request and the whole reply.
    std::chrono::milliseconds timeout{5000};
  };
  // Runs on the server's thread.
  using Handler = std::function<HttpReply(std::string_view path)>;

  static absl::StatusOr<std::unique_ptr<HttpServer>> start(Options options, Handler handler);
  ~HttpServer();
  // The real one when port 0 was asked for.
  SocketAddress address() const { return address_; }

 private:
  struct Connection;

  HttpServer(Options options, Handler handler);
  void run();
  bool may_accept() const;
  void accept_one();
  bool turn(Connection& connection, short events);
  bool respond(Connection& connection);

  Options options_;
  Handler handler_;
  SocketAddress address_;
  UniqueFd listener_;
  UniqueFd wake_;
  std::list<Connection> connections_;
  // Server's thread: until then there is nothing to accept a connection with.
  std::chrono::steady_clock::time_point accept_again_;
  std::thread thread_;
};

}  // namespace weft
