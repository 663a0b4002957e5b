// Packets with descriptors over a socket pair: base/fd_passing.h.
#include "base/fd_passing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>

namespace weft {
namespace {

struct Pair {
  UniqueFd left, right;
};

Pair make_pair_of(int extra_flags = 0) {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | extra_flags, 0, fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TEST(FdPassingTest, PayloadAndDescriptorsArriveTogetherAndCloseOnExec) {
  Pair pair = make_pair_of();
  std::array<int, 2> pipe_fds{};
  ASSERT_EQ(::pipe(pipe_fds.data()), 0);
  const UniqueFd reader(pipe_fds[0]), writer(pipe_fds[1]);
  const std::array<int, 1> sent{writer.get()};
  ASSERT_TRUE(send_with_fds(pair.left.get(), "hello", sent).ok());

  auto message = receive_with_fds(pair.right.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->payload, "hello");
  ASSERT_EQ(message->fds.size(), 1u);
  EXPECT_NE(message->fds[0].get(), writer.get());
  EXPECT_NE(::fcntl(message->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::write(message->fds[0].get(), "x", 1), 1);
  char byte = 0;
  ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(FdPassingTest, PacketsKeepTheirBoundaries) {
  Pair pair = make_pair_of();
  ASSERT_TRUE(send_with_fds(pair.left.get(), "one", {}).ok());
  ASSERT_TRUE(send_with_fds(pair.left.get(), "two", {}).ok());
  EXPECT_EQ(receive_with_fds(pair.right.get())->payload, "one");
  EXPECT_EQ(receive_with_fds(pair.right.get())->payload, "two");
}

TEST(FdPassingTest, EndOfStreamIsOutOfRange) {
  Pair pair = make_pair_of();
  pair.left.reset();
  EXPECT_EQ(receive_with_fds(pair.right.get()).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(FdPassingTest, NothingToReadOnNonBlockingSocketIsUnavailable) {
  Pair pair = make_pair_of(SOCK_NONBLOCK);
  EXPECT_EQ(receive_with_fds(pair.right.get()).status().code(), absl::StatusCode::kUnavailable);
}

TEST(FdPassingTest, SendingToAClosedPeerIsUnavailableAndRaisesNoSignal) {
  Pair pair = make_pair_of();
  pair.right.reset();
  EXPECT_EQ(send_with_fds(pair.left.get(), "x", {}).code(), absl::StatusCode::kUnavailable);
}

TEST(FdPassingTest, LargestPacketFits) {
  Pair pair = make_pair_of();
  const std::string payload(kMaxPacketBytes, 'p');
  ASSERT_TRUE(send_with_fds(pair.left.get(), payload, {}).ok());
  auto message = receive_with_fds(pair.right.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->payload, payload);
}

TEST(FdPassingTest, PacketLargerThanTheLimitIsDataLossNotACut) {
  Pair pair = make_pair_of();
  const std::string payload(kMaxPacketBytes + 1, 'p');
  ASSERT_EQ(::send(pair.left.get(), payload.data(), payload.size(), 0), static_cast<ssize_t>(payload.size()));
  EXPECT_EQ(receive_with_fds(pair.right.get()).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace weft
