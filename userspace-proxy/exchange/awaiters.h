// The other leaves an exchange waits for: HeadReader (bytes until a head is complete, or why not) and Connector (a socket dialled
// in the source's namespace). Reusable objects without frames: start(), then co_await.
#pragma once

#include <coroutine>
#include <cstdint>

#include "userspace-proxy/exchange/task.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/net/netns.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {

enum class HeadStatus : uint8_t {
  kWaiting,
  kComplete,
  kClosed,  // ended or reset before the head was complete
  kBad,
  kTooLarge,
  kTimeout,
  kAborted,
};

class HeadReader {
 public:
  explicit HeadReader(EventLoop& loop) : loop_(loop) {}

  // Fills `text`, which is cleared first. timeout_ms 0: none.
  void start(Socket& socket, InputBuffer& input, HeadText& text, uint32_t max_bytes, uint64_t timeout_ms);
  // The one who awaits gets kAborted.
  void abort();
  void cancel();

  bool await_ready() const { return status_ != HeadStatus::kWaiting; }
  void await_suspend(std::coroutine_handle<> handle) { waiter_.set(handle); }
  HeadStatus await_resume() const { return status_; }

 private:
  void advance();
  void on_received(int result);
  void on_timeout() { finish(HeadStatus::kTimeout); }
  void finish(HeadStatus status);

  EventLoop& loop_;
  Socket* socket_ = nullptr;
  InputBuffer* input_ = nullptr;
  HeadText* text_ = nullptr;
  uint32_t max_bytes_ = 0;
  HeadStatus status_ = HeadStatus::kAborted;
  Waiter waiter_;
  Operation recv_{this, method<&HeadReader::on_received>};
  Timer timeout_{this, method<&HeadReader::on_timeout>};
};

enum class ConnectStatus : uint8_t { kWaiting, kConnected, kRefused, kTimeout, kFailed };

class Connector {
 public:
  explicit Connector(EventLoop& loop) : loop_(loop) {}

  // `netns` negative: from here.
  void start(Socket& socket, const HomeNetns& home, int netns, const SocketAddress& address, uint64_t timeout_ms);
  void cancel();

  bool await_ready() const { return status_ != ConnectStatus::kWaiting; }
  void await_suspend(std::coroutine_handle<> handle) { waiter_.set(handle); }
  ConnectStatus await_resume() const { return status_; }

 private:
  void on_connected(int result);
  void on_timeout();
  static ConnectStatus status_of_result(int result);

  EventLoop& loop_;
  Socket* socket_ = nullptr;
  ConnectStatus status_ = ConnectStatus::kFailed;
  Waiter waiter_;
  Operation connect_{this, method<&Connector::on_connected>};
  Timer timeout_{this, method<&Connector::on_timeout>};
};

}  // namespace weft::proxy
