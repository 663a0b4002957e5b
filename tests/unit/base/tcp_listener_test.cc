// Where a server listens, and when it cannot.
#include "base/tcp_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace weft {
namespace {

using ::testing::HasSubstr;

TEST(TcpListenerTest, SaysWhichPortItGot) {
  const auto first = listen_on(*SocketAddress::parse("127.0.0.1:0"));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NE(first->address.port, 0);
  const auto second = listen_on(first->address);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("listen on " + first->address.to_string() + " (next: ss -ltnp"));
}

TEST(TcpListenerTest, OnlyAShortageIsNoRoom) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) EXPECT_TRUE(is_no_room(error)) << error;
  for (const int error : {EAGAIN, ECONNABORTED, EINTR}) EXPECT_FALSE(is_no_room(error)) << error;
}

}  // namespace
}  // namespace weft
