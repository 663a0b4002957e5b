// Tunnels to workloads of other nodes: HTTP/2 CONNECT over mutual TLS to port 15008 (HBONE), one connection
// shared by the tunnels of one source pod to one workload. A tunnel is a Socket that others use as if it were
// dialled plainly. Worker thread only.
//
//   HboneConnection: kDialling -> kHandshake -> kReady -> kDraining -> kEnded
#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/spiffe_id.h"
#include "userspace-proxy/http/tunnel_socket.h"
#include "userspace-proxy/tls/tls_contexts.h"
#include "userspace-proxy/tls/tls_socket.h"
#include "userspace-proxy/upstream/connector.h"

namespace weft::proxy {

class HboneConnection;
class HbonePool;

inline constexpr uint16_t kHbonePort = 15008;
// A pod is captured some milliseconds before its certificate is here, and told to others as one that takes
// tunnels some before it listens for them: for so long either end waits for what it lacks.
inline constexpr uint64_t kBeginningMs = 1'000;

// What connections may be shared by. Neither pods nor gateways ever share: the certificate is the source's.
struct HboneKey {
  IpAddress address;
  uint64_t netns_cookie = 0;
  SpiffeId target;
  uint64_t dials_as = 0;  // DialIdentity::number; 0: the source is a pod
  bool operator==(const HboneKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const HboneKey& key) {
    return H::combine(std::move(h), SocketAddress{key.address, 0}, key.netns_cookie, key.target,
                      key.dials_as);
  }
};

// One tunnel on its way to a Socket. Used by Connector.
class HboneDial final : public ListNode<> {
 public:
  explicit HboneDial(HbonePool& pool) : pool_(pool) {}
  ~HboneDial() { cancel(); }
  HboneDial(const HboneDial&) = delete;
  HboneDial& operator=(const HboneDial&) = delete;

  // As Connector::start(), without a deadline of its own: `operation` runs when status() is known. Never over
  // at once unless it failed.
  bool start(Operation& operation, Socket& socket, const SocketAddress& address, const DialParameters& dial);
  void cancel();
  ConnectStatus status() const { return status_; }

 private:
  friend class HboneConnection;
  friend class HbonePool;
  void settle(ConnectStatus status);
  // Not processed by the peer, or no room on the connection: on another one; after a few refusals no more.
  void try_again();
  void on_settled(int);

  static constexpr int kMaxTries = 3;

  HbonePool& pool_;
  Socket* socket_ = nullptr;
  std::string authority_;
  std::shared_ptr<PodUse> use_;
  DialIdentityPtr as_;
  HboneKey key_;
  DialParameters dial_;      // of its connection, if it needs one of its own
  int tries_ = 0;            // CONNECTs that were sent
  MonotonicNs give_up_ = 0;  // when neither a certificate of the source nor the peer is waited for any more
  ConnectStatus status_ = ConnectStatus::kFailed;
  TunnelSocket* tunnel_ = nullptr;  // ours until it is the socket's
  WaitSlot waiting_;
  Operation settled_{this, method<&HboneDial::on_settled>};
};

class HboneConnection final : public Retirable, private Http2Transport::Owner, private TunnelSocket::Host {
 public:
  // For the dial, as the first of those that share it.
  HboneConnection(HbonePool& pool, const HboneDial& dial, std::shared_ptr<TlsContext> context);
  ~HboneConnection() override;

  void dial(const DialParameters& dial);
  const HboneKey& key() const { return key_; }
  // Takes one more tunnel, now or once it may open it, for a source with this context.
  bool has_room(const TlsContext* context);
  bool idle() const { return state_ == State::kReady && tunnels_ == 0 && waiting_.empty(); }
  void join(HboneDial& dial);
  // No new tunnels, but those that wait for the connection to be made; ends when the last is gone.
  void drain();

 private:
  enum class State : uint8_t { kDialling, kHandshake, kReady, kDraining, kEnded };

