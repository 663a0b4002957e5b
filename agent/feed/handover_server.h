// The server of <run-dir>/handover.sock (proto/weft/handover): hands pods' listeners to the proxy and takes
// back what a running proxy still holds. One thread, one poll loop. The newest proxy that finished its Hello
// is the one that is served; an older one (an upgrade overlaps) is left alone until the newest goes away.
// Never closes a pod's listener.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/feed/proxy_feed.h"
#include "agent/feed/unix_socket.h"
#include "base/fd_passing.h"

namespace weft::agent {

class HandoverServer final : public ProxyFeed {
 public:
  struct Options {
    std::string path;
    SocketAccess access;
    std::chrono::milliseconds ack_deadline{5000};
    // The map that a proxy beats into; -1: none. Borrowed.
    int heartbeat_fd = -1;
  };
  // Called on the server's thread; must not block.
  struct Events {
    std::function<void(uint64_t connection, Peer peer, ProxyAbilities abilities,
                       std::vector<HeldNamespace> held)>
        ready;
    std::function<void()> gone;
  };

  explicit HandoverServer(Options options) : options_(std::move(options)) {}
  ~HandoverServer() override;
  // Opens the socket; called once, when the pods are known: a proxy drains what its first snapshot leaves
  // out.
  absl::Status start(Events events);
  // Ends the thread and all connections; no event comes afterwards. The destructor does it too.
  void stop();

  void snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) override;
  void add(Announcement announcement, Done done) override;
  void remove(uint64_t netns_cookie, Done done) override;
  absl::Status wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) override;

  // Namespaces that the current proxy has acknowledged; empty without a proxy.
  std::set<uint64_t> served() const;
  // 0: no proxy.
  pid_t proxy_pid() const;

 private:
  struct Outgoing {
    std::string payload;
    std::shared_ptr<const NamespaceFds> fds;
    bool with_heartbeat = false;
  };
  struct PendingAck {
    uint64_t netns_cookie = 0;
    bool adds = false;
    std::chrono::steady_clock::time_point deadline;
    Done done;
  };
  struct Connection {
    uint64_t id = 0;
    UniqueFd socket;
    Peer peer;
    ProxyAbilities abilities;
    bool hello = false;
    bool ready = false;  // HeldEnd came
    std::chrono::steady_clock::time_point hello_deadline;
    std::vector<HeldNamespace> held;
    std::deque<Outgoing> out;
    std::deque<PendingAck> acks;
  };

  void run();
  void post(std::function<void()> command);
  void run_commands();
  void accept_one();
  int poll_timeout() const;
  void expire();
  // These are false when the connection must go.
  bool read(Connection& connection);
  bool handle(Connection& connection, FdMessage message);
  bool flush(Connection& connection);
  bool acknowledge(Connection& connection, uint64_t cookie, const std::string& error);
  void queue(Connection& connection, std::string payload, std::shared_ptr<const NamespaceFds> fds);
  void expect_ack(Connection& connection, uint64_t cookie, bool adds, Done done);
  void drop(uint64_t id, const std::string& reason);
  Connection* current();

  Options options_;
  Events events_;
  UniqueFd listener_;
  UniqueFd wake_;
  std::thread thread_;

  // The server's thread only.
  std::map<uint64_t, Connection> connections_;
  uint64_t last_id_ = 0;
  uint64_t current_ = 0;

  mutable std::mutex mutex_;
  std::vector<std::function<void()>> commands_;
  std::condition_variable answered_;
  std::set<uint64_t> served_;
  std::map<uint64_t, std::string> refused_;
  pid_t proxy_pid_ = 0;
  bool stopping_ = false;
};

}  // namespace weft::agent
