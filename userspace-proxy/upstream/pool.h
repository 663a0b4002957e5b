// Upstream connections of one worker. Idle ones wait in a stack per (endpoint, source namespace): the newest
// is taken first, the oldest times out. An idle connection that becomes readable has ended and is closed.
// Worker thread only.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {

// Pods never share connections: the server sees the source pod's address on them.
struct UpstreamKey {
  SocketAddress address;
  uint64_t netns_cookie = 0;
  bool operator==(const UpstreamKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const UpstreamKey& k) {
    return H::combine(std::move(h), k.address, k.netns_cookie);
  }
};

class UpstreamPool;

class UpstreamConnection : public ListNode<> {
 public:
  UpstreamConnection(EventLoop& loop, BufferPool& buffers, UpstreamPool& pool, const UpstreamKey& key);
  ~UpstreamConnection();

  Socket& socket() { return socket_; }
  InputBuffer& input() { return input_; }
  const UpstreamKey& key() const { return key_; }

 private:
  friend class UpstreamPool;
  void on_readable(int) { expire(); }
  void expire();

  UpstreamPool& pool_;
  UpstreamKey key_;
  Socket socket_;
  InputBuffer input_;
  Operation watch_{this, method<&UpstreamConnection::on_readable>};
  Timer idle_{this, method<&UpstreamConnection::expire>};
};

class UpstreamPool {
 public:
  UpstreamPool(EventLoop& loop, uint64_t idle_ms) : loop_(loop), idle_ms_(idle_ms) {}
  ~UpstreamPool();

  // An idle connection, or null: the caller dials.
  std::unique_ptr<UpstreamConnection> take(const UpstreamKey& key);
  // Back to the idle ones. Only a connection whose last response was complete and which said nothing more.
  void give(std::unique_ptr<UpstreamConnection> connection);
  // Closes every idle connection.
  // Forgets endpoints to which no connection is kept. Not per request: a stack in use keeps its memory.
  void prune();
  void clear();

  uint64_t open() const { return open_; }
  uint64_t idle() const { return idle_; }

 private:
  friend class UpstreamConnection;
  using Stack = IntrusiveList<UpstreamConnection>;
  void remove_idle(UpstreamConnection& connection);

  EventLoop& loop_;
  uint64_t idle_ms_;
  uint64_t open_ = 0;
  uint64_t idle_ = 0;
  absl::flat_hash_map<UpstreamKey, std::unique_ptr<Stack>> stacks_;
};

}  // namespace weft::proxy
