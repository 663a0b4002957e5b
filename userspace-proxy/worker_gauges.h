// What a worker says of itself to other threads: it writes at the end of its turns, they read whenever they
// like.
#pragma once

#include <atomic>

#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

struct Gauges {
  std::atomic<uint64_t> downstream{0}, upstream{0}, idle{0}, exchanges{0}, generation{0};
  std::atomic<uint64_t> buffered{0}, heads{0}, overloaded{0}, shed{0}, refused{0}, evicted{0},
      accept_failures{0};
  std::atomic<uint64_t> shadow_allowed{0}, shadow_denied{0}, audited{0};
  std::atomic<uint64_t> provider_allowed{0}, provider_denied{0}, provider_failed{0};

  // What the context knows.
  void take(ProxyContext& context) {
    buffered.store(context.loop.buffers().bytes(), std::memory_order_relaxed);
    heads.store(context.held_head_bytes, std::memory_order_relaxed);
    overloaded.store(context.admission.overloaded() ? 1 : 0, std::memory_order_relaxed);
    shed.store(context.admission.shed(), std::memory_order_relaxed);
    shadow_allowed.store(context.shadow.allowed, std::memory_order_relaxed);
    shadow_denied.store(context.shadow.denied, std::memory_order_relaxed);
    audited.store(context.shadow.audited, std::memory_order_relaxed);
    provider_allowed.store(context.external.allowed, std::memory_order_relaxed);
    provider_denied.store(context.external.denied, std::memory_order_relaxed);
    provider_failed.store(context.external.failed, std::memory_order_relaxed);
    upstream.store(context.pool.open(), std::memory_order_relaxed);
    idle.store(context.pool.idle(), std::memory_order_relaxed);
    exchanges.store(context.active_exchanges, std::memory_order_relaxed);
  }
  // Without what the loop and the fault counters hold.
  WorkerGauges values() const {
    WorkerGauges out;
    out.downstream_connections = downstream.load(std::memory_order_relaxed);
    out.upstream_connections = upstream.load(std::memory_order_relaxed);
    out.upstream_idle = idle.load(std::memory_order_relaxed);
    out.active_exchanges = exchanges.load(std::memory_order_relaxed);
    out.buffered_bytes = buffered.load(std::memory_order_relaxed);
    out.held_head_bytes = heads.load(std::memory_order_relaxed);
    out.overloaded = overloaded.load(std::memory_order_relaxed);
    out.shed_requests = shed.load(std::memory_order_relaxed);
    out.shadow_allowed = shadow_allowed.load(std::memory_order_relaxed);
    out.shadow_denied = shadow_denied.load(std::memory_order_relaxed);
    out.audited = audited.load(std::memory_order_relaxed);
    out.provider_allowed = provider_allowed.load(std::memory_order_relaxed);
    out.provider_denied = provider_denied.load(std::memory_order_relaxed);
    out.provider_failed = provider_failed.load(std::memory_order_relaxed);
    out.refused_connections = refused.load(std::memory_order_relaxed);
    out.evicted_connections = evicted.load(std::memory_order_relaxed);
    out.accept_failures = accept_failures.load(std::memory_order_relaxed);
    return out;
  }
};

}  // namespace weft::proxy
