// One HTTP request with its response: the coroutine run() in exchange.cc is the whole story. Made by the
// session when the first byte of a request is there; records its outcome exactly once, also when it is
// abandoned.
#pragma once

#include <cstdint>
#include <memory>

#include "userspace-proxy/exchange/awaiters.h"
#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/exchange/task.h"

namespace weft::proxy {

// The client's side, lent by the session.
struct Downstream {
  Socket& socket;
  InputBuffer& input;
  SocketAddress client, dialled;
  CaptureOrigin& origin;
};

class Exchange final : private Pump::Observer {
 public:
  // What the session does with the connection afterwards.
  enum class Next : uint8_t { kKeepAlive, kClose, kLinger, kReset };

  Exchange(ProxyContext& context, const Downstream& downstream);
  ~Exchange() override;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  void start(Operation& finished);
  // Cancels and records why: the client is gone, or time is up.
  void abandon(Outcome outcome);
  Next next() const { return next_; }

 private:
  Task run();

  // In the order in which run() calls them.
  Outcome read_request(HeadStatus status);
  Outcome choose_route();
  Outcome prepare_upstream();
  bool needs_dial() const { return dialling_; }
  Outcome dial_end(ConnectStatus status);
  void send_request();
  bool is_interim(HeadStatus status);
  void forward_interim();
  bool retry_stale(HeadStatus status);
  Outcome read_response(HeadStatus status);
  void send_response();
  void send_tunnel_response();
  Outcome response_end(PumpEnd end);
  Outcome tunnel_end(PumpEnd end) const;
  bool can_reply(Outcome outcome) const;
  void send_local_reply(Outcome outcome);
  void finish(Outcome outcome);

  void pump_ended(Pump& pump) override;
  void on_idle();
  void await_response_head();
  bool request_sent() const { return request_pump_.end() == PumpEnd::kDone; }
  // Nothing of the request is left on the client's connection.
  bool request_whole() const {
    return request_sent() || (parsed_ && scratch_->request.body == BodyKind::kNone);
  }
  bool replayable() const;
  void release_upstream(Outcome outcome);
  void record(Outcome outcome);

  ProxyContext& context_;
  Downstream downstream_;
  GenerationRef generation_;
  std::unique_ptr<Scratch> scratch_;
  std::unique_ptr<UpstreamConnection> upstream_;
  const Route* route_ = nullptr;
  DialTarget target_;
  MonotonicNs started_;
  uint32_t source_ = kNone;
  SocketAddress upstream_address_;
  Outcome request_failure_ = Outcome::kOk;  // of the body, while the response is awaited
  Next next_ = Next::kClose;
  uint16_t status_ = 0;
  ParseResult response_parsed_ = ParseResult::kNeedMore;
  uint8_t interim_count_ = 0;
  bool has_request_ = false;
  bool recorded_ = false;
  bool dialling_ = false;
  bool reused_ = false;
  bool only_fresh_ = false;
  bool stale_retried_ = false;
  bool parsed_ = false;
  bool upgrade_ = false;
  bool close_ = false;
  bool self_framed_ = true;  // the client can tell a cut response from a whole one
  HeadReader request_reader_, response_reader_;
  Connector connector_;
  Pump request_pump_, response_pump_;
  Timer idle_{this, method<&Exchange::on_idle>};
  uint64_t bytes_at_last_look_ = 0;
  Task task_;  // last: cancelled first
};

}  // namespace weft::proxy
