// The thread of HandoverClient: connect, Hello, Held…, HeldEnd, then serve what the agent says until the
// socket ends. Never drops a namespace because the agent is away; only Remove, or absence from a complete
// list, does.
#include "userspace-proxy/handover/handover_client.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <set>
#include <thread>

#include "base/backoff.h"
#include "base/fd_passing.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "proto/weft/handover/v1/handover.pb.h"
#include "userspace-proxy/handover/served_namespaces.h"

namespace weft::proxy {
namespace {

namespace handover = weft::handover::v1;

constexpr uint32_t kProtocol = 1;
// An agent that does not read for this long is treated as gone.
constexpr time_t kSendTimeoutSeconds = 5;

absl::StatusOr<UniqueFd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        str_cat(path, ": too long for a Unix socket; choose a shorter --run-dir"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno_status("open handover socket", errno);
  const timeval timeout{kSendTimeoutSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return errno_status(str_cat("connect ", path), errno);
  }
  return fd;
}

class SocketHandoverClient final : public HandoverClient {
 public:
  SocketHandoverClient(Options options, std::vector<Worker*> workers, UniqueFd stop)
      : options_(std::move(options)),
        served_(std::move(workers)),
        stop_(std::move(stop)),
        thread_([this] { run(); }) {}

  ~SocketHandoverClient() override {
    const uint64_t one = 1;
    // An eventfd that is full is readable already.
    [[maybe_unused]] const ssize_t ignored = ::write(stop_.get(), &one, sizeof(one));
    thread_.join();
  }

 private:
  void run() {
    Backoff backoff(options_.backoff_min, options_.backoff_max);
    bool reported = false;
    for (;;) {
      bool connected = false;
      const absl::Status status = session(&connected);
      if (status.ok()) return;
      if (connected) backoff.reset();
      if (connected || !reported) {
        log::warn("handover_ended", {{"path", options_.socket_path},
                                     {"error", std::string(status.message())},
                                     {"namespaces", served_.all().size()},
                                     {"next", "still serving, reconnecting; is weft-agent running?"}});
        reported = true;
      }
      if (wait_for(-1, static_cast<int>(backoff.next().count())) == Event::kStop) return;
    }
  }

