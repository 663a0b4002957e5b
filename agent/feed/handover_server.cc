// The poll loop and the handover protocol; see handover_server.h. Called by Agent (start, stop) and the
// reconciler (ProxyFeed).
#include "agent/feed/handover_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/address.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"
#include "proto/weft/handover/v1/handover.pb.h"

namespace weft::agent {
namespace {

using weft::handover::v1::ToAgent;
using weft::handover::v1::ToProxy;
using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kProtocol = 1;
constexpr size_t kMaxConnections = 8;
// As many namespaces as the kernel maps have room for (WEFT_MAX_NAMESPACES), and as many ports of gateways.
constexpr size_t kMaxHeld = 2048;

// What is no listener is none of these.
bool is_plain_inbound(const UniqueFd& listener) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length) != 0) return false;
  const auto address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
  return address && address->port == WEFT_PORT_INBOUND;
}

}  // namespace

absl::Status HandoverServer::start(Events events) {
  events_ = std::move(events);
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return errno_status("eventfd", errno);
  ASSIGN_OR_RETURN(listener_, listen_unix(options_.path, SOCK_SEQPACKET, options_.access));
  thread_ = std::thread([this] { run(); });
  post([] {});
  return absl::OkStatus();
}

HandoverServer::~HandoverServer() { stop(); }

void HandoverServer::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  post([] {});
  thread_.join();
  ::unlink(options_.path.c_str());
}

void HandoverServer::post(std::function<void()> command) {
  const std::lock_guard lock(mutex_);
  commands_.push_back(std::move(command));
  if (!wake_.valid()) return;  // not started yet: run by the first turn of the loop
  const uint64_t one = 1;
  // A full eventfd is readable already: the loop wakes either way.
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof(one));
}

void HandoverServer::run_commands() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

void HandoverServer::run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    std::vector<pollfd> fds{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    std::vector<uint64_t> ids;
    for (const auto& [id, connection] : connections_) {
      const short events = static_cast<short>(connection.out.empty() ? POLLIN : POLLIN | POLLOUT);
      fds.push_back({connection.socket.get(), events, 0});
      ids.push_back(id);
    }
    if (::poll(fds.data(), fds.size(), poll_timeout()) < 0 && errno != EINTR) {
      log::error("handover_poll_failed", {{"error", std::strerror(errno)}});
      break;
    }
    if (fds[1].revents != 0) run_commands();
    if (fds[0].revents != 0) accept_one();
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto it = connections_.find(ids[i]);
      if (it == connections_.end() || fds[i + 2].revents == 0) continue;
      const bool writable = (fds[i + 2].revents & POLLOUT) != 0;
      if ((writable && !flush(it->second)) || !read(it->second)) drop(ids[i], "connection ended");
    }
    expire();
  }
  for (auto& [id, connection] : connections_) {
    for (PendingAck& ack : connection.acks) ack.done(absl::CancelledError("the agent is stopping"));
  }
  connections_.clear();
}

void HandoverServer::accept_one() {
  absl::StatusOr<Accepted> accepted = accept_unix(listener_.get(), options_.access);
  if (!accepted.ok()) {
    if (!absl::IsUnavailable(accepted.status()))
      log::warn("handover_refused", {{"reason", accepted.status().message()}});
    return;
  }
  if (connections_.size() >= kMaxConnections) {
    log::warn("handover_refused", {{"reason", "too many proxies are connected"}});
    return;
  }
  Connection connection;
  connection.id = ++last_id_;
  connection.socket = std::move(accepted->socket);
  connection.peer = accepted->peer;
  connection.hello_deadline = SteadyClock::now() + options_.ack_deadline;
  connections_.emplace(connection.id, std::move(connection));
}

int HandoverServer::poll_timeout() const {
  auto next = SteadyClock::time_point::max();
  for (const auto& [id, connection] : connections_) {
    if (!connection.ready) next = std::min(next, connection.hello_deadline);
    if (!connection.acks.empty()) next = std::min(next, connection.acks.front().deadline);
  }
  if (next == SteadyClock::time_point::max()) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - SteadyClock::now()).count();
  return static_cast<int>(std::max<int64_t>(left + 1, 0));
}

// An answer that does not come means that the order of answers is lost: the proxy must start over with a new
// Hello.
void HandoverServer::expire() {
  const auto now = SteadyClock::now();
  std::vector<uint64_t> late;
  for (const auto& [id, connection] : connections_) {
    const bool silent = !connection.ready && connection.hello_deadline <= now;
    if (silent || (!connection.acks.empty() && connection.acks.front().deadline <= now)) late.push_back(id);
  }
  for (const uint64_t id : late) drop(id, "no answer in time");
}

