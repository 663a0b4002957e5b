// See load_connection.h.
#include "tools/bench/load_connection.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "tools/bench/load.h"

namespace weft::bench {
namespace {

// An IPv4 target as ::ffff:a.b.c.d, dialled from an AF_INET6 socket: what dual-stack runtimes do.
socklen_t mapped_sockaddr(const SocketAddress& target, sockaddr_storage* out) {
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  *v6 = {};
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(target.port);
  std::copy(target.ip.bytes.begin(), target.ip.bytes.end(), v6->sin6_addr.s6_addr);
  return sizeof(*v6);
}

}  // namespace

LoadConnection::LoadConnection(Load& load) : load_(load), reader_(load.options_.version_header) {}

bool LoadConnection::watch(uint32_t events) {
  if (watched_ == events) return true;
  epoll_event event{.events = events, .data = {.ptr = this}};
  const int operation = watched_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(load_.epoll_.get(), operation, socket_.get(), &event) != 0) return false;
  watched_ = events;
  return true;
}

void LoadConnection::start(MonotonicNs due, MonotonicNs deadline) {
  due_ = due;
  deadline_ = deadline;
  written_ = 0;
  reader_.reset();
  reused_ = socket_.valid();
  if (!reused_) {
    dial();
    return;
  }
  state_ = State::kWriting;
  write_request();
}

void LoadConnection::dial() {
  state_ = State::kConnecting;
  watched_ = 0;
  sockaddr_storage address{};
  const socklen_t length = load_.options_.mapped_v4 ? mapped_sockaddr(load_.options_.target, &address)
                                                    : load_.options_.target.to_sockaddr(&address);
  socket_.reset(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.valid()) return fail(Failure::kConnect);
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    finish_connect();
  } else if (errno != EINPROGRESS || !watch(EPOLLOUT)) {
    fail(Failure::kConnect);
  }
}

void LoadConnection::finish_connect() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return fail(Failure::kConnect);
  load_.on_connected();
  state_ = State::kWriting;
  write_request();
}

void LoadConnection::on_ready(uint32_t events) {
  switch (state_) {
    case State::kIdle:
      // The server closed (or talks out of turn on) a kept-alive connection: the next request dials again.
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
        socket_.reset();
        watched_ = 0;
      }
      return;
    case State::kConnecting:
      return finish_connect();
    case State::kWriting:
      return write_request();
    case State::kReading:
      return read_response();
  }
}

void LoadConnection::write_request() {
  const std::string& request = load_.options_.request;
  while (written_ < request.size()) {
    const ssize_t n =
        ::send(socket_.get(), request.data() + written_, request.size() - written_, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN && watch(EPOLLOUT)) return;
      return handle_end_of_stream();
    }
    written_ += static_cast<size_t>(n);
  }
  state_ = State::kReading;
  if (!watch(EPOLLIN)) fail(Failure::kReset);
}

void LoadConnection::read_response() {
  std::array<char, 64 * 1024> buffer;
  for (int turns = 0; turns < 16 && state_ == State::kReading; ++turns) {
    const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      if (n == 0 && reader_.end_of_stream() == ResponseReader::State::kDone) return complete();
      return handle_end_of_stream();
    }
    const ResponseReader::State state = reader_.feed(std::string_view(buffer.data(), static_cast<size_t>(n)));
    if (state == ResponseReader::State::kBad) return fail(Failure::kBadResponse);
    if (state == ResponseReader::State::kDone) return complete();
  }
}

// A kept-alive connection may be closed by the server just as we reuse it (RFC 9112 section 9.3.1): a request
// of which no answer byte came back goes out once more on a new connection, as every HTTP client does.
void LoadConnection::handle_end_of_stream() {
  if (!reused_ || reader_.started()) return fail(Failure::kReset);
  load_.on_retry();
  reused_ = false;
  written_ = 0;
  reader_.reset();
  dial();
}

void LoadConnection::complete() {
  const bool keep = reader_.keep_alive() && !load_.options_.new_connections;
  if (!keep) {
    socket_.reset();
    watched_ = 0;
  }
  state_ = State::kIdle;
  load_.on_response(*this, due_);
}

void LoadConnection::fail(Failure failure) {
  socket_.reset();
  watched_ = 0;
  state_ = State::kIdle;
  load_.on_failure(*this, failure);
}

}  // namespace weft::bench
