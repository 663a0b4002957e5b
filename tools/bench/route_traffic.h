// Requests at a fixed rate through a real worker, all on the loopback interface: whose latency shows what a
// change of configuration does to traffic. Used by weft-bench-route; no root.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "tools/bench/load.h"
#include "tools/bench/route_window.h"
#include "userspace-proxy/telemetry/exchange_record.h"
#include "userspace-proxy/worker.h"

namespace weft::bench {

// Answers every request without a body with 200 and so many bytes, on a thread of its own.
class FixedUpstream {
 public:
  explicit FixedUpstream(const char* at = "127.0.0.1:0", size_t body_bytes = 3);
  ~FixedUpstream();
  const SocketAddress& address() const { return address_; }

 private:
  void run();
  void accept_one();
  // False: the connection has ended.
  bool answer(int fd) const;

  const std::string answer_;
  SocketAddress address_;
  UniqueFd listener_, stop_, epoll_;
  std::vector<UniqueFd> connections_;
  std::thread thread_;
};

// All of Weft, its workers and what changes their configuration, is on CPU 0; clients and upstream, which
// measure, are on the last one, before everything else there where that is allowed. So what is seen is what
// Weft's threads do to each other, at its worst, and not what the benchmark's do.
void run_where_weft_runs();

// A worker and its clients.
class RouteTraffic {
 public:
  RouteTraffic();

  const SocketAddress& dialled() const { return dialled_; }
  const SocketAddress& upstream() const { return upstream_.address(); }
  proxy::Worker& worker() { return *worker_; }
  // Until the worker uses that generation.
  void wait_for(uint64_t generation) const;
  // Clients and upstream may be ahead of other threads (SCHED_FIFO).
  static bool has_priority();
  // Milliseconds that the worker has waited for its CPU, so far.
  double waited_ms() const;
  // Percentile 99 of the latency in microseconds of `rate` requests per second on 16 connections, counted
  // from when each was due. Exits the program when one fails.
  double p99_us(double seconds, double rate);
  // Of the last p99_us().
  const std::vector<Answered>& answers() const { return answers_; }

 private:
  class NoRecords final : public proxy::ExchangeSink {
   public:
    void record(const proxy::ExchangeRecord&, const proxy::Snapshot&) override {}
  };

  NoRecords sink_;
  FixedUpstream upstream_;
  SocketAddress dialled_;
  std::string worker_task_;  // its number
  std::unique_ptr<proxy::Worker> worker_;
  std::vector<Answered> answers_;
  std::unique_ptr<Load> load_;
};

}  // namespace weft::bench