bool HandoverServer::read(Connection& connection) {
  while (true) {
    absl::StatusOr<FdMessage> message = receive_with_fds(connection.socket.get());
    if (absl::IsUnavailable(message.status())) return true;
    if (!message.ok()) return false;
    if (!handle(connection, std::move(*message))) return false;
  }
}

bool HandoverServer::handle(Connection& connection, FdMessage message) {
  ToAgent packet;
  if (!packet.ParseFromString(message.payload)) return false;
  switch (packet.message_case()) {
    case ToAgent::kHello:
      if (packet.hello().protocol() != kProtocol) {
        log::warn("handover_refused",
                  {{"reason", str_cat("protocol ", packet.hello().protocol(), ", expected ", kProtocol)}});
        return false;
      }
      connection.hello = true;
      connection.abilities.judges_inbound = packet.hello().judges_inbound();
      if (!connection.abilities.judges_inbound) {
        log::warn("proxy_judges_no_plain_connections",
                  {{"pid", connection.peer.pid},
                   {"version", packet.hello().version()},
                   {"next", "bring the weft-proxy of this agent's version"}});
      }
      return true;
    case ToAgent::kHeld: {
      if (!connection.hello || connection.ready || message.fds.empty() || connection.held.size() >= kMaxHeld)
        return false;
      auto fds = std::make_shared<NamespaceFds>();
      fds->netns = std::move(message.fds.front());
      for (size_t i = 1; i < message.fds.size(); ++i) fds->listeners.push_back(std::move(message.fds[i]));
      const auto& ns = packet.held().namespace_();
      connection.held.push_back(
          HeldNamespace{ns.netns_cookie(), ns.workload_uid(), std::move(fds), ns.confined()});
      return true;
    }
    case ToAgent::kHeldEnd:
      if (!connection.hello || connection.ready) return false;
      connection.ready = true;
      log::info("proxy_connected", {{"pid", connection.peer.pid}, {"held", connection.held.size()}});
      events_.ready(connection.id, connection.peer, connection.abilities, std::exchange(connection.held, {}));
      return true;
    case ToAgent::kAck:
      return acknowledge(connection, packet.ack().netns_cookie(), packet.ack().error());
    case ToAgent::MESSAGE_NOT_SET:
      break;
  }
  return false;
}

bool HandoverServer::acknowledge(Connection& connection, uint64_t cookie, const std::string& error) {
  if (connection.acks.empty() || connection.acks.front().netns_cookie != cookie) return false;
  const PendingAck ack = std::move(connection.acks.front());
  connection.acks.pop_front();
  if (connection.id == current_) {
    const std::lock_guard lock(mutex_);
    if (ack.adds && error.empty())
      served_.insert(cookie);
    else
      served_.erase(cookie);
    if (error.empty())
      refused_.erase(cookie);
    else
      refused_[cookie] = error;
    answered_.notify_all();
  }
  ack.done(error.empty() ? absl::OkStatus() : absl::InternalError(str_cat("the proxy refused: ", error)));
  return true;
}

bool HandoverServer::flush(Connection& connection) {
  while (!connection.out.empty()) {
    const Outgoing& next = connection.out.front();
    std::vector<int> fds;
    if (next.fds != nullptr) {
      fds.push_back(next.fds->netns.get());
      for (const UniqueFd& listener : next.fds->listeners) {
        if (connection.abilities.judges_inbound || !is_plain_inbound(listener)) fds.push_back(listener.get());
      }
    }
    if (next.with_heartbeat) fds.push_back(options_.heartbeat_fd);
    const absl::Status sent = send_with_fds(connection.socket.get(), next.payload, fds);
    // A dead peer reports POLLHUP too, which ends the connection in read().
    if (absl::IsUnavailable(sent)) return true;
    if (!sent.ok()) {
      log::warn("handover_send_failed", {{"error", sent.message()}});
      return false;
    }
    connection.out.pop_front();
  }
  return true;
}

void HandoverServer::queue(Connection& connection, std::string payload,
                           std::shared_ptr<const NamespaceFds> fds) {
  connection.out.push_back(Outgoing{.payload = std::move(payload), .fds = std::move(fds)});
}

void HandoverServer::expect_ack(Connection& connection, uint64_t cookie, bool adds, Done done) {
  connection.acks.push_back(
      PendingAck{cookie, adds, SteadyClock::now() + options_.ack_deadline, std::move(done)});
}

