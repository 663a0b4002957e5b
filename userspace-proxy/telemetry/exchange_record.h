// The one record an exchange (HTTP), connection (TCP) or tunnel that came in (HBONE) leaves behind. Views are
// valid during ExchangeSink::record only.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/clock.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {

struct ExchangeRecord {
  enum class Protocol : uint8_t { kHttp1, kHttp2, kTcp, kTunnel };
  Protocol protocol = Protocol::kHttp1;
  Outcome outcome = Outcome::kOk;
  uint16_t status = 0;  // sent to the client; 0: none
  MonotonicNs duration = 0;
  uint64_t received_bytes = 0;              // from the client: body bytes for HTTP
  uint64_t sent_bytes = 0;                  // to the client
  SocketAddress client, dialled, upstream;  // upstream all zero when none was chosen
  uint64_t snapshot_generation = 0;
  uint32_t source = 0xffffffff;    // index into Snapshot::sources
  uint32_t server = 0xffffffff;    // the same, of what comes in to one of them
  uint32_t cluster = 0xffffffff;   // index into Snapshot::clusters
  uint32_t endpoint = 0xffffffff;  // index into Cluster::endpoints
  std::string_view method, authority, path, route;
  std::string_view identity;  // of the client, as its certificate says; empty: it showed none
};

constexpr bool is_http(ExchangeRecord::Protocol protocol) {
  return protocol == ExchangeRecord::Protocol::kHttp1 || protocol == ExchangeRecord::Protocol::kHttp2;
}

// As the access log and `weft observe` show it.
constexpr std::string_view label(ExchangeRecord::Protocol protocol) {
  switch (protocol) {
    case ExchangeRecord::Protocol::kHttp1:
      return "http/1.1";
    case ExchangeRecord::Protocol::kHttp2:
      return "http/2";
    case ExchangeRecord::Protocol::kTcp:
      return "tcp";
    case ExchangeRecord::Protocol::kTunnel:
      return "hbone";
  }
  return "?";
}

class Snapshot;

class ExchangeSink {
 public:
  virtual ~ExchangeSink() = default;
  // Worker thread only; called exactly once per exchange. Must not block or throw; allocation only for a
  // series seen first.
  virtual void record(const ExchangeRecord& record, const Snapshot& snapshot) = 0;
};

}  // namespace weft::proxy
