// Upstream connections of one worker. Idle ones wait in a stack per (endpoint, source namespace, protocol):
// the newest is taken first, the oldest times out. An idle connection that becomes readable has ended and is
// closed. Where connections are limited, exchanges wait their turn. They come by StreamRequest
// (stream_request.h). Worker thread only.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/upstream/connector.h"
#include "userspace-proxy/upstream/http1_upstream.h"
#include "userspace-proxy/upstream/http2_upstream.h"

namespace weft::proxy {

// Each counts per worker and (endpoint, source namespace, protocol).
struct UpstreamLimits {
  uint64_t idle_ms = 60'000;
  uint32_t max_idle = 256;        // beyond that a connection that becomes idle is closed
  uint32_t max_connections = 0;   // 0: no limit
  uint32_t max_waiting = 1024;    // exchanges that wait for a connection
  uint64_t max_wait_ms = 10'000;  // how long one of them waits
  uint32_t max_head_bytes = 64 * 1024;
};

class StreamRequest;

// What a worker has to one key.
struct UpstreamPoolEntry {
  explicit UpstreamPoolEntry(const UpstreamKey& k) : key(k) {}
  const UpstreamKey key;
  IntrusiveList<Http1Upstream> idle;     // owned; the newest first
  IntrusiveList<StreamRequest> waiting;  // the oldest first
  uint32_t open = 0;                     // idle, dialled or in use
  uint32_t idle_count = 0;
  uint32_t waiting_count = 0;
};

class UpstreamPool {
 public:
  UpstreamPool(EventLoop& loop, BufferPool& buffers, const HomeNetns& home, const UpstreamLimits& limits)
      : loop_(loop), buffers_(buffers), home_(home), limits_(limits) {}
  ~UpstreamPool();

  // Forgets endpoints to which no connection is kept. Not per request: an entry in use keeps its memory.
  void prune();
  // Closes every idle connection.
  void clear();

  const HomeNetns& home() const { return home_; }
  EventLoop& loop() { return loop_; }
  BufferPool& buffers() { return buffers_; }
  const UpstreamLimits& limits() const { return limits_; }
  const Http2Limits& http2_limits() const { return http2_limits_; }
  // An HTTP/2 connection came to be, or is gone.
  void http2_opened() { ++open_; }
  void http2_closed() { --open_; }
  uint64_t open() const { return open_; }
  uint64_t idle() const { return idle_; }

  // Counts a connection that is none of the pool's among the open ones.
  class OpenCount {
   public:
    explicit OpenCount(UpstreamPool& pool) : pool_(pool) { ++pool_.open_; }
    ~OpenCount() { --pool_.open_; }
    OpenCount(const OpenCount&) = delete;
    OpenCount& operator=(const OpenCount&) = delete;

   private:
    UpstreamPool& pool_;
  };

 private:
  friend class Http1Upstream;
  friend class StreamRequest;

  // A connection with room for one more stream; else, or when `fresh`, a new one that the caller dials.
  Http2Upstream& http2(const UpstreamKey& key, bool fresh, bool* made);
  UpstreamPoolEntry& entry(const UpstreamKey& key);
  // An idle connection, or null.
  std::unique_ptr<Http1Upstream> take(UpstreamPoolEntry& entry);
  std::unique_ptr<Http1Upstream> make(UpstreamPoolEntry& entry);
  bool full(const UpstreamPoolEntry& entry) const {
    return limits_.max_connections > 0 && entry.open >= limits_.max_connections;
  }
  // To the exchange that waits longest, else to the idle ones. Only a connection whose last response was
  // complete and which said nothing more.
  void give(Http1Upstream* connection);
  // Closes it; its place goes to the exchange that waits longest.
  void discard(Http1Upstream* connection);
  void remove_idle(Http1Upstream& connection);

  EventLoop& loop_;
  BufferPool& buffers_;
  const HomeNetns& home_;
  const UpstreamLimits limits_;
  uint64_t open_ = 0;
  uint64_t idle_ = 0;
  Http1TextPool<ResponseHead> texts_;
  absl::flat_hash_map<UpstreamKey, std::unique_ptr<UpstreamPoolEntry>> entries_;
  const Http2Limits http2_limits_ = upstream_http2_limits();
  // Those that take streams, or will; the newest first.
  absl::flat_hash_map<UpstreamKey, std::unique_ptr<IntrusiveList<Http2Upstream>>> http2_;
};

}  // namespace weft::proxy
