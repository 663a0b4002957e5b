// Connector: dials a socket in the source's network namespace, begins TLS on it where the destination's rule
// asks for that, and has a deadline for both. Used by the pool for HTTP and by TCP exchanges. Worker thread
// only.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/spiffe_id.h"
#include "userspace-proxy/net/netns.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/wait_slot.h"
#include "userspace-proxy/telemetry/pod_use.h"
#include "userspace-proxy/tls/dial_identity.h"
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
  kTlsFailed,     // connected, but TLS did not come about: the log says why
};

class ClientTlsTable;
class HboneDial;
class HbonePool;
class TlsSocket;

struct DialParameters {
  int netns = -1;  // negative: from here
  uint64_t timeout_ms = 0;
  // Of the pod that dials; outlives the connection.
  PodUse* use = nullptr;
  ConnectionTermsPtr terms;  // null: none
  // Of a gateway: whom it proves to be. Null: the pod, by its uid. Outlives the call that it is given to;
  // who needs it for longer shares it.
  const DialIdentity* as = nullptr;
  // Not null: by a tunnel to the workload that has this identity.
  HbonePool* hbone = nullptr;
  const SpiffeId* tunnel_to = nullptr;
  // Not null: with TLS by the terms, which offers this protocol (ALPN, a literal; empty: none).
  ClientTlsTable* client_tls = nullptr;
  std::string_view offers;

  // Whose certificate is shown.
  const std::string& credentials() const { return as != nullptr ? as->credentials : use->workload_uid; }
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
  // Begins to connect the socket; true when that is over at once.
  bool connect();
  // No port of its window was free, and there are more.
  bool wants_other_ports(int result) const;
  void on_connected(int result);
  void on_timeout();
  void on_tunnelled(int);
  bool start_tunnel(Operation& operation, const SocketAddress& address, const DialParameters& dial);
  // True: it is over, and status() says how.
  bool begin_tls();
  void on_handshake(int result);
  void tls_refused(std::string_view why) const;
  const std::string& credentials() const { return as_ != nullptr ? as_->credentials : use_->workload_uid; }
  // Connected, in clear: what comes then, or the end.
  void went(ConnectStatus status);
  void finish(ConnectStatus status);

  EventLoop& loop_;
  const HomeNetns& home_;
  Socket* socket_ = nullptr;
  ConnectStatus status_ = ConnectStatus::kFailed;
  WaitSlot waiting_;
  std::unique_ptr<HboneDial> tunnel_;  // while and after dialling by one
  // Of the dial that is under way.
  ClientTlsTable* client_tls_ = nullptr;
  std::string_view offers_;
  PodUse* use_ = nullptr;
  DialIdentityPtr as_;
  ConnectionTermsPtr terms_;
  SocketAddress address_;
  uint32_t windows_ = 0;  // of ports, that were tried
  bool has_windows_ = false;
  TlsSocket* tls_ = nullptr;  // the socket's, while it shakes hands
  Operation connect_{this, method<&Connector::on_connected>};
  Operation handshake_{this, method<&Connector::on_handshake>};
  Operation tunnelled_{this, method<&Connector::on_tunnelled>};
  Timer timeout_{this, method<&Connector::on_timeout>};
};

}  // namespace weft::proxy
