// The request loop (RFC 9112, the part that a GET needs); see http_server.h. Called by Agent.
#include "base/http_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "base/status_macros.h"
#include "base/tcp_listener.h"

namespace weft {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Between two attempts while the process or the system has no descriptor or memory left.
constexpr std::chrono::milliseconds kNoRoomPause{100};

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

std::string serialize(const HttpReply& reply) {
  return str_cat("HTTP/1.1 ", reply.status, " ", reason(reply.status),
                 "\r\nContent-Type: ", reply.content_type, "\r\nContent-Length: ", reply.body.size(),
                 "\r\nConnection: close\r\n", reply.status == 405 ? "Allow: GET\r\n" : "", "\r\n",
                 reply.body);
}

}  // namespace

struct HttpServer::Connection {
  UniqueFd socket;
  SteadyClock::time_point deadline;
  std::string in;
  std::string out;  // not empty: the reply is being written
};

HttpServer::HttpServer(Options options, Handler handler) : options_(options), handler_(std::move(handler)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::start(Options options, Handler handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(options, std::move(handler)));
  ASSIGN_OR_RETURN(TcpListener listener, listen_on(options.address));
  server->listener_ = std::move(listener.socket);
  server->address_ = listener.address;
  server->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->wake_.valid()) return errno_status("eventfd", errno);
  HttpServer* raw = server.get();
  server->thread_ = std::thread([raw] { raw->run(); });
  return server;
}

HttpServer::~HttpServer() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof(one));
  thread_.join();
}

bool HttpServer::may_accept() const {
  return connections_.size() < options_.max_connections && SteadyClock::now() >= accept_again_;
}

void HttpServer::run() {
  while (true) {
    std::vector<pollfd> fds{{wake_.get(), POLLIN, 0},
                            {listener_.get(), static_cast<short>(may_accept() ? POLLIN : 0), 0}};
    auto next = accept_again_ > SteadyClock::now() ? accept_again_ : SteadyClock::time_point::max();
    for (const Connection& connection : connections_) {
      fds.push_back(
          {connection.socket.get(), static_cast<short>(connection.out.empty() ? POLLIN : POLLOUT), 0});
      next = std::min(next, connection.deadline);
    }
    int timeout = -1;
    if (next != SteadyClock::time_point::max()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(next - SteadyClock::now()).count();
      timeout = static_cast<int>(std::max<int64_t>(left + 1, 0));
    }
    if (::poll(fds.data(), fds.size(), timeout) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    size_t i = 2;
    const auto now = SteadyClock::now();
    for (auto it = connections_.begin(); it != connections_.end(); ++i) {
      const bool alive = it->deadline > now && (fds[i].revents == 0 || turn(*it, fds[i].revents));
      it = alive ? std::next(it) : connections_.erase(it);
    }
    if ((fds[1].revents & POLLIN) != 0) accept_one();
  }
}

void HttpServer::accept_one() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    if (is_no_room(errno)) accept_again_ = SteadyClock::now() + kNoRoomPause;
    return;
  }
  connections_.push_back(Connection{std::move(socket), SteadyClock::now() + options_.timeout, "", ""});
}

// False when the connection is over.
bool HttpServer::turn(Connection& connection, short events) {
  if (connection.out.empty()) {
    if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
    char chunk[4096];
    const ssize_t n = ::recv(connection.socket.get(), chunk, sizeof(chunk), 0);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    connection.in.append(chunk, static_cast<size_t>(n));
    if (!respond(connection)) return true;
  }
  const ssize_t n =
      ::send(connection.socket.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  connection.out.erase(0, static_cast<size_t>(n));
  if (!connection.out.empty()) return true;
  // The peer reads the reply before it sees a reset for bytes that we did not read.
  ::shutdown(connection.socket.get(), SHUT_WR);
  return false;
}

// True when a reply is ready in `out`.
bool HttpServer::respond(Connection& connection) {
  const size_t end = connection.in.find("\r\n\r\n");
  if (end == std::string::npos && connection.in.size() <= options_.max_head_bytes) return false;
  if (end == std::string::npos || end > options_.max_head_bytes) {
    connection.out = serialize({431, "text/plain; charset=utf-8", "the request head is too large\n"});
    return true;
  }
  const std::string_view line = std::string_view(connection.in).substr(0, connection.in.find("\r\n"));
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  const bool http1 = last != std::string_view::npos && line.substr(last + 1).substr(0, 7) == "HTTP/1.";
  if (first == std::string_view::npos || first == last || !http1) {
    connection.out = serialize({400, "text/plain; charset=utf-8", "this is not an HTTP/1 request\n"});
    return true;
  }
  if (line.substr(0, first) != "GET") {
    connection.out = serialize({405, "text/plain; charset=utf-8", "only GET is answered here\n"});
    return true;
  }
  const std::string_view target = line.substr(first + 1, last - first - 1);
  connection.out = serialize(handler_(target.substr(0, target.find('?'))));
  return true;
}

}  // namespace weft
