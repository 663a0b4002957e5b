// Connector: dials a socket in the source's network namespace, with a deadline. Used by the pool for HTTP and
// by TCP exchanges. Worker thread only.
#pragma once

#include <cstdint>
#include <memory>

#include "base/spiffe_id.h"
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

class HboneDial;
class HbonePool;

struct DialParameters {
  int netns = -1;  // negative: from here
  uint64_t timeout_ms = 0;
  // Of the pod that dials; outlives the connection.
  PodUse* use = nullptr;
  ConnectionTermsPtr terms;  // null: none
  // Not null: by a tunnel to the workload that has this identity.
  HbonePool* hbone = nullptr;
  const SpiffeId* tunnel_to = nullptr;
};

class Connector {
 public:
  Connector(EventLoop& loop, const HomeNetns& home);
  ~Connector();

  // `socket` stays until it is over or cancelled. True when it is over at once, else the operation runs.
  bool start(Operation& operation, Socket& socket, const SocketAddress& address, const DialParameters& dial);
  void cancel();
  ConnectStatus status() const { return status_; }

 private:
  void on_connected(int result);
  void on_timeout();
  void on_tunnelled(int);
  bool start_tunnel(Operation& operation, const SocketAddress& address, const DialParameters& dial);
  void finish(ConnectStatus status);

  EventLoop& loop_;
  const HomeNetns& home_;
  Socket* socket_ = nullptr;
  ConnectStatus status_ = ConnectStatus::kFailed;
  WaitSlot waiting_;
  std::unique_ptr<HboneDial> tunnel_;  // while and after dialling by one
  Operation connect_{this, method<&Connector::on_connected>};
  Operation tunnelled_{this, method<&Connector::on_tunnelled>};
  Timer timeout_{this, method<&Connector::on_timeout>};
};

}  // namespace weft::proxy
