// The server of metrics and health when a process has no descriptor left.
#include "base/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <ctime>
#include <vector>

#include "base/strings.h"

namespace weft {
namespace {

using testing::HasSubstr;

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::start({.address = *SocketAddress::parse("127.0.0.1:0")},
                                    [](std::string_view) { return HttpReply{200, "text/plain", "here\n"}; });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
  }
  void TearDown() override { allow_files(before_.rlim_cur); }

  void allow_files(rlim_t count) {
    const rlimit now{.rlim_cur = count, .rlim_max = before_.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  UniqueFd dial() {
    sockaddr_storage storage{};
    const socklen_t length = server_->address().to_sockaddr(&storage);
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    return socket;
  }
  static std::string ask(int socket) {
    constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_EQ(::send(socket, kRequest.data(), kRequest.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(kRequest.size()));
    std::string out;
    char buffer[512];
    for (ssize_t got = 0; (got = ::recv(socket, buffer, sizeof(buffer), 0)) > 0;)
      out.append(buffer, static_cast<size_t>(got));
    return out;
  }
  // What all threads of this process have used.
  static double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }

  rlimit before_{};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAGet) { EXPECT_THAT(ask(dial().get()), HasSubstr("here\n")); }

TEST_F(HttpServerTest, RestsWhileThereIsNoDescriptorLeftAndAnswersAfterwards) {
  // In the queue of the listener, and it stays there.
  const UniqueFd next(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  allow_files(3);
  sockaddr_storage storage{};
  const socklen_t length = server_->address().to_sockaddr(&storage);
  ASSERT_EQ(::connect(next.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  const double before = cpu_seconds();
  // No answer can come within this; a server that spins uses all of it.
  pollfd nothing{.fd = next.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&nothing, 1, 500), 0);
  EXPECT_LT(cpu_seconds() - before, 0.25);
  allow_files(before_.rlim_cur);
  EXPECT_THAT(ask(next.get()), HasSubstr("here\n"));
}

}  // namespace
}  // namespace weft
