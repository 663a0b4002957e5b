// Two workers as two nodes would have them, a client and a server, all on the loopback interface: what mutual
// TLS takes of the node that sends, and how fast bytes go through it. Used by weft-bench-tls; no root. Port
// 15008 of 127.0.1.1 must be free.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "tools/bench/load.h"
#include "tools/bench/route_traffic.h"
#include "tools/bench/tls_handshake.h"
#include "userspace-proxy/worker.h"

namespace weft::bench {

// A worker whose thread's CPU time is known.
class MeasuredWorker {
 public:
  MeasuredWorker();
  proxy::Worker& operator*() { return *worker_; }
  proxy::Worker* operator->() { return worker_.get(); }
  double cpu_seconds() const;

 private:
  class NoRecords final : public proxy::ExchangeSink {
   public:
    void record(const proxy::ExchangeRecord&, const proxy::Snapshot&) override {}
  };
  NoRecords sink_;
  std::unique_ptr<proxy::Worker> worker_;
  int clock_ = 0;
};

// Sends as much as is taken to whoever connects, each on a thread of its own.
class EndlessServer {
 public:
  EndlessServer();
  ~EndlessServer();
  uint16_t port() const { return address_.port; }

 private:
  void run();

  SocketAddress address_;
  UniqueFd listener_;
  std::thread thread_;
};

class TlsTraffic {
 public:
  explicit TlsTraffic(const TlsPair& pair);
  ~TlsTraffic();

  enum class Way : uint8_t { kPlain, kTunnel };
  // CPU microseconds of the sending node's worker for each request of 1 KB answers on 16 connections that
  // stay open. Exits the program when one fails.
  double request_cpu_us(Way way, double seconds, double rate);
  // Bytes per second of one connection, from the server through both workers to the client.
  double bulk_rate(Way way, double seconds) const;

 private:
  proxy::SnapshotPtr snapshot(const TlsPair& pair, uint16_t capture, uint16_t relay) const;

  FixedUpstream answers_;
  EndlessServer bytes_;
  MeasuredWorker sender_, receiver_;
  uint16_t capture_ = 0;
  std::unique_ptr<Load> loads_[2];
};

}  // namespace weft::bench
