// Upstream connections of one worker. Idle ones wait in a stack per (endpoint, source namespace, protocol):
// the newest is taken first, the oldest times out, those beyond a number soon: not at once, or what a burst
// dialled would be dialled again for the next one, and its ports be taken up by connections in TIME_WAIT
// until connect(2) searches all of them for a free one. An idle connection that becomes readable has ended
// and is closed. Where connections are limited, exchanges wait their turn. They come by StreamRequest
// (stream_request.h). Worker thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/http/http2_fault_counts.h"
#include "userspace-proxy/upstream/connector.h"
#include "userspace-proxy/upstream/http1_upstream.h"
#include "userspace-proxy/upstream/http2_upstream.h"

namespace weft::proxy {

// Each but the last counts per worker and (endpoint, source namespace, protocol).
struct UpstreamLimits {
  uint64_t idle_ms = 60'000;
  uint32_t max_idle = 256;  // those beyond it are kept for surplus_idle_ms, if that is less
  uint64_t surplus_idle_ms = 5'000;
  uint32_t max_connections = 0;     // 0: no limit; HTTP/2 ones that take no more streams do not count
  uint32_t max_streams = 100;       // on one HTTP/2 connection; the server may allow fewer
  uint32_t max_waiting = 1024;      // exchanges that wait for a connection, or for a stream on one
  uint64_t max_wait_ms = 10'000;    // how long one of them waits
  uint64_t max_pod_waiting = 1024;  // exchanges of one source that wait, for whatever endpoints
  uint32_t max_head_bytes = 64 * 1024;
};

class StreamRequest;

// What a worker has to one key.
struct UpstreamPoolEntry {
  UpstreamPoolEntry(const UpstreamKey& k, std::shared_ptr<PodUse> u, ConnectionTermsPtr t)
      : key(k), use(std::move(u)), terms(std::move(t)) {}
  const UpstreamKey key;
  const std::shared_ptr<PodUse> use;     // of the source
  const ConnectionTermsPtr terms;        // null: none
  IntrusiveList<Http1Upstream> idle;     // owned; the newest first
  IntrusiveList<Http2Upstream> http2;    // owned; those that take streams, or will; the newest first
  IntrusiveList<StreamRequest> waiting;  // the oldest first
  uint32_t open = 0;                     // idle, dialled or in use; of HTTP/2, what is in that list
  uint32_t idle_count = 0;
  uint32_t waiting_count = 0;
};

class UpstreamPool {
 public:
  UpstreamPool(EventLoop& loop, BufferPool& buffers, const HomeNetns& home, const UpstreamLimits& limits,
               Http2FaultCounts& http2_faults)
      : loop_(loop), buffers_(buffers), home_(home), limits_(limits), http2_faults_(http2_faults) {}
  ~UpstreamPool();

  // Closes idle connections whose terms are over, and forgets endpoints to which no connection is kept. Not
  // per request: an entry in use keeps its memory.
  void prune();
  // Closes every idle connection.
  void clear();
  // Closes at most `count` idle connections, those that wait longest at each endpoint first. Returns how
  // many.
  uint64_t trim(uint64_t count);
  // Closes the idle connections of a source that is gone: they would keep its namespace.
  void forget(uint64_t netns_cookie);

  // A dial found no descriptor.
  void starve() { starved_ = true; }
  // Whether that happened since the last call.
  bool take_starved() { return std::exchange(starved_, false); }

  const HomeNetns& home() const { return home_; }
  EventLoop& loop() { return loop_; }
  BufferPool& buffers() { return buffers_; }
  const UpstreamLimits& limits() const { return limits_; }
  // How long a connection of the entry is kept without use.
  uint64_t idle_ms(const ConnectionTerms* terms) const {
    return terms == nullptr ? limits_.idle_ms : idle_of(terms->settings->http_idle_ms, limits_.idle_ms);
  }
  Http1TextPool<ResponseHead>& texts() { return texts_; }
  const Http2Limits& http2_limits() const { return http2_limits_; }
  // An HTTP/2 connection came to be, or is gone.
  void http2_opened() { ++open_; }
  void http2_closed() { --open_; }
  void http2_ended_by(Http2Fault fault) { http2_faults_.add(fault); }
  // A stream or a connection of the entry may have become free: those that wait get it.
  void serve_http2(UpstreamPoolEntry& entry);
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

  // A connection with room for one more stream, now or once it is dialled; `dialling`: only the latter. Null
  // when there is none.
  static Http2Upstream* find_http2(UpstreamPoolEntry& entry, bool dialling);
  // A new one, dialled: connecting, connected, or ended when that failed at once.
  Http2Upstream& dial_http2(UpstreamPoolEntry& entry, const DialParameters& dial);
  UpstreamPoolEntry& entry(const UpstreamKey& key, const DialParameters& dial);
  // An idle connection, or null.
  std::unique_ptr<Http1Upstream> take(UpstreamPoolEntry& entry);
  std::unique_ptr<Http1Upstream> make(UpstreamPoolEntry& entry);
  bool full(const UpstreamPoolEntry& entry) const {
    if (limits_.max_connections > 0 && entry.open >= limits_.max_connections) return true;
    // Over all endpoints of the cluster; each may have one, or those that wait for it would wait for ever.
    if (entry.terms == nullptr || entry.open == 0) return false;
    const uint32_t most = entry.terms->settings->max_connections;
    return most > 0 && entry.terms->counts->connections.get() >= most;
  }
  // To the exchange that waits longest, else to the idle ones. Only a connection whose last response was
  // complete and which said nothing more.
  void give(Http1Upstream* connection);
  // Closes it; its place goes to the exchange that waits longest.
  void discard(Http1Upstream* connection);
  void remove_idle(Http1Upstream& connection);
  void close_idle(UpstreamPoolEntry& entry);

  EventLoop& loop_;
  BufferPool& buffers_;
  const HomeNetns& home_;
  const UpstreamLimits limits_;
  uint64_t open_ = 0;
  uint64_t idle_ = 0;
  bool starved_ = false;
  Http1TextPool<ResponseHead> texts_;
  absl::flat_hash_map<UpstreamKey, std::unique_ptr<UpstreamPoolEntry>> entries_;
  const Http2Limits http2_limits_ = upstream_http2_limits();
  Http2FaultCounts& http2_faults_;
};

}  // namespace weft::proxy
