// One HTTP request with its response, whatever version is spoken on either side: the coroutine run() in
// exchange.cc is the whole story. Made by the session when a request begins; records its outcome exactly
// once, also when it is abandoned.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/downstream_stream.h"
#include "userspace-proxy/exchange/external_check.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/exchange/step.h"
#include "userspace-proxy/exchange/task.h"
#include "userspace-proxy/http/grpc.h"
#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

class Exchange final : private Pump::Observer, private ActionState::Owner {
 public:
  // `downstream` outlives this.
  Exchange(ProxyContext& context, const ClientSide& client, DownstreamStream& downstream);
  ~Exchange() override;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  // `finished` runs when all is over and downstream.end() was called; not after abandon().
  void start(Operation& finished);
  // Ends now, records why: the client is gone, or time is up.
  void abandon(Outcome outcome);
  // It is a tunnel and still reads the client: it will come to the reset after what was sent before it.
  bool reads_client() const { return response_ == Response::kTunnel && request_pump_.reading(); }
  // It was let in, and the policies of now would not: it is to end.
  bool forbidden() const;

 private:
  // In place of a policy's name: RequestAuthentications do not let in what hides requests from them.
  static constexpr std::string_view kAuthentication = "request authentication";

  Task run();

  // In the order in which run() calls them.
  Outcome request_read();
  Outcome choose_route();
  bool asks_provider() {
    const bool may = client_.policy != nullptr
                         ? client_.policy->may_ask()
                         : client_.access != nullptr && context_.current->snapshot().gateways_ask;
    return may && begin_check();
  }
  bool begin_check();
  bool says_continue();
  void hold_body();
  bool ask_next();
  void hear_answer();
  Outcome providers_said();
  Outcome judge();
  bool authenticate();
  bool find_gateway_rules(const GatewayRules** rules) const;
  JudgedRequest judged_at_gateway() const;
  const GatewayRules* asked_at_gateway(std::vector<ConnectionPolicy::Asked>* asked) const;
  ConnectionPolicy::Verdict verdict_at_gateway(const GatewayRules& rules) const;
  Outcome judge_at_gateway();
  bool forbidden_at_gateway() const;
  void log_denied(std::string_view policy);
  bool hides_requests() const;
  ConnectionPolicy::Verdict verdict() const;
  std::string_view source_name() const;
  const GatewayServer* admitting_server(const Snapshot& snapshot, std::string_view authority) const;
  void aim(uint32_t cluster);
  void begin_action();
  Outcome act();
  Outcome prepare_upstream();
  UpstreamProtocol protocol_to(const Cluster& cluster) const;
  Outcome upstream_ready();
  void send_request();
  void await_response();
  bool is_interim();
  void forward_interim();
  bool interim_sent() const { return response_pump_.end() == PumpEnd::kDone; }
  bool retry();
  bool tries_again(Outcome outcome);
  std::optional<TryFailure> failure_of(Outcome outcome) const;
  void back_off();
  void start_mirrors();
  Outcome back_off_over() const { return step_.aborted() ? stopped_ : Outcome::kOk; }
  Outcome response_read();
  Outcome response_outcome();
  void observe(Outcome outcome);
  const ResponseHead& response_head();
  void send_response();
  void open_tunnel();
  Outcome response_end(PumpEnd end);
  Outcome tunnel_end(PumpEnd end) const;
  bool can_reply(Outcome outcome) const;
  void send_local_reply(Outcome outcome);
  void send_answer();
  void finish(Outcome outcome);

  void pump_ended(Pump& pump) override;
  bool trailers_pass(const Pump& pump, std::span<const Header> trailers) const override;
  void time_is_up() override;
  void try_time_is_up() override;
  bool client_sends() const;
  EditFacts facts() const;
  RequestHead& outgoing() { return action_ ? action_->outgoing(request()) : request(); }
  void on_upstream_reset(int);
  void on_idle();
  void on_deadline() { stop(Outcome::kDeadlineExceeded); }
  void take_deadline();
  void write_deadline(RequestHead& head);
  void stop(Outcome outcome);
  bool must_progress() const;
  void record(Outcome outcome);
  RequestHead& request() const { return downstream_.request(); }
  // CONNECT to an authority, not to a resource (RFC 8441 has both in one).
  bool is_connect() const { return request().method == "CONNECT" && request().protocol.empty(); }

  // What has become of the response's head.
  enum class Response : uint8_t { kAwaited, kBody, kTunnel };

  ProxyContext& context_;
  ClientSide client_;
  DownstreamStream& downstream_;
  GenerationRef generation_;
  const Route* route_ = nullptr;
  std::string_view route_name_;
  // Of what comes in, to a pod or a gateway: the rules that its head was read by, whose texts it has views
  // of, and the token; null: none that is good.
  std::shared_ptr<const RequestAuthentication> authentication_;
  VerifiedTokenPtr token_;
  std::unique_ptr<ExternalCheck> check_;  // null: no policy of CUSTOM selects the request
  std::unique_ptr<ActionState> action_;   // null: the route only forwards
  DialTarget target_;
  MonotonicNs started_;
  uint32_t source_ = kNone;
  SocketAddress upstream_address_;
  // Why the wait for the response, or its sending, was stopped.
  Outcome stopped_ = Outcome::kOk;
  uint16_t status_ = 0;
  uint8_t interim_count_ = 0;
  bool continue_said_ = false;  // before any server is asked
  bool judged_ = false;         // and let in
  Response response_ = Response::kAwaited;
  bool only_fresh_ = false;
  bool retried_ = false;
  bool tunnel_asked_ = false;
  bool client_late_ = false;  // it was the client that let the time pass
  bool recorded_ = false;
  StreamRequest stream_request_;
  UpstreamStreamPtr upstream_;
  Pump request_pump_, response_pump_;
  Step step_;
  Operation upstream_reset_{this, method<&Exchange::on_upstream_reset>};
  Timer idle_{this, method<&Exchange::on_idle>};
  uint64_t bytes_at_last_look_ = 0;
  Timer deadline_{this, method<&Exchange::on_deadline>};  // of a gRPC call that has one
  MonotonicNs deadline_at_ = 0;
  GrpcTimeoutText deadline_text_;
  Task task_;  // last: cancelled first
};

}  // namespace weft::proxy