void HandoverServer::drop(uint64_t id, const std::string& reason) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  log::info("proxy_disconnected", {{"pid", it->second.peer.pid}, {"reason", reason}});
  std::deque<PendingAck> acks = std::move(it->second.acks);
  const bool was_current = id == current_;
  connections_.erase(it);
  for (PendingAck& ack : acks)
    ack.done(absl::UnavailableError(str_cat("the proxy did not answer: ", reason)));
  if (!was_current) return;
  current_ = 0;
  {
    const std::lock_guard lock(mutex_);
    served_.clear();
    refused_.clear();
    proxy_pid_ = 0;
    answered_.notify_all();
  }
  // An older proxy that is still here must introduce itself again: it knows nothing of what happened since.
  std::vector<uint64_t> older;
  for (const auto& [other, connection] : connections_) {
    if (connection.ready) older.push_back(other);
  }
  for (const uint64_t other : older) drop(other, "a newer proxy came and went");
  events_.gone();
}

HandoverServer::Connection* HandoverServer::current() {
  const auto it = connections_.find(current_);
  return it == connections_.end() ? nullptr : &it->second;
}

namespace {

std::string add_packet(const Announcement& announcement) {
  ToProxy packet;
  packet.mutable_add()->set_netns_cookie(announcement.netns_cookie);
  packet.mutable_add()->set_workload_uid(announcement.workload_uid);
  packet.mutable_add()->set_confined(announcement.confined);
  return packet.SerializeAsString();
}

}  // namespace

void HandoverServer::snapshot(uint64_t id, std::vector<Announcement> add, std::vector<uint64_t> keep) {
  post([this, id, add = std::move(add), keep = std::move(keep)] {
    const auto it = connections_.find(id);
    // A newer proxy may have been answered first.
    if (it == connections_.end() || id < current_) return;
    Connection& connection = it->second;
    current_ = id;
    {
      const std::lock_guard lock(mutex_);
      served_.clear();
      refused_.clear();
      proxy_pid_ = connection.peer.pid;
    }
    if (options_.heartbeat_fd >= 0) {
      ToProxy beat;
      beat.mutable_heartbeat();
      connection.out.push_back(Outgoing{.payload = beat.SerializeAsString(), .with_heartbeat = true});
    }
    const auto report = [](const absl::Status& status) {
      if (!status.ok()) log::warn("proxy_refused_namespace", {{"error", status.message()}});
    };
    for (const uint64_t cookie : keep) {
      ToProxy packet;
      packet.mutable_keep()->set_netns_cookie(cookie);
      queue(connection, packet.SerializeAsString(), nullptr);
      expect_ack(connection, cookie, true, report);
    }
    for (const Announcement& announcement : add) {
      queue(connection, add_packet(announcement), announcement.fds);
      expect_ack(connection, announcement.netns_cookie, true, report);
    }
    ToProxy end;
    end.mutable_snapshot_end();
    queue(connection, end.SerializeAsString(), nullptr);
    if (!flush(connection)) drop(id, "cannot send");
  });
}

void HandoverServer::add(Announcement announcement, Done done) {
  post([this, announcement = std::move(announcement), done = std::move(done)] {
    Connection* connection = current();
    if (connection == nullptr) {
      done(absl::UnavailableError("no proxy is connected"));
      return;
    }
    queue(*connection, add_packet(announcement), announcement.fds);
    expect_ack(*connection, announcement.netns_cookie, true, done);
    if (!flush(*connection)) drop(current_, "cannot send");
  });
}

void HandoverServer::remove(uint64_t netns_cookie, Done done) {
  post([this, netns_cookie, done = std::move(done)] {
    Connection* connection = current();
    if (connection == nullptr) {
      done(absl::UnavailableError("no proxy is connected"));
      return;
    }
    ToProxy packet;
    packet.mutable_remove()->set_netns_cookie(netns_cookie);
    queue(*connection, packet.SerializeAsString(), nullptr);
    expect_ack(*connection, netns_cookie, false, done);
    if (!flush(*connection)) drop(current_, "cannot send");
  });
}

absl::Status HandoverServer::wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto decided = [this, netns_cookie] {
    return proxy_pid_ == 0 || served_.contains(netns_cookie) || refused_.contains(netns_cookie);
  };
  if (!answered_.wait_for(lock, timeout, decided))
    return absl::DeadlineExceededError("the proxy did not answer in time");
  if (proxy_pid_ == 0) return absl::UnavailableError("no proxy is connected");
  if (served_.contains(netns_cookie)) return absl::OkStatus();
  return absl::InternalError(str_cat("the proxy refused: ", refused_.at(netns_cookie)));
}

std::set<uint64_t> HandoverServer::served() const {
  const std::lock_guard lock(mutex_);
  return served_;
}

pid_t HandoverServer::proxy_pid() const {
  const std::lock_guard lock(mutex_);
  return proxy_pid_;
}

}  // namespace weft::agent
