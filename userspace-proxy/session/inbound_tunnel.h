// One tunnel that a peer opened to a workload of this node: asked whether it may, then dialled to the
// application from inside the pod's namespace, then bytes both ways. Where the workload's policies depend on
// the requests, the tunnel is read as HTTP instead, and every request judged. Owned by HboneServer; leaves
// one record behind. Worker thread only.
//
//   kAsked -> kDialling -> kOpen -> kEnded
//          \-> kJudged ----------/
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/spiffe_id.h"
#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/http/socket_stream.h"
#include "userspace-proxy/http/tunnel_socket.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/session/downstream_connection.h"
#include "userspace-proxy/upstream/connector.h"

namespace weft::proxy {

// Who opened the tunnels of a connection.
struct InboundPeer {
  SocketAddress address;
  SpiffeId id;
  std::string name;  // of the id; made once, not for each tunnel
};

class InboundTunnel final : public ListNode<>,
                            public Retirable,
                            private Pump::Observer,
                            private DownstreamConnection::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // It does nothing any more, and is to be retired.
    virtual void tunnel_ended(InboundTunnel& tunnel) = 0;
    // A stream has something to say.
    virtual void output_due() = 0;
  };

  // `peer` and `local`, the pod's end of the connection, outlive it.
  InboundTunnel(ProxyContext& context, Owner& owner, std::shared_ptr<CaptureOrigin> origin,
                const InboundPeer& peer, const SocketAddress& local, TunnelSocket& tunnel);
  ~InboundTunnel() override;

  const TunnelSocket* stream() const { return tunnel_; }
  // Of CONNECT, at most once. Views end with the call.
  void asked(std::string_view method, std::string_view authority);
  // The stream ended before it was opened.
  void lost();
  // A policy changed: ends when it is forbidden now, or would have to be read from its beginning.
  void recheck();
  // The worker drains.
  void drain();
  // Ends now.
  void cut();

 private:
  enum class State : uint8_t { kAsked, kDialling, kOpen, kJudged, kEnded };

  struct Refused {
    uint16_t status = 0;  // 0: it is not
    Outcome outcome = Outcome::kOk;
  };
  Refused refusal();
  void read_policy();
  bool must_be_read() const;
  void log_forbidden(std::string_view event) const;
  void on_begin(int);
  void on_connected(int);
  SocketIo* accept();
  void open();
  void open_judged();
  void ended(DownstreamConnection& connection) override;
  void refuse(Refused why);
  void pump_ended(Pump& pump) override;
  void pump_moved(const Pump& pump) override {
    if (&pump == &to_application_) context_.sole_client.asks(port_);
  }
  void on_ended(int);
  void on_application_reset(int);
  void on_peer_reset(int);
  void on_idle();
  void end();
  void end(Outcome outcome);
  Outcome outcome() const;
  void record();

  ProxyContext& context_;
  Owner& owner_;
  const std::shared_ptr<CaptureOrigin> origin_;
  const InboundPeer& peer_;
  const SocketAddress& local_;
  State state_ = State::kAsked;
  uint16_t asked_status_ = 0;
  uint16_t port_ = 0;
  bool asked_ = false;
  uint16_t status_ = 0;            // that was answered
  std::optional<Outcome> ending_;  // where the bytes do not say it
  MonotonicNs started_;
  TunnelTraffic traffic_;
  ConnectionPolicy policy_;
  std::unique_ptr<DownstreamConnection> judged_;  // of kJudged
  bool judged_ended_ = false;                     // by itself
  TunnelSocket* tunnel_;                          // null once it is the socket's
  uint64_t bytes_at_last_look_ = 0;
  Socket downstream_, application_;
  InputBuffer from_peer_, from_application_;
  Connector connector_;
  UpstreamPool::OpenCount open_;
  SocketSource peer_source_, application_source_;
  SocketSink peer_sink_, application_sink_;
  Pump to_application_, to_peer_;
  Operation begin_{this, method<&InboundTunnel::on_begin>};
  Operation connected_{this, method<&InboundTunnel::on_connected>};
  Operation ended_{this, method<&InboundTunnel::on_ended>};
  Operation application_reset_{this, method<&InboundTunnel::on_application_reset>};
  Operation peer_reset_{this, method<&InboundTunnel::on_peer_reset>};
  Timer idle_{this, method<&InboundTunnel::on_idle>};
};

}  // namespace weft::proxy
