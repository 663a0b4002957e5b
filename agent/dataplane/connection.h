// One open TCP connection of an enrolled namespace, as the dataplane describes it to its callers. Plain data.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/clock.h"

namespace weft::agent {

struct OpenConnection {
  enum class Path : uint8_t {
    kDirect,     // dialled a service, the kernel picked the backend
    kProxy,      // captured: the node proxy is its peer, and dials for it (kUpstream)
    kUpstream,   // dialled by the proxy for this workload
    kPass,       // dialled, and left alone
    kInbound,    // accepted by the application
    kInspected,  // accepted by the proxy before the application
  };
  Path path = Path::kPass;
  uint8_t state = 0;  // BPF_TCP_* of <linux/bpf.h>
  SocketAddress local;
  SocketAddress remote;
  SocketAddress dialled;  // by the client; `remote` unless kDirect, `local` of what was accepted
  // Ids as it is measured under; 0: unknown, as for a connection that is older than the enrolment.
  uint32_t source = 0;
  uint32_t destination = 0;
  MonotonicNs started_ns = 0;   // established, or dialled while it is not; 0: unknown
  uint64_t sent_bytes = 0;      // of the application, acknowledged by the peer
  uint64_t received_bytes = 0;  // of the application
  uint32_t rtt_us = 0;          // smoothed; 0: no sample yet
  uint32_t retransmits = 0;     // segments

  bool inbound() const { return path == Path::kInbound || path == Path::kInspected; }
};

}  // namespace weft::agent