  Http2Stream* new_stream(size_t) override { return nullptr; }
  void settings_received() override;
  void goaway_received() override;
  void ping_acknowledged() override { ping_pending_ = false; }
  size_t may_take(Operation&) override { return SIZE_MAX; }
  void received(size_t) override { heard_ = true; }
  void transport_ended() override { end(ConnectStatus::kFailed); }
  void tunnel_head(TunnelSocket& tunnel, FieldBlock& block, bool last) override;
  void tunnel_lost(TunnelSocket& tunnel, Http2StreamEnd end) override;
  void tunnel_freed(TunnelSocket& tunnel) override;
  void on_connected(int);
  void on_handshake(int result);
  void begin_tls();
  bool dial_later();
  void log_refusal(TlsFault fault) const;
  void ready();
  bool may_open(const HboneDial& dial);
  void open(HboneDial& dial);
  uint32_t waiting_count();
  void leave_pool();
  HboneDial* opening(const TunnelSocket& tunnel);
  void on_timer();
  void end(ConnectStatus status);

  HbonePool& pool_;
  const HboneKey key_;
  const std::shared_ptr<TlsContext> context_;
  const std::shared_ptr<PodUse> use_;
  const DialIdentityPtr as_;
  State state_ = State::kDialling;
  uint32_t tunnels_ = 0;
  bool heard_ = false;  // since the last look
  bool ping_pending_ = false;
  bool settings_known_ = false;
  DialParameters dial_;
  uint64_t pause_ms_;  // before the next attempt, when the peer refuses
  Socket socket_;
  InputBuffer input_;
  Connector connector_;
  TlsSocket* tls_ = nullptr;
  std::unique_ptr<Http2Transport> transport_;
  IntrusiveList<HboneDial> waiting_;  // for the connection, or for the peer's limit of streams
  IntrusiveList<HboneDial> opening_;  // for the answer to their CONNECT
  Operation connected_{this, method<&HboneConnection::on_connected>};
  Operation handshake_{this, method<&HboneConnection::on_handshake>};
  Timer timer_{this, method<&HboneConnection::on_timer>};
};

class HbonePool {
 public:
  HbonePool(EventLoop& loop, const HomeNetns& home, const TlsContexts& contexts)
      : loop_(loop), home_(home), contexts_(contexts) {}
  ~HbonePool();

  // For a source that is gone: its idle connections would keep its namespace.
  void forget(uint64_t netns_cookie);
  // Idle connections end, the others after their tunnels.
  void clear();
  // Ends so many that have no tunnels; returns how many.
  size_t trim(size_t count);
  // Other certificates are there now: dials whose source had none go on.
  void identities_changed();
  // Open, or being dialled.
  size_t connections() const { return count_; }

 private:
  friend class HboneConnection;
  friend class HboneDial;

  // Gives the dial a connection, of which it waits, or has it wait for a certificate of its source. False:
  // there was none in time.
  bool place(HboneDial& dial);
  bool await_identity(HboneDial& dial);
  void give_up_waiting();

  EventLoop& loop_;
  const HomeNetns& home_;
  const TlsContexts& contexts_;
  const Http2Limits limits_ = hbone_limits();
  size_t count_ = 0;
  absl::flat_hash_map<HboneKey, std::vector<HboneConnection*>>
      connections_;                            // owned; those that take tunnels
  std::vector<HboneConnection*> draining_;     // owned
  IntrusiveList<HboneDial> without_identity_;  // those that give up first are first
  Timer patience_{this, method<&HbonePool::give_up_waiting>};
  MonotonicNs next_log_line_ = 0;

 public:
  // Bulk over one stream must not wait for credit, and a tunnel that nobody reads must not stop the others.
  static constexpr Http2Limits hbone_limits() {
    Http2Limits limits = upstream_http2_limits();
    limits.max_concurrent_streams = 200;
    limits.stream_window_bytes = 128 * 1024;
    limits.max_stream_window_bytes = 4 * 1024 * 1024;
    limits.connection_window_bytes =
        limits.max_concurrent_streams * limits.stream_window_bytes + 16 * 1024 * 1024;
    return limits;
  }
};

}  // namespace weft::proxy
