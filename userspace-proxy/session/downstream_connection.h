// One captured client connection: finds out what it speaks, then runs exchanges on it, one after the other.
// Owned by the worker's list; asks its owner to be retired when it has ended.
//
//   start -> kDetecting -> kIdle <-> kHttp -> kLingering -> kEnded
//                 \_________\_________\-> kHttp2 ________/
//                  \_________\__________-> kTcp _________/
//
// Before kHttp it is kDue for as long as the request waits for its pod's turn (exchange/fair_share.h).
// What comes in to a pod begins in kIdle or, where no request could change the verdict, in kTcp; where only
// the server name of its TLS could, or a policy that decides nothing would read it, in kDetecting. At a
// gateway that ends TLS: kDetecting -> kHandshake -> kIdle, kHttp2 or kTcp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/exchange/tcp_exchange.h"
#include "userspace-proxy/session/http1_downstream_stream.h"
#include "userspace-proxy/session/http2_connection.h"
#include "userspace-proxy/session/plain_inbound.h"
#include "userspace-proxy/tls/tls_socket.h"

namespace weft::proxy {

class DownstreamConnection final : public ListNode<>,
                                   public ListNode<PodTag>,
                                   public Retirable,
                                   private Http2Connection::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The connection has closed its socket and does nothing any more.
    virtual void ended(DownstreamConnection& connection) = 0;
  };

  DownstreamConnection(ProxyContext& context, Owner& owner, std::shared_ptr<CaptureOrigin> origin,
                       const SocketAddress& client);
  ~DownstreamConnection() override;

  void start(UniqueFd fd);
  // What comes in to the pod at this address, by a layer over another connection (the socket owns it): HTTP
  // whose requests the policy judges; anything else is refused, unless the policy allows it whatever it says
  // and only its shadow wants to read. The policy outlives this.
  void start_judged(SocketIo* io, const SocketAddress& dialled, const ConnectionPolicy& policy);
  // What comes in to the pod in plain: not read where no request could change the verdict, else the same.
  void start_inbound(UniqueFd fd, std::unique_ptr<PlainInbound> inbound);
  // The policy changed: what it forbids now ends.
  void recheck();
  // The configuration changed: the same for what comes in in plain.
  void recheck_inbound();
  // The configuration changed. Where the gateway's listener that admitted the client is gone, or asks
  // something else of clients now, decrypted connections and handshakes end, and HTTP/2 says GOAWAY. HTTP/1
  // is told by the answer to its next request, 421 and Connection: close. What the gateway's policies of now
  // forbid ends.
  void recheck_admission();
  // The worker drains. A connection that is idle keeps a short grace in which one more request is answered,
  // with Connection: close; closing at once would reset a request that is already on its way. Others end
  // after their exchange.
  void drain();
  // Ends now; a running exchange is recorded with this outcome.
  void cut(Outcome outcome);
  // Nobody waits for a response: no request is whole yet, and it is no TCP connection.
  bool quiet() const;
  // When it was accepted.
  MonotonicNs accepted() const { return accepted_; }
  PodUse& pod() { return *origin_->use; }

 private:
  enum class State : uint8_t { kDetecting, kHandshake, kIdle, kDue, kHttp, kHttp2, kTcp, kLingering, kEnded };

  // One request on this connection.
  struct Http1Exchange {
    Http1Exchange(DownstreamConnection& c)
        : stream(c.context_, c.socket_, c.input_, c.head_time_left()),
          exchange(c.context_, c.client_side(), stream) {}
    static void* operator new(size_t size) { return take_frame(size); }
    static void operator delete(void* block, size_t size) { give_frame(block, size); }
    Http1DownstreamStream stream;
    Exchange exchange;
  };

  // What only a client at a gateway has: an idle connection of a pod's is to be small.
  struct AtGateway {
    explicit AtGateway(DownstreamConnection* c)
        : handshake(c, method<&DownstreamConnection::on_handshake>),
          refused(c, method<&DownstreamConnection::on_refused>) {}
    GatewayAccess access;
    Operation handshake, refused;
  };

  void choose_protocol();
  void receive();
  void on_received(int result);
  void detect();
  void choose_gateway_protocol();
  const GatewayServer* admitting_server(const Snapshot& snapshot) const;
  const ConnectionPolicy* gateway_policy();
  bool gateway_refuses();
  void report_gateway_shadow();
  const L4Host* l4_host() const;
  bool is_undeclared() const;
  bool hello_wanted() const;
  bool awaits_hello() const;
  void read_hello();
  bool begin_tls();
  bool adopt(UniqueFd fd);
  void begin_judged();
  bool must_be_read() const;
  bool only_server_name_counts() const;
  void start_inbound_tcp();
  bool bytes_allowed() const;
  std::optional<std::string_view> known_server_name() const;
  void log_forbidden(std::string_view event, std::string_view policy);
  void on_handshake(int result);
  void on_refused(int) { linger(); }
  void refuse_tls(std::string_view fault, std::string_view next);
  TcpAim aim_tcp();
  TcpAim aim_by_name(const Snapshot& snapshot, uint32_t source) const;
  void read_first_request();
  void on_timer();
  uint64_t head_time_left();
  void enter_idle();
  void unsent_at_idle_end();
  void arm_idle(uint64_t delay_ms);
  void start_http();
  void start_http2();
  void upgrade_to_http2();
  void start_tcp();
  void on_http_finished(int);
  void on_tcp_finished(int);
  void http2_ended(bool clean) override;
  void on_reset(int);
  void linger();
  void end(bool with_reset);
  ClientSide client_side(bool upgraded = false) {
    const bool from_outside = inbound_ != nullptr && inbound_->from_outside();
    return ClientSide{client_, dialled_,     *origin_,     upgraded,
                      policy_, from_outside, terms_.get(), gateway_ != nullptr ? &gateway_->access : nullptr};
  }

  ProxyContext& context_;
  Owner& owner_;
  std::shared_ptr<CaptureOrigin> origin_;
  State state_ = State::kDetecting;
  bool spoke_http_ = false;
  bool opaque_ = false;      // declared to be no HTTP
  bool speaks_tls_ = false;  // declared so
  bool tls_ = false;         // the client said a ClientHello, which asked for
  bool named_ = false;       // server_name_ is all that its TLS says, or it speaks none
  std::string server_name_;
  const ConnectionPolicy* policy_ = nullptr;  // see ClientSide
  std::unique_ptr<PlainInbound> inbound_;     // whose policy it is then; null: not of start_inbound()
  std::shared_ptr<const ServerTerms> terms_;  // of the listener that ends its TLS; null: nothing does
  TlsSocket* tls_socket_ = nullptr;           // of socket_, then
  std::unique_ptr<AtGateway> gateway_;        // null: the pod is none
  SocketAddress client_, dialled_;
  MonotonicNs accepted_;
  Socket socket_;
  InputBuffer input_;
  Operation recv_{this, method<&DownstreamConnection::on_received>};
  Operation reset_{this, method<&DownstreamConnection::on_reset>};
  Operation http_finished_{this, method<&DownstreamConnection::on_http_finished>};
  Operation tcp_finished_{this, method<&DownstreamConnection::on_tcp_finished>};
  Timer timer_{this, method<&DownstreamConnection::on_timer>};  // of the state: sniffing, idleness, lingering
  MonotonicNs idle_until_ = 0;
  MonotonicNs head_until_ = 0;  // of a head of which some bytes came while idle; else 0
  std::unique_ptr<Http1Exchange> http_;
  std::unique_ptr<Http2Connection> http2_;
  std::unique_ptr<TcpExchange> tcp_;
};

}  // namespace weft::proxy
