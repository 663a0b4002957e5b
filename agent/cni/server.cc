// See server.h. unix(7), poll(2). Called by Agent.
#include "agent/cni/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>

#include "agent/feed/unix_socket.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

// A kubelet starts ten pods or so at once; who comes besides waits in the queue of the socket.
constexpr size_t kMostConnections = 64;
// Longer than any plugin waits.
constexpr MonotonicNs kLongest = 120 * kNsPerSecond;
constexpr int kLookMs = 5000;

void signal(const UniqueFd& event) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof(one));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CniServer>> CniServer::start(const std::string& path, Handler handler) {
  ASSIGN_OR_RETURN(UniqueFd listener, listen_unix(path, SOCK_SEQPACKET, SocketAccess{}));
  std::unique_ptr<CniServer> server(new CniServer(std::move(listener), std::move(handler)));
  server->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  server->answers_->wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->stop_.valid() || !server->answers_->wake.valid()) return errno_status("eventfd", errno);
  server->thread_ = std::thread([raw = server.get()] { raw->run(); });
  return server;
}

CniServer::~CniServer() {
  if (!thread_.joinable()) return;
  signal(stop_);
  thread_.join();
}

void CniServer::run() {
  while (true) {
    std::vector<pollfd> events{{stop_.get(), POLLIN, 0}, {answers_->wake.get(), POLLIN, 0}};
    if (connections_.size() < kMostConnections) events.push_back({listener_.get(), POLLIN, 0});
    const size_t fixed = events.size();
    std::vector<uint64_t> ids;
    for (const auto& [id, connection] : connections_) {
      ids.push_back(id);
      events.push_back({connection.socket.get(), POLLIN, 0});
    }
    ::poll(events.data(), events.size(), kLookMs);
    if (events[0].revents != 0) return;
    if (events[1].revents != 0) send_answers();
    if (fixed > 2 && events[2].revents != 0) accept_one();
    const MonotonicNs now = SystemClock().now();
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto at = connections_.find(ids[i]);
      if (at == connections_.end()) continue;
      const bool stirred = events[fixed + i].revents != 0;
      if ((stirred && !read_request(at->first, at->second)) || at->second.ends <= now) connections_.erase(at);
    }
  }
}

void CniServer::accept_one() {
  absl::StatusOr<Accepted> accepted = accept_unix(listener_.get(), SocketAccess{});
  if (!accepted.ok()) {
    if (absl::IsPermissionDenied(accepted.status()))
      log::warn("cni_peer_refused", {{"error", accepted.status().message()}});
    return;
  }
  connections_[next_id_++] = Connection{std::move(accepted->socket), false, SystemClock().now() + kLongest};
}

bool CniServer::read_request(uint64_t id, Connection& connection) {
  std::array<char, kMostCniBytes> buffer;
  const ssize_t got = ::recv(connection.socket.get(), buffer.data(), buffer.size(), MSG_TRUNC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  // A second request is as wrong as one that is none; a plugin that gave up is gone.
  if (got <= 0 || connection.asked) return false;
  connection.asked = true;
  const Reply reply = [id, answers = answers_](CniAnswer answer) {
    const std::lock_guard lock(answers->mutex);
    answers->ready.emplace_back(id, std::move(answer));
    signal(answers->wake);
  };
  std::optional<CniRequest> request;
  if (got <= static_cast<ssize_t>(buffer.size()))
    request = decode_cni_request(std::string_view(buffer.data(), static_cast<size_t>(got)));
  if (request)
    handler_(*std::move(request), reply);
  else
    reply({CniAnswer::Verdict::kRefused, "the request is not understood; next: the same version of both"});
  return true;
}

void CniServer::send_answers() {
  std::vector<std::pair<uint64_t, CniAnswer>> ready;
  {
    const std::lock_guard lock(answers_->mutex);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(answers_->wake.get(), &count, sizeof(count));
    ready.swap(answers_->ready);
  }
  for (const auto& [id, answer] : ready) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) continue;
    const std::string text = encode(answer);
    if (::send(at->second.socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      log::info("cni_answer_not_taken", {{"error", std::strerror(errno)}});
    connections_.erase(at);
  }
}

}  // namespace weft::agent
