// One TCP connection passed through: an endpoint of the service's cluster, or the address the client dialled,
// and bytes both ways with half-close. Made by the session for everything that is not HTTP; recorded exactly
// once.
#pragma once

#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/exchange/step.h"
#include "userspace-proxy/exchange/task.h"
#include "userspace-proxy/http/socket_stream.h"
#include "userspace-proxy/upstream/connector.h"

namespace weft::proxy {

// Where a connection goes, decided by the session in the generation that the exchange is made in.
struct TcpAim {
  uint32_t cluster = kNone;                // kNone: to the dialled address, or
  Outcome refused = Outcome::kOk;          // nowhere, for this reason
  std::string_view route;                  // of the snapshot; empty: none was asked
  const DialIdentity* dials_as = nullptr;  // of the route's gateway, in the snapshot
};

class TcpExchange final : private Pump::Observer {
 public:
  TcpExchange(ProxyContext& context, const ClientSide& client, Socket& socket, InputBuffer& input,
              const TcpAim& aim);
  ~TcpExchange() override;
  TcpExchange(const TcpExchange&) = delete;
  TcpExchange& operator=(const TcpExchange&) = delete;
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  void start(Operation& finished);
  void abandon(Outcome outcome);
  // True: the client gets a FIN; false: a RST, as its server sent one or never answered.
  bool ended_well() const { return ended_well_; }
  // It still reads the client, and will come to the reset after what was sent before it.
  bool reads_client() const { return to_upstream_.reading(); }

 private:
  Task run();
  void take_aim();
  Outcome admit();
  Outcome dial();
  uint64_t idle_ms() const;
  Outcome dial_end(ConnectStatus status);
  void start_pumps();
  Outcome pumps_end() const;
  void finish(Outcome outcome);

  void pump_ended(Pump& pump) override;
  void pump_moved(const Pump& pump) override {
    if (&pump == &to_upstream_) context_.sole_client.asks(client_.client.port);
  }
  void on_upstream_reset(int);
  void stop(Outcome outcome);
  void on_idle();
  void on_lifetime() { stop(Outcome::kMaxDuration); }
  void record(Outcome outcome);

  ProxyContext& context_;
  ClientSide client_;
  GenerationRef generation_;
  DialTarget target_;
  TcpAim aim_;
  bool balanced_;
  bool counted_ = false;  // among the source's connections to the cluster
  bool recorded_ = false;
  bool ended_well_ = false;
  Outcome stopped_ = Outcome::kOk;
  SocketAddress upstream_address_;
  MonotonicNs started_;
  uint64_t bytes_at_last_look_ = 0;
  Connector connector_;
  Socket upstream_;
  InputBuffer upstream_input_;
  UpstreamPool::OpenCount open_;
  SocketSource from_client_, from_upstream_;
  SocketSink client_sink_, upstream_sink_;
  Pump to_upstream_, to_client_;
  Step step_;
  Operation upstream_reset_{this, method<&TcpExchange::on_upstream_reset>};
  Timer idle_{this, method<&TcpExchange::on_idle>};
  Timer lifetime_{this, method<&TcpExchange::on_lifetime>};
  Task task_;  // last: cancelled first
};

}  // namespace weft::proxy
