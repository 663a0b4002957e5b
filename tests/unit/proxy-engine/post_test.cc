// Bytes that are posted on a socket: copied, sent with the turn, in order with what is sent, on each backend.
#include <algorithm>
#include <list>
#include <thread>
#include <vector>

#include "tests/unit/proxy-engine/io_world.h"

namespace weft::proxy {
namespace {

// Posts, or sends where that is refused, as those who post do.
void post_or_send(Socket& socket, std::list<TestStep>& sends, std::string_view bytes) {
  const iovec pieces[] = {
      {const_cast<char*>(bytes.data()), bytes.size() / 2},
      {const_cast<char*>(bytes.data()) + bytes.size() / 2, bytes.size() - bytes.size() / 2}};
  if (socket.post(pieces)) return;
  TestStep& step = sends.emplace_back();
  step.began(socket.send(step.operation, pieces));
}

TEST_P(IoTest, PostsACopyThatGoesOutWithTheTurn) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  std::list<TestStep> sends;
  for (int i = 0; i < 3; ++i) {
    std::string bytes = "posted";
    post_or_send(socket, sends, bytes);
    if (sends.empty()) bytes = "changed";
    loop_->turn(0);
    EXPECT_EQ(peer.read(6), "posted");
  }
  EXPECT_FALSE(socket.unsent());
}

TEST_P(IoTest, SendsOutBeforeTheTurnEndsWhenAskedTo) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  std::list<TestStep> sends;
  for (int i = 0; i < 3; ++i) {
    post_or_send(socket, sends, "posted");
    loop_->send_out();
    EXPECT_EQ(peer.read(6), "posted");
    loop_->turn(0);
  }
  EXPECT_FALSE(socket.unsent());
}

TEST_P(IoTest, KeepsTheOrderOfWhatIsPostedAndSentInOneTurn) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  const std::string large = numbered(64 * 1024);
  std::list<TestStep> sends;
  post_or_send(socket, sends, "first ");
  post_or_send(socket, sends, "second ");
  EXPECT_TRUE(turn_until([&] { return sends.empty() || sends.back().done; }));
  std::string received;
  std::thread reader([&] { received = peer.read(13 + large.size()); });
  EXPECT_EQ(send(socket, large), 0);
  reader.join();
  EXPECT_TRUE(received == "first second " + large);
}

TEST_P(IoTest, KeepsWhatIsPostedForAPeerThatDoesNotRead) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  const int small = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  const std::string block = numbered(3000);
  std::string expected;
  std::list<TestStep> sends;
  // Until a send waits: everything before was taken.
  for (int i = 0; i < 100'000 && (sends.empty() || sends.back().done); ++i) {
    sends.clear();
    post_or_send(socket, sends, block);
    expected += block;
    loop_->turn(0);
  }
  ASSERT_FALSE(sends.empty());
  ASSERT_FALSE(sends.back().done);
  std::string received;
  std::thread reader([&] { received = peer.read(expected.size()); });
  EXPECT_TRUE(turn_until([&] { return sends.back().done && !socket.unsent(); }));
  EXPECT_EQ(sends.back().result, 0);
  reader.join();
  EXPECT_TRUE(received == expected);
}

TEST_P(IoTest, SendsWhatWasPostedBeforeAClose) {
  for (const bool shut : {false, true}) {
    Socket socket(*loop_);
    TestConnection peer = connect_pair(socket);
    std::list<TestStep> sends;
    post_or_send(socket, sends, "last words");
    shut ? socket.shutdown_write() : socket.close();
    EXPECT_EQ(peer.read_to_end(), "last words");
    loop_->turn(0);
  }
}

TEST_P(IoTest, SurvivesPostsToAPeerThatIsGone) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  InputBuffer input(loop_->buffers());
  peer.reset();
  std::list<TestStep> sends;
  for (int i = 0; i < 5; ++i) {
    post_or_send(socket, sends, "nobody hears");
    loop_->turn(0);
  }
  EXPECT_LE(receive(socket, input), 0);
  socket.close();
  loop_->turn(0);
}

// Enough posts in one turn that they do not fit the memory lent for them, nor the queue of requests.
TEST_P(IoTest, PostsOnManySocketsInOneTurn) {
  constexpr size_t kSockets = 700;
  std::list<Socket> sockets;
  std::vector<TestConnection> peers;
  std::list<TestStep> sends;
  for (size_t i = 0; i < kSockets; ++i) peers.push_back(connect_pair(sockets.emplace_back(*loop_)));
  const std::string block = numbered(1500);
  for (int turn = 0; turn < 2; ++turn) {
    for (Socket& socket : sockets) post_or_send(socket, sends, block);
    EXPECT_TRUE(turn_until([&] {
      return std::all_of(sends.begin(), sends.end(), [](const TestStep& step) { return step.done; });
    }));
    for (TestConnection& peer : peers) ASSERT_TRUE(peer.read(block.size()) == block);
  }
}

}  // namespace
}  // namespace weft::proxy
