// The engine without a thread: the test turns the loop and moves its clock, so that an hour passes at once
// and nothing happens in between. Clients and servers are sockets on 127.0.0.1 that the same thread holds.
// Like rig.h, for the backend of WEFT_TEST_IO.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/session/downstream_connection.h"

namespace weft::proxy {

// The other end of a connection of the engine; never blocks.
class FarEnd {
 public:
  enum class End : uint8_t { kOpen, kFin, kReset };

  FarEnd() = default;
  explicit FarEnd(UniqueFd fd);

  // What the kernel takes of it now.
  size_t send(std::string_view bytes);
  // Everything that has come so far; takes what there is, at most `limit` bytes at a time.
  const std::string& received(size_t limit = ~size_t{0});
  void forget_received() { received_.clear(); }
  bool has(std::string_view text) { return received().find(text) != std::string::npos; }
  End end();
  void finish_sending();
  void reset();
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string received_;
  End end_ = End::kOpen;
};

class TurnedRig final : private DownstreamConnection::Owner {
 public:
  struct Setup {
    Protocol protocol = Protocol::kHttp;
    ExchangeLimits limits;
    AdmissionLimits admission;
    UpstreamLimits upstream;
  };
  explicit TurnedRig(const Setup& setup);
  TurnedRig() : TurnedRig(Setup()) {}
  ~TurnedRig() override;

  // A client whose connection the engine has accepted.
  FarEnd connect() { return connect(pod_); }
  // One of another pod, which is in no configuration.
  FarEnd connect_other() { return connect(other_); }
  // Turns until a connection of the engine's comes to the service.
  FarEnd accept_upstream();
  // Turns until it is so; false after five seconds.
  bool turn_until(const std::function<bool()>& condition);
  // Sends, and turns until the engine has dealt with it.
  bool give(FarEnd& peer, std::string_view bytes);
  void turn() { loop_->turn(0); }
  // Lets time pass and what is due happen.
  void pass(uint64_t ms);
  // Lets time pass: what is due happens in the next turn, after what sockets tell in it.
  void advance(uint64_t ms) { clock_.advance(ms * kNsPerMs); }

  RecordingSink& sink() { return sink_; }
  UpstreamPool& pool() { return *pool_; }
  CaptureOrigin& pod() { return *pod_; }
  const ProxyContext& context() const { return *context_; }
  // Where the service listens.
  const SocketAddress& service_address() const { return service_; }
  int service() const { return service_listener_.get(); }
  // Of clients that are open.
  size_t connections() const { return open_; }

 private:
  FarEnd connect(const std::shared_ptr<CaptureOrigin>& pod);
  void ended(DownstreamConnection& connection) override;

  FakeClock clock_;
  std::unique_ptr<EventLoop> loop_;
  SocketAddress dialled_, service_;
  UniqueFd listener_, service_listener_;
  HomeNetns home_;
  RecordingSink sink_;
  Http2FaultCounts http2_faults_;
  std::unique_ptr<UpstreamPool> pool_;
  TlsContexts tls_;
  ServerTlsTable server_tls_;
  HbonePool hbone_{*loop_, home_, tls_};
  Balancer balancer_{1};
  std::unique_ptr<ProxyContext> context_;
  std::shared_ptr<CaptureOrigin> pod_, other_;
  IntrusiveList<DownstreamConnection> connections_;
  size_t open_ = 0;
};

}  // namespace weft::proxy
