// One HBONE connection that a peer opened to a workload of this node: mutual TLS, then HTTP/2 whose CONNECT
// streams are tunnels. Owned by the worker's list; asks to be retired when it has ended. Worker thread only.
//
//   kHandshake -> kServing -> kClosing -> kEnded
#pragma once

#include <memory>

#include "userspace-proxy/session/inbound_tunnel.h"
#include "userspace-proxy/tls/tls_socket.h"

namespace weft::proxy {

class HboneServer final : public ListNode<>,
                          public ListNode<PodTag>,
                          public Retirable,
                          private Http2Transport::Owner,
                          private TunnelSocket::Host,
                          private InboundTunnel::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Its peer has proved itself: may the pod have one more connection? If not it ends.
    virtual bool proved(HboneServer& connection) = 0;
    // It has closed its socket and does nothing any more.
    virtual void ended(HboneServer& connection) = 0;
  };

  HboneServer(ProxyContext& context, Owner& owner, std::shared_ptr<CaptureOrigin> origin,
              const SocketAddress& client);
  ~HboneServer() override;

  void start(UniqueFd fd);
  // There is another snapshot: tunnels that its policies forbid end.
  void recheck();
  // Other certificates are there now: one that waits for its pod's goes on.
  void identities_changed();
  // Asks the peer for no new tunnels; ends a moment after the last has.
  void drain();
  CaptureOrigin& pod() { return *origin_; }
  // Nothing would be lost with it.
  bool idle() const { return state_ == State::kServing && tunnels_.empty(); }
  // It was, and ends now.
  bool leaving() const { return state_ == State::kClosing && tunnels_.empty(); }
  // Ends now.
  void cut() { end(); }

 private:
  enum class State : uint8_t { kHandshake, kServing, kClosing, kEnded };

  Http2Stream* new_stream(size_t head_bytes) override;
  void settings_received() override {}
  void goaway_received() override {}
  void ping_acknowledged() override { ping_pending_ = false; }
  void received(size_t) override { heard_ = true; }
  size_t may_take(Operation& next) override {
    return context_.share.may_go_on(origin_->share, next) ? SIZE_MAX : 0;
  }
  void transport_ended() override { end(); }
  void tunnel_head(TunnelSocket& stream, FieldBlock& block, bool last) override;
  void tunnel_lost(TunnelSocket& stream, Http2StreamEnd end) override;
  void tunnel_freed(TunnelSocket& stream) override;
  void tunnel_ended(InboundTunnel& tunnel) override;
  void output_due() override { transport_->output_due(); }

  void begin_tls();
  void on_handshake(int result);
  bool may_log();
  bool note_rules();
  void serve();
  void on_timer();
  void end();
  void stop();
  InboundTunnel* of(const TunnelSocket& stream);

  ProxyContext& context_;
  Owner& owner_;
  const std::shared_ptr<CaptureOrigin> origin_;
  State state_ = State::kHandshake;
  InboundPeer peer_;
  SocketAddress local_;
  AuthorizationList judged_by_;  // what its tunnels were checked against last
  // Of the same moment: whether requests are read for their tokens, and at which ports not.
  bool reads_tokens_ = false;
  std::vector<uint16_t> opaque_ports_;
  bool heard_ = false;
  bool ping_pending_ = false;
  uint32_t streams_ = 0;  // objects that refer to this
  Socket socket_;
  InputBuffer input_;
  TlsSocket* tls_ = nullptr;  // null in the handshake: the pod has no certificate yet
  std::unique_ptr<Http2Transport> transport_;
  IntrusiveList<InboundTunnel> tunnels_;  // owned
  Operation handshake_{this, method<&HboneServer::on_handshake>};
  Timer timer_{this, method<&HboneServer::on_timer>};
};

}  // namespace weft::proxy
