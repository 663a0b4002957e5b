// For the tests of what both backends promise: one loop on either of them, its sockets against plain blocking
// ones on 127.0.0.1. Everything on one thread; a turn is bounded by a deadline.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>

#include "tests/unit/proxy-engine/rig.h"
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

class IoTest : public ::testing::TestWithParam<IoKind> {
 protected:
  void SetUp() override {
    if (GetParam() == IoKind::kUring) {
      const absl::Status status = try_uring();
      if (!status.ok()) GTEST_SKIP() << "io_uring is refused here: " << status;
    }
    loop_ = std::move(EventLoop::open(GetParam())).value();
  }

  bool turn_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_->turn(10);
    }
    return true;
  }
  // A connected pair: the loop's end in `ours`, the other one returned.
  TestConnection connect_pair(Socket& ours) {
    SocketAddress address;
    const UniqueFd listener = listen_on_loopback(&address);
    TestConnection peer = TestConnection::to(address);
    EXPECT_TRUE(ours.open(UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK)), true));
    return peer;
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

inline std::string numbered(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i * 2654435761u >> 11);
  return out;
}

}  // namespace weft::proxy
