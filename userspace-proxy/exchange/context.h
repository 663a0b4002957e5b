// What one worker lends to its sessions and exchanges: loop, memory, pools, balancer, sink, limits. Owned by
// the worker, plain members, one thread. Nothing here decides anything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/netns.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/telemetry/exchange_record.h"
#include "userspace-proxy/upstream/balancer.h"
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

// Text of one exchange: both heads as received and as sent. Reused, so that its strings keep their memory.
struct Scratch {
  HeadText request_text, response_text;
  RequestHead request;
  ResponseHead response;
  std::string request_target;  // where the target had to be rewritten
  std::string request_out, response_out;
};

class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give(std::unique_ptr<Scratch> scratch) {
    if (free_.size() >= kMaxFree) return;
    scratch->request_text.shrink(kKeepBytes);
    scratch->response_text.shrink(kKeepBytes);
    for (std::string* text : {&scratch->request_target, &scratch->request_out, &scratch->response_out}) {
      if (text->capacity() > kKeepBytes) std::string().swap(*text);
    }
    free_.push_back(std::move(scratch));
  }

 private:
  static constexpr size_t kMaxFree = 1024;
  static constexpr size_t kKeepBytes = 16 * 1024;
  std::vector<std::unique_ptr<Scratch>> free_;
};

// Where captured connections of one listener come from. Lives as long as any of them.
struct CaptureOrigin {
  uint64_t netns_cookie = 0;
  std::string workload_uid;
  UniqueFd netns;  // invalid: dial from here
  // Index of the source in the generation it was last looked up in.
  uint64_t source_generation = ~uint64_t{0};
  uint32_t source = kNone;
};

struct ExchangeLimits {
  uint64_t head_timeout_ms = 60'000;
  uint64_t sniff_timeout_ms = 50;
  uint64_t downstream_idle_ms = 3'600'000;
  uint64_t exchange_idle_ms = 300'000;
  uint32_t max_head_bytes = 64 * 1024;
};

struct ProxyContext {
  EventLoop& loop;
  BufferPool& buffers;
  UpstreamPool& pool;
  Balancer& balancer;
  const HomeNetns& home;
  ExchangeSink& sink;
  ExchangeLimits limits;
  ScratchPool scratch;
  GenerationRef current;
  bool draining = false;
  uint64_t active_exchanges = 0;
};

inline uint32_t source_of(CaptureOrigin& origin, const Snapshot& snapshot) {
  if (origin.source_generation != snapshot.generation) {
    origin.source = snapshot.find_source(origin.workload_uid);
    origin.source_generation = snapshot.generation;
  }
  return origin.source;
}

}  // namespace weft::proxy
