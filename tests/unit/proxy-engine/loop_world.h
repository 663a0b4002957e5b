// One loop on either backend, turned by the test, for what stands on sockets alone: TLS, and what both
// backends promise. Everything on one thread; a wait is bounded by a deadline.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "userspace-proxy/net/io_choice.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {

// An operation that remembers that it ran.
struct TestStep {
  bool done = false;
  int result = 0;
  void run(int r) {
    done = true;
    result = r;
  }
  // For a call that may have finished at once.
  void began(bool finished) {
    if (finished) run(operation.result);
  }
  Operation operation{this, method<&TestStep::run>};
};

class LoopTest : public ::testing::TestWithParam<IoKind> {
 protected:
  void SetUp() override {
    // Peers end while they are written to.
    ::signal(SIGPIPE, SIG_IGN);
    if (GetParam() == IoKind::kUring) {
      const absl::Status status = try_uring();
      if (!status.ok()) GTEST_SKIP() << "io_uring is refused here: " << status;
    }
    loop_ = std::move(EventLoop::open(GetParam())).value();
  }

  bool turn_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_->turn(10);
    }
    return true;
  }
  int receive(Socket& socket, InputBuffer& input) {
    TestStep step;
    step.began(socket.recv(step.operation, input));
    EXPECT_TRUE(turn_until([&] { return step.done; }));
    return step.result;
  }
  int send(Socket& socket, std::string_view bytes) {
    TestStep step;
    const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    step.began(socket.send(step.operation, std::span(&piece, 1)));
    EXPECT_TRUE(turn_until([&] { return step.done; }));
    return step.result;
  }

  std::unique_ptr<EventLoop> loop_;
};

// Bytes of which none can be taken for its neighbour's.
inline std::string numbered(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i * 2654435761u >> 11);
  return out;
}

}  // namespace weft::proxy
