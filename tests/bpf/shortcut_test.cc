// The shortcut between a pod's socket and the proxy's: which connections have it, that nothing is lost,
// reordered or held without bound, and what ends look like.
#include <thread>

#include "tests/bpf/shortcut_node.h"

namespace weft::agent {
namespace {

TEST_P(ShortcutTest, QuestionsAndAnswersGoPastTcpAndAreMeasured) {
  Ends ends = connect();
  const uint64_t messages = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  const uint64_t bytes = stat(WEFT_STAT_SHORTCUT_BYTES);
  for (int i = 0; i < 10; ++i) exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_JOINED), 1u);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE) - messages, 20u);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_BYTES) - bytes, 30000u);
  ends = {};
  const bool captured = GetParam().kind == Kind::kCaptured;
  const weft_flow row = captured ? closed_flow(kClientId, 0, WEFT_DIRECTION_OUTBOUND)
                                 : closed_flow(0, kServerId, WEFT_DIRECTION_INBOUND);
  EXPECT_EQ(captured ? row.sent_bytes : row.received_bytes, 10100u);
  EXPECT_EQ(captured ? row.received_bytes : row.sent_bytes, 20200u);
  EXPECT_EQ(samples(row.first_byte), 1u);
  const Deadline deadline;
  while (open_rows() != 0 && !deadline.passed()) continue;
  EXPECT_EQ(open_rows(), 0u);
}

// Both directions at once, each with a reader that is now fast and now slow.
TEST_P(ShortcutTest, EveryByteArrivesInOrderWhateverSizesAndReaders) {
  constexpr int kSeeds = 12;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Ends ends = connect(0);
    const std::string to_proxy = pattern(1'500'000, seed);
    const std::string to_pod = pattern(1'500'000, 1000 + seed);
    const auto writer = [seed](int socket, std::string_view bytes) {
      std::mt19937 random(seed);
      const size_t most = seed % 3 == 0 ? 300'000 : seed % 3 == 1 ? 20'000 : 500;
      const size_t all = most == 500 ? 200'000 : bytes.size();
      for (bytes = bytes.substr(0, all); !bytes.empty();) {
        const std::string_view piece = bytes.substr(0, 1 + random() % most);
        ASSERT_EQ(send_all(socket, piece), 0);
        bytes.remove_prefix(piece.size());
      }
      ::shutdown(socket, SHUT_WR);
    };
    const auto reader = [seed](int socket, std::string* out) {
      std::mt19937 random(seed + 77);
      for (std::string more = "x"; !more.empty(); out->append(more)) {
        if (random() % 16 == 0) poll(nullptr, 0, static_cast<int>(random() % 3));
        more = receive_some(socket, 1 + random() % 100'000);
      }
    };
    std::string at_proxy, at_pod;
    std::thread threads[] = {
        std::thread(writer, ends.pod.get(), to_proxy), std::thread(writer, ends.proxy.get(), to_pod),
        std::thread(reader, ends.proxy.get(), &at_proxy), std::thread(reader, ends.pod.get(), &at_pod)};
    for (std::thread& thread : threads) thread.join();
    const size_t all = seed % 3 == 2 ? 200'000 : to_pod.size();
    ASSERT_TRUE(at_proxy == to_proxy.substr(0, all)) << "seed " << seed << ": " << at_proxy.size();
    ASSERT_TRUE(at_pod == to_pod.substr(0, all)) << "seed " << seed << ": " << at_pod.size();
  }
  EXPECT_GT(stat(WEFT_STAT_SHORTCUT_MESSAGE), 0u);
}

TEST_P(ShortcutTest, PodThatDoesNotReadPutsTheProxyOffAndThenIsAnOrdinarySocket) {
  const Ends ends = connect();
  const std::string piece = pattern(30'000, 3);
  std::string sent;
  while (::send(ends.proxy.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
    sent += piece;
    ASSERT_LE(sent.size(), WEFT_SHORTCUT_UNREAD);
  }
  EXPECT_EQ(errno, EINVAL);
  EXPECT_GT(sent.size(), WEFT_SHORTCUT_UNREAD / 2);
  EXPECT_EQ(readable(ends.pod), static_cast<int>(sent.size()));
  EXPECT_GE(stat(WEFT_STAT_SHORTCUT_WAIT), 1u);
  EXPECT_EQ(receive(ends.pod.get(), sent.size()), sent);
  // It has read everything: from now on TCP, whose bytes FIONREAD counts.
  const uint64_t messages = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  EXPECT_EQ(send_all(ends.proxy.get(), piece), 0);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE), messages);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_LEFT_TCP), 1u);
  const Deadline deadline;
  while (readable(ends.pod) < static_cast<int>(piece.size()) && !deadline.passed()) continue;
  EXPECT_EQ(readable(ends.pod), static_cast<int>(piece.size()));
  EXPECT_EQ(receive(ends.pod.get(), piece.size()), piece);
  exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE), messages);
}

