// Connector: dials a socket in the source's network namespace, with a deadline. Used by the pool for HTTP and
// by TCP exchanges. Worker thread only.
#pragma once

#include <cstdint>

#include "userspace-proxy/net/netns.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/wait_slot.h"
#include "userspace-proxy/telemetry/pod_use.h"
#include "userspace-proxy/upstream/connection_terms.h"

namespace weft::proxy {

enum class ConnectStatus : uint8_t {
  kWaiting,
  kConnected,
  kRefused,
  kTimeout,
  kFailed,
  kNoDescriptor,  // the process or the system has none left
  kNoCapacity,    // of the pool: no connection became free in time, or too many exchanges wait
  kCircuitOpen,   // the destination's policy allows no more
};

struct DialParameters {
  int netns = -1;  // negative: from here
  uint64_t timeout_ms = 0;
  // Of the pod that dials; outlives the connection.
  PodUse* use = nullptr;
  ConnectionTermsPtr terms;  // null: none
};

class Connector {
 public:
  Connector(EventLoop& loop, const HomeNetns& home) : loop_(loop), home_(home) {}

  // `socket` stays until it is over or cancelled. True when it is over at once, else the operation runs.
  bool start(Operation& operation, Socket& socket, const SocketAddress& address, const DialParameters& dial);
  void cancel();
  ConnectStatus status() const { return status_; }

 private:
  void on_connected(int result);
  void on_timeout();
  void finish(ConnectStatus status);

  EventLoop& loop_;
  const HomeNetns& home_;
  Socket* socket_ = nullptr;
  ConnectStatus status_ = ConnectStatus::kFailed;
  WaitSlot waiting_;
  Operation connect_{this, method<&Connector::on_connected>};
  Timer timeout_{this, method<&Connector::on_timeout>};
};

}  // namespace weft::proxy
