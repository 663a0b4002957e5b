// Mirror: a copy of one request, sent to another cluster; its response is read and dropped, and nobody waits
// for it. Goes on when the exchange that it was copied from is over. Kept by a MirrorSet, which bounds how
// many there are. Worker thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/exchange/step.h"
#include "userspace-proxy/exchange/text_source.h"
#include "userspace-proxy/http/http1_text.h"
#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

struct CaptureOrigin;
struct ProxyContext;

// Where a copy goes.
struct MirrorTarget {
  GenerationRef generation;
  uint32_t cluster = kNone;
  UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
  SocketAddress dialled;                   // by the client
  const DialIdentity* dials_as = nullptr;  // of the generation's
};

// "cart-shadow:80" of "cart:80": servers know by it that nobody waits for the answer.
void append_shadow_authority(std::string_view authority, std::string* out);

// A sink that drops what it gets.
class NullSink final : public BodySink {
 public:
  bool send(Operation& operation, Pieces&, bool, std::span<const Header>) override {
    operation.result = 0;
    return true;
  }
  void finished() override {}
};

class MirrorSet;

class Mirror final : public ListNode<>, private Pump::Observer {
 public:
  // Copies head and body. `limit_ms`: for all of it.
  Mirror(ProxyContext& context, std::shared_ptr<CaptureOrigin> origin, const MirrorTarget& target,
         const RequestHead& head, std::string_view body, uint64_t limit_ms);
  ~Mirror() override;
  static void* operator new(size_t size) { return take_frame(size); }
  static void operator delete(void* block, size_t size) { give_frame(block, size); }

  void start();

 private:
  Task run();

  // In the order in which run() calls them.
  bool begin();
  bool connected();
  void send();
  bool is_interim();
  void await_response() { step_.begin(upstream_->read_response(step_.operation())); }
  bool response_began() const;
  void drain() { response_pump_.start(upstream_->response_body(), null_, Pump::Lead::kPayload); }

  void copy(const RequestHead& head, std::string_view body);
  void pump_ended(Pump&) override {}
  void on_limit();
  void on_finished(int) { delete this; }

  ProxyContext& context_;
  std::shared_ptr<CaptureOrigin> origin_;
  DialTarget target_;
  UpstreamProtocol protocol_;
  const DialIdentity* dials_as_;
  uint64_t limit_ms_;
  Http1TextPool<RequestHead>::Text text_;  // the copy's head, and the text that its views are of
  TextSource body_;
  StreamRequest stream_request_;
  UpstreamStreamPtr upstream_;
  NullSink null_;
  Pump request_pump_, response_pump_;
  Step step_;
  Timer limit_{this, method<&Mirror::on_limit>};
  Operation finished_{this, method<&Mirror::on_finished>};
  Task task_;  // last: cancelled first
};

// The mirrors of one worker. Beyond kMaxRunning nothing is copied.
class MirrorSet {
 public:
  static constexpr uint32_t kMaxRunning = 1024;

  ~MirrorSet() { cancel_all(); }
  void start(ProxyContext& context, const std::shared_ptr<CaptureOrigin>& origin, const MirrorTarget& target,
             const RequestHead& head, std::string_view body, uint64_t limit_ms);
  void cancel_all();
  uint32_t running() const { return running_; }

 private:
  friend class Mirror;
  IntrusiveList<Mirror> mirrors_;  // owned
  uint32_t running_ = 0;
};

}  // namespace weft::proxy