TEST_P(ShortcutTest, ProxyThatDoesNotReadHoldsAPodBackByTcp) {
  const Ends ends = connect();
  const uint64_t before = stat(WEFT_STAT_SHORTCUT_BYTES);
  const std::string piece = pattern(30'000, 4);
  std::string sent;
  for (;;) {
    const ssize_t count = ::send(ends.pod.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count <= 0) break;
    sent.append(piece, 0, static_cast<size_t>(count));
    ASSERT_LT(sent.size(), 64u << 20);
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_LE(stat(WEFT_STAT_SHORTCUT_BYTES) - before, WEFT_SHORTCUT_UNREAD);
  EXPECT_GE(stat(WEFT_STAT_SHORTCUT_FULL), 1u);
  EXPECT_TRUE(receive(ends.proxy.get(), sent.size()) == sent);
  exchange(ends, 1000);
}

// What a send takes besides its bytes is not charged to anybody.
TEST_P(ShortcutTest, SendsOfAByteAreBoundedByTheirNumber) {
  const Ends ends = connect();
  uint64_t before = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  std::string sent;
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(::send(ends.pod.get(), "p", 1, MSG_NOSIGNAL | MSG_DONTWAIT), 1);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE) - before, WEFT_SHORTCUT_SENDS);
  EXPECT_EQ(receive(ends.proxy.get(), 2000), std::string(2000, 'p'));
  const Ends others = connect();
  before = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  while (::send(others.proxy.get(), "q", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) sent += "q";
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(sent.size(), WEFT_SHORTCUT_SENDS);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE) - before, WEFT_SHORTCUT_SENDS);
  EXPECT_EQ(receive(others.pod.get(), sent.size()), sent);
}

TEST_P(ShortcutTest, EndOfEitherDirectionFollowsItsBytes) {
  for (const bool pod_ends : {true, false}) {
    const Ends ends = connect();
    const UniqueFd& one = pod_ends ? ends.pod : ends.proxy;
    const UniqueFd& other = pod_ends ? ends.proxy : ends.pod;
    EXPECT_EQ(send_all(one.get(), "last"), 0);
    ::shutdown(one.get(), SHUT_WR);
    EXPECT_EQ(receive(other.get(), 4), "last");
    char byte = 0;
    EXPECT_TRUE(wait_for(other.get(), POLLIN));
    EXPECT_EQ(::recv(other.get(), &byte, 1, MSG_DONTWAIT), 0);
    EXPECT_EQ(send_all(other.get(), "and back"), 0);
    EXPECT_EQ(receive(one.get(), 8), "and back");
  }
}

TEST_P(ShortcutTest, ResetFollowsItsBytes) {
  Ends ends = connect();
  EXPECT_EQ(send_all(ends.proxy.get(), "part"), 0);
  const linger reset{.l_onoff = 1, .l_linger = 0};
  setsockopt(ends.proxy.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  ends.proxy.reset();
  pollfd hung{.fd = ends.pod.get(), .events = 0, .revents = 0};
  EXPECT_EQ(poll(&hung, 1, kTimeoutSeconds * 1000), 1);
  EXPECT_EQ(receive_some(ends.pod.get(), 100), "part");
  char byte = 0;
  EXPECT_EQ(::recv(ends.pod.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(ShortcutTest, SendToAnEndThatIsGoneSaysWhatTcpSays) {
  Ends ends = connect();
  // Closed with bytes unread.
  EXPECT_EQ(send_all(ends.proxy.get(), "unread"), 0);
  ends.pod.reset();
  int error = 0;
  const Deadline deadline;
  while (error == 0 && !deadline.passed()) error = send_all(ends.proxy.get(), "x");
  EXPECT_TRUE(error == EPIPE || error == ECONNRESET) << error;
}

TEST_P(ShortcutTest, PodsThatDoNotAskForItAreLeftAlone) {
  enroll_both(false);
  const Ends ends = connect();
  for (int i = 0; i < 5; ++i) exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_JOINED), 0u);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE), 0u);
  EXPECT_EQ(open_rows(), 0u);
}

TEST_P(ShortcutTest, AgentThatDiesAndComesBackLeavesConnectionsAsTheyAre) {
  const Ends ends = connect();
  EXPECT_EQ(send_all(ends.proxy.get(), "under way"), 0);
  kill_dataplane();
  EXPECT_EQ(receive(ends.pod.get(), 9), "under way");
  exchange(ends, 1000);
  open_dataplane();
  ASSERT_EQ(dataplane_->shortcut_problem(), "");
  const uint64_t before = stat(WEFT_STAT_SHORTCUT_MESSAGE);
  exchange(ends, 1000);
  EXPECT_EQ(stat(WEFT_STAT_SHORTCUT_MESSAGE), before + 2);
}

// Bytes that wait unread are not lost, whatever is removed.
TEST_P(ShortcutTest, CleanupLeavesOpenConnectionsTheirBytes) {
  Ends ends = connect();
  EXPECT_EQ(send_all(ends.proxy.get(), "to pod"), 0);
  EXPECT_EQ(send_all(ends.pod.get(), "to proxy"), 0);
  kill_dataplane();
  const auto removed = cleanup(pin_root(), {netns_path(client_), netns_path(server_)});
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(receive(ends.pod.get(), 6), "to pod");
  EXPECT_EQ(receive(ends.proxy.get(), 8), "to proxy");
  exchange(ends, 1000);
  const std::string pin = pin_root() + "/maps/m_shortcut_sock";
  EXPECT_EQ(access(pin.c_str(), F_OK), 0) << "sockets are in it";
  ends = {};
  const Deadline deadline;
  while (access(pin.c_str(), F_OK) == 0 && !deadline.passed()) EXPECT_TRUE(cleanup(pin_root(), {}).ok());
  EXPECT_NE(access(pin_root().c_str(), F_OK), 0) << "nothing is left once they are closed";
  open_dataplane();
}

INSTANTIATE_TEST_SUITE_P(Kinds, ShortcutTest,
                         testing::Values(Case{Kind::kCaptured, kServerV4, kVipV4},
                                         Case{Kind::kCaptured, kServerV6, kVipV6},
                                         Case{Kind::kDialled, kServerV4, kVipV4},
                                         Case{Kind::kDialled, kServerV6, kVipV6}),
                         name_of);
}  // namespace
}  // namespace weft::agent
