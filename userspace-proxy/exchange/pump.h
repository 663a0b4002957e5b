// Pump: moves one body (or one direction of a tunnel or TCP connection) from a source to a sink, at most what
// the source gives at a time, so a slow sink stops the reading. Awaitable; plain state, no coroutine.
#pragma once

#include <coroutine>
#include <cstdint>
#include <span>

#include "userspace-proxy/exchange/fair_share.h"
#include "userspace-proxy/exchange/task.h"
#include "userspace-proxy/http/message_stream.h"

namespace weft::proxy {

enum class PumpEnd : uint8_t {
  kIdle,  // never started
  kRunning,
  kDone,
  kSourceReset,  // the source ended before the body did
  kBadFraming,   // the source sent a malformed body
  kSinkReset,
  kAborted,
};

class Pump {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;
    // The pump ended by itself. Whoever awaits it runs after this.
    virtual void pump_ended(Pump& pump) = 0;
    // Payload was sent.
    virtual void pump_moved(const Pump&) {}
    // Whether the trailers of what it moves go on; else the message ends without any.
    virtual bool trailers_pass(const Pump&, std::span<const Header>) const { return true; }
  };
  enum class Lead : uint8_t { kPayload, kHead };

  // What is moved is charged to `account`; `share` and `account` outlive this.
  Pump(EventLoop& loop, Observer& observer, FairShare& share, ShareAccount& account)
      : loop_(loop), observer_(observer), share_(share), account_(account) {}
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // With Lead::kHead a head waits in the sink and is sent whether payload is there or not.
  void start(BodySource& source, BodySink& sink, Lead lead);
  // Sends the head that waits in the sink and no payload; `last`: the message is whole with it.
  void flush(BodySink& sink, bool last);
  // Stops; the one who awaits gets kAborted.
  void abort();
  // Stops and tells nobody.
  void cancel();

  PumpEnd end() const { return end_; }
  // Payload sent, without framing.
  uint64_t bytes() const { return bytes_; }
  // The sink does not take what was sent.
  bool blocked() const { return end_ == PumpEnd::kRunning && send_.pending(); }
  // It waits for the source, or goes on by itself, and so will see how the source ends.
  bool reading() const { return end_ == PumpEnd::kRunning && !send_.pending(); }
  // No payload was taken from the source: the message could still be sent elsewhere.
  bool untouched() const { return bytes_ == 0 && payload_ == 0; }

  bool await_ready() const { return end_ != PumpEnd::kRunning; }
  void await_suspend(std::coroutine_handle<> handle) { waiter_.set(handle); }
  PumpEnd await_resume() const { return end_; }

 private:
  // Turns before others get theirs.
  static constexpr int kMaxSteps = 16;

  void advance(int);
  void on_sent(int result);
  void begin(BodySource* source, BodySink& sink);
  // False: the pump has ended.
  bool sent(int result);
  void finish(PumpEnd end);

  EventLoop& loop_;
  Observer& observer_;
  FairShare& share_;
  ShareAccount& account_;
  BodySource* source_ = nullptr;  // null: flush()
  BodySink* sink_ = nullptr;
  PumpEnd end_ = PumpEnd::kIdle;
  bool head_waits_ = false;
  bool last_ = false;   // what is being sent ends the message
  size_t payload_ = 0;  // being sent
  uint64_t bytes_ = 0;
  Pieces pieces_;
  Waiter waiter_;
  Operation wait_{this, method<&Pump::advance>};
  Operation send_{this, method<&Pump::on_sent>};
  Operation more_{this, method<&Pump::advance>};
};

}  // namespace weft::proxy
