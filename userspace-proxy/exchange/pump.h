// Pump: moves one body (or one direction of a TCP connection) from a socket to another, at most one chunk at a time, so a slow
// sink stops the reading. Sends a prefix (the head) together with the first bytes. Awaitable; plain state, no coroutine.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <string_view>

#include "userspace-proxy/exchange/task.h"
#include "userspace-proxy/http/body_decoder.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {

enum class PumpEnd : uint8_t {
  kIdle,         // never started
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
  };
  struct Path {
    Socket* source = nullptr;
    InputBuffer* input = nullptr;
    Socket* sink = nullptr;
  };
  struct Body {
    BodyKind kind = BodyKind::kNone;
    uint64_t length = 0;
    bool chunked_out = false;
    bool half_close = false;  // tell the sink the end of the stream by FIN
  };

  Pump(EventLoop& loop, Observer& observer) : loop_(loop), observer_(observer) {}
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // `prefix` must stay until the pump ends.
  void start(const Path& path, const Body& body, std::string_view prefix);
  // Stops; the one who awaits gets kAborted.
  void abort();
  // Stops and tells nobody.
  void cancel();

  PumpEnd end() const { return end_; }
  // Payload sent, without prefix and chunk framing.
  uint64_t bytes() const { return bytes_; }

  bool await_ready() const { return end_ != PumpEnd::kRunning; }
  void await_suspend(std::coroutine_handle<> handle) { waiter_.set(handle); }
  PumpEnd await_resume() const { return end_; }

 private:
  // Turns before others get theirs.
  static constexpr int kMaxSteps = 16;
  static constexpr size_t kChunkHeaderBytes = 20;

  void advance(int);
  void on_received(int result);
  void on_sent(int result);
  bool received(int result);
  bool sent(int result);
  bool gather();
  void gather_payload();
  void gather_last_chunk();
  void add(std::string_view piece);
  void finish(PumpEnd end);

  EventLoop& loop_;
  Observer& observer_;
  Path path_;
  Body body_;
  BodyDecoder decoder_;
  std::string_view prefix_;
  bool last_sent_ = false;
  PumpEnd end_ = PumpEnd::kIdle;
  uint64_t bytes_ = 0;
  size_t taken_ = 0;    // input bytes behind the pieces being sent
  size_t payload_ = 0;  // payload among them
  size_t piece_count_ = 0;
  std::array<iovec, Socket::kMaxPieces> pieces_;
  std::array<char, kChunkHeaderBytes> chunk_header_;
  Waiter waiter_;
  Operation recv_{this, method<&Pump::on_received>};
  Operation send_{this, method<&Pump::on_sent>};
  Operation more_{this, method<&Pump::advance>};
};

}  // namespace weft::proxy