  enum class Event { kStop, kReadable, kTimeout };
  // `socket` -1: only the stop event and the time.
  Event wait_for(int socket, int timeout_ms) {
    pollfd fds[] = {{stop_.get(), POLLIN, 0}, {socket, POLLIN, 0}};
    int ready = 0;
    do {
      ready = ::poll(fds, 2, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (fds[0].revents != 0) return Event::kStop;
    return fds[1].revents != 0 ? Event::kReadable : Event::kTimeout;
  }

  // OK only when told to stop.
  absl::Status session(bool* connected) {
    ASSIGN_OR_RETURN(const UniqueFd socket, connect_to(options_.socket_path));
    RETURN_IF_ERROR(greet(socket.get()));
    *connected = true;
    confirmed_.clear();
    while (wait_for(socket.get(), -1) != Event::kStop) {
      ASSIGN_OR_RETURN(FdMessage packet, receive_with_fds(socket.get()));
      handover::ToProxy message;
      if (!message.ParseFromString(packet.payload))
        return absl::DataLossError("packet is not a ToProxy message");
      RETURN_IF_ERROR(handle(socket.get(), message, std::move(packet.fds)));
    }
    return absl::OkStatus();
  }

  absl::Status send(int socket, const handover::ToAgent& message, const std::vector<int>& fds = {}) {
    return send_with_fds(socket, message.SerializeAsString(), fds);
  }

  absl::Status greet(int socket) {
    handover::ToAgent hello;
    hello.mutable_hello()->set_protocol(kProtocol);
    hello.mutable_hello()->set_version(options_.version);
    hello.mutable_hello()->set_judges_inbound(true);
    RETURN_IF_ERROR(send(socket, hello));
    for (const auto& [cookie, served] : served_.all()) {
      handover::ToAgent held;
      held.mutable_held()->mutable_namespace_()->set_netns_cookie(cookie);
      held.mutable_held()->mutable_namespace_()->set_workload_uid(served.workload_uid);
      held.mutable_held()->mutable_namespace_()->set_confined(served.confined);
      std::vector<int> fds = {served.netns.get()};
      for (const UniqueFd& listener : served.listeners) fds.push_back(listener.get());
      RETURN_IF_ERROR(send(socket, held, fds));
    }
    handover::ToAgent end;
    end.mutable_held_end();
    return send(socket, end);
  }

  absl::Status handle(int socket, const handover::ToProxy& message, std::vector<UniqueFd> fds) {
    switch (message.message_case()) {
      case handover::ToProxy::kAdd:
        return acknowledge(socket, message.add().netns_cookie(), add(message.add(), std::move(fds)));
      case handover::ToProxy::kKeep:
        return acknowledge(socket, message.keep().netns_cookie(), keep(message.keep().netns_cookie()));
      case handover::ToProxy::kRemove:
        served_.remove(message.remove().netns_cookie());
        tell_served();
        log::info("namespace_removed", {{"netns_cookie", message.remove().netns_cookie()}});
        return acknowledge(socket, message.remove().netns_cookie(), absl::OkStatus());
      case handover::ToProxy::kSnapshotEnd:
        remove_unconfirmed();
        return absl::OkStatus();
      case handover::ToProxy::kHeartbeat:
        take_heartbeat(std::move(fds));
        return absl::OkStatus();
      case handover::ToProxy::MESSAGE_NOT_SET:
        break;
    }
    // A newer agent may say more; what it needs answered it will notice.
    log::warn("handover_message_unknown",
              {{"next", "install the same version of weft-agent and weft-proxy"}});
    return absl::OkStatus();
  }

  // Without a beat the kernel takes the proxy for dead, but what is connected is still served.
  void take_heartbeat(std::vector<UniqueFd> fds) {
    absl::Status taken = absl::InvalidArgumentError("no descriptor came with it");
    if (fds.size() == 1 && options_.heartbeat) taken = options_.heartbeat(std::move(fds.front()));
    if (!taken.ok()) log::error("heartbeat_refused", {{"error", std::string(taken.message())}});
  }

  absl::Status add(const handover::Namespace& ns, std::vector<UniqueFd> fds) {
    ServedNamespace served;
    served.workload_uid = ns.workload_uid();
    served.confined = ns.confined();
    if (!fds.empty()) served.netns = std::move(fds.front());
    for (size_t i = 1; i < fds.size(); ++i) served.listeners.push_back(std::move(fds[i]));
    RETURN_IF_ERROR(served_.add(ns.netns_cookie(), std::move(served)));
    tell_served();
    confirmed_.insert(ns.netns_cookie());
    log::info("namespace_added", {{"netns_cookie", ns.netns_cookie()}, {"workload", ns.workload_uid()}});
    return absl::OkStatus();
  }

  void tell_served() {
    if (!options_.served) return;
    std::set<std::string> uids;
    for (const auto& [cookie, served] : served_.all()) uids.insert(served.workload_uid);
    options_.served(std::move(uids));
  }

  absl::Status keep(uint64_t cookie) {
    if (!served_.all().contains(cookie)) return absl::NotFoundError("not held; send Add with its listeners");
    confirmed_.insert(cookie);
    return absl::OkStatus();
  }

  absl::Status acknowledge(int socket, uint64_t cookie, const absl::Status& result) {
    handover::ToAgent ack;
    ack.mutable_ack()->set_netns_cookie(cookie);
    if (!result.ok()) {
      ack.mutable_ack()->set_error(std::string(result.message()));
      log::error("namespace_refused", {{"netns_cookie", cookie}, {"error", std::string(result.message())}});
    }
    return send(socket, ack);
  }

  void remove_unconfirmed() {
    std::vector<uint64_t> gone;
    for (const auto& [cookie, served] : served_.all()) {
      if (!confirmed_.contains(cookie)) gone.push_back(cookie);
    }
    for (const uint64_t cookie : gone) served_.remove(cookie);
    tell_served();
  }

  const Options options_;
  ServedNamespaces served_;       // client thread only
  std::set<uint64_t> confirmed_;  // by Add or Keep on this connection
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HandoverClient>> HandoverClient::start(Options options,
                                                                      std::vector<Worker*> workers) {
  if (workers.empty()) return absl::InvalidArgumentError("handover needs at least one worker");
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return errno_status("open eventfd", errno);
  return std::make_unique<SocketHandoverClient>(std::move(options), std::move(workers), std::move(stop));
}

}  // namespace weft::proxy
