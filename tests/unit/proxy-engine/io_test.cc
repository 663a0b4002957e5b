// What both backends of the loop promise, each sentence on each of them: one loop, its sockets and acceptor
// against plain blocking sockets on 127.0.0.1. Everything on one thread; a turn is bounded by a deadline.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <list>

#include "tests/unit/proxy-engine/io_world.h"
#include "userspace-proxy/net/acceptor.h"

namespace weft::proxy {
namespace {

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

// Collects what an acceptor brings.
struct Accepted final : Acceptor::Receiver {
  std::vector<UniqueFd> fds;
  std::vector<SocketAddress> peers;
  std::vector<int> errors;
  void accepted(UniqueFd fd, const SocketAddress& peer) override {
    fds.push_back(std::move(fd));
    peers.push_back(peer);
  }
  bool accept_failed(int error) override {
    errors.push_back(error);
    return false;
  }
};

TEST_P(IoTest, MovesBytesBothWaysAndEndsWithTheEndOfTheStream) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  InputBuffer input(loop_->buffers());
  peer.send("question");
  EXPECT_EQ(receive(socket, input), 8);
  EXPECT_EQ(input.unread(), "question");
  EXPECT_EQ(send(socket, "answer"), 0);
  EXPECT_EQ(peer.read(6), "answer");
  input.clear();
  peer.finish_sending();
  EXPECT_EQ(receive(socket, input), 0);
  EXPECT_EQ(receive(socket, input), 0) << "an end stays one";
  EXPECT_EQ(send(socket, "after the end"), 0) << "the other direction goes on";
  EXPECT_EQ(peer.read(13), "after the end");
  socket.shutdown_write();
  EXPECT_EQ(peer.read_end(), 0);
}

TEST_P(IoTest, AppendsToBytesThatWereLeftUnread) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  InputBuffer input(loop_->buffers());
  const std::string all = numbered(kChunkBytes);
  for (size_t at = 0; at < all.size(); at += 1000) peer.send(std::string_view(all).substr(at, 1000));
  while (input.unread().size() < all.size()) ASSERT_GT(receive(socket, input), 0);
  EXPECT_TRUE(input.unread() == all);
}

TEST_P(IoTest, ReadsALongStreamInLargeStepsAndOnceInOrder) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  InputBuffer input(loop_->buffers());
  const std::string all = numbered(16 * 1024 * 1024);
  std::thread sender([&] {
    peer.send(all);
    peer.finish_sending();
  });
  std::string received;
  int longest = 0;
  for (int count = receive(socket, input); count > 0; count = receive(socket, input)) {
    longest = std::max(longest, count);
    received += input.unread();
    input.clear();
  }
  sender.join();
  EXPECT_TRUE(received == all);
  EXPECT_GT(longest, 32 * 1024);
  EXPECT_LT(loop_->buffers().in_use(), 200u);
}

TEST_P(IoTest, SendsMoreThanTheKernelHoldsAsTheReaderMakesRoom) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  const std::string all = numbered(16 * 1024 * 1024);
  std::string received;
  std::thread reader([&] { received = peer.read(all.size()); });
  EXPECT_EQ(send(socket, all), 0);
  reader.join();
  EXPECT_TRUE(received == all);
}

TEST_P(IoTest, GoesOnSendingToAPeerThatHasFinishedItsOwnDirection) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  peer.finish_sending();
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(socket, input), 0);
  const std::string all = numbered(8 * 1024 * 1024);
  std::string received;
  const uint64_t turns = loop_->turns();
  TestStep step;
  const iovec piece{const_cast<char*>(all.data()), all.size()};
  step.began(socket.send(step.operation, std::span(&piece, 1)));
  // Nobody reads: the loop must sleep, not spin on the FIN that it knows.
  for (int i = 0; i < 10; ++i) loop_->turn(5);
  const uint64_t before = loop_->turns();
  const auto started = std::chrono::steady_clock::now();
  loop_->turn(50);
  EXPECT_GE(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(45));
  EXPECT_GT(before, turns);
  EXPECT_FALSE(step.done);
  std::thread reader([&] { received = peer.read(all.size()); });
  EXPECT_TRUE(turn_until([&] { return step.done; }));
  reader.join();
  EXPECT_TRUE(received == all);
}

TEST_P(IoTest, DoesNotReadWithoutBoundWhenNobodyWantsBytes) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  InputBuffer input(loop_->buffers());
  peer.send("x");
  EXPECT_EQ(receive(socket, input), 1);
  input.clear();
  // The receive stays armed in the kernel on io_uring; nobody asks for more.
  const std::string block(64 * 1024, 'y');
  fcntl(peer.fd(), F_SETFL, O_NONBLOCK);
  size_t sent = 0;
  for (int idle = 0; idle < 20;) {
    const ssize_t count = ::send(peer.fd(), block.data(), block.size(), MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<size_t>(count);
    idle = count > 0 ? 0 : idle + 1;
    loop_->turn(1);
  }
  EXPECT_LT(loop_->buffers().in_use(), 128u + 150u) << "at most a burst of small buffers";
  fcntl(peer.fd(), F_SETFL, 0);
  size_t received = 0;
  while (received < sent) {
    const int count = receive(socket, input);
    ASSERT_GT(count, 0);
    received += static_cast<size_t>(count);
    input.clear();
  }
  EXPECT_EQ(received, sent);
}

TEST_P(IoTest, TellsOfAResetWithAndWithoutAReceive) {
  for (const bool receiving : {false, true}) {
    Socket socket(*loop_);
    TestConnection peer = connect_pair(socket);
    InputBuffer input(loop_->buffers());
    TestStep reset, received;
    socket.watch_reset(reset.operation);
    if (receiving) received.began(socket.recv(received.operation, input));
    loop_->turn(0);
    peer.reset();
    EXPECT_TRUE(turn_until([&] { return reset.done && (received.done || !receiving); }));
    EXPECT_EQ(reset.result, -ECONNRESET);
    if (receiving) {
      EXPECT_EQ(received.result, -ECONNRESET);
    }
  }
}

TEST_P(IoTest, DoesNotTakeAnEndOfStreamForAReset) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  TestStep reset;
  socket.watch_reset(reset.operation);
  loop_->turn(0);
  peer.finish_sending();
  for (int i = 0; i < 5; ++i) loop_->turn(1);
  EXPECT_FALSE(reset.done);
  peer.reset();
  EXPECT_TRUE(turn_until([&] { return reset.done; }));
}

TEST_P(IoTest, ClosesAndResetsAtOnceWithOperationsPending) {
  for (const bool with_reset : {false, true}) {
    Socket socket(*loop_);
    TestConnection peer = connect_pair(socket);
    InputBuffer input(loop_->buffers());
    TestStep received, sent;
    received.began(socket.recv(received.operation, input));
    const std::string much(8 * 1024 * 1024, 'z');
    const iovec piece{const_cast<char*>(much.data()), much.size()};
    if (with_reset) sent.began(socket.send(sent.operation, std::span(&piece, 1)));
    loop_->turn(0);
    with_reset ? socket.reset() : socket.close();
    const auto started = std::chrono::steady_clock::now();
    loop_->turn(0);
    int end = peer.read_end();
    // Bytes that were on their way may come before the end.
    while (end == -1) end = peer.read_end();
    EXPECT_EQ(end, with_reset ? ECONNRESET : 0);
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(1));
    EXPECT_FALSE(received.done || sent.done);
  }
}

TEST_P(IoTest, SendsNothingThatItsOwnerHasTakenBack) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  const std::string first(8 * 1024 * 1024, 'a');
  TestStep blocked;
  {
    std::string gone = first;
    const iovec piece{gone.data(), gone.size()};
    blocked.began(socket.send(blocked.operation, std::span(&piece, 1)));
    loop_->turn(0);
    ASSERT_FALSE(blocked.done);
    blocked.operation.cancel();
    std::fill(gone.begin(), gone.end(), 'b');
  }
  std::string received;
  std::thread reader([&] { received = peer.read_to_end(); });
  for (int i = 0; i < 20; ++i) loop_->turn(5);
  socket.close();
  loop_->turn(0);
  reader.join();
  EXPECT_EQ(received.find('b'), std::string::npos);
  EXPECT_LT(received.size(), first.size());
}

TEST_P(IoTest, SendsWhatItCanOfASendThatIsFollowedByAClose) {
  Socket socket(*loop_);
  TestConnection peer = connect_pair(socket);
  TestStep sent;
  std::string bytes = "last words";
  const iovec piece{bytes.data(), bytes.size()};
  socket.send(sent.operation, std::span(&piece, 1));
  socket.close();
  loop_->turn(0);
  EXPECT_EQ(peer.read_to_end(), bytes);
}

TEST_P(IoTest, ConnectsAndSaysWhyItCannot) {
  SocketAddress address;
  const UniqueFd listener = listen_on_loopback(&address);
  for (const auto& [to, expected] : {std::pair(address, 0), std::pair(refused_address(), -ECONNREFUSED)}) {
    Socket socket(*loop_);
    ASSERT_TRUE(socket.open(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), false));
    TestStep connected;
    connected.began(socket.connect(connected.operation, to));
    EXPECT_TRUE(turn_until([&] { return connected.done; }));
    EXPECT_EQ(connected.result, expected);
    if (expected == 0) {
      EXPECT_EQ(send(socket, "hello"), 0);
    }
  }
}

TEST_P(IoTest, AcceptsUntilPausedAndAgainWhenResumed) {
  SocketAddress address;
  UniqueFd listener = listen_on_loopback(&address);
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  const UniqueFd elsewhere(fcntl(listener.get(), F_DUPFD_CLOEXEC, 0));
  Accepted accepted;
  {
    Acceptor acceptor(*loop_, std::move(listener), accepted);
    ASSERT_TRUE(acceptor.start());
    std::list<TestConnection> clients;
    for (int i = 0; i < 100; ++i) clients.push_back(TestConnection::to(address));
    EXPECT_TRUE(turn_until([&] { return accepted.fds.size() == 100; }));
    EXPECT_TRUE(accepted.peers.front().ip.is_v4());
    EXPECT_NE(accepted.peers.front().port, 0);
    acceptor.pause();
    loop_->turn(0);
    for (int i = 0; i < 10; ++i) clients.push_back(TestConnection::to(address));
    for (int i = 0; i < 5; ++i) loop_->turn(1);
    EXPECT_EQ(accepted.fds.size(), 100u);
    acceptor.resume();
    EXPECT_TRUE(turn_until([&] { return accepted.fds.size() == 110; }));
    acceptor.pause();
    loop_->turn(0);
    clients.push_back(TestConnection::to(address));
    acceptor.finish();
    EXPECT_EQ(accepted.fds.size(), 110u);
  }
  loop_->turn(0);
  const UniqueFd left(accept4(elsewhere.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(left.valid()) << "what waits stays for whoever else holds the listener";
}

TEST_P(IoTest, TakesWhatWaitsBeforeAListenerIsClosed) {
  SocketAddress address;
  UniqueFd listener = listen_on_loopback(&address);
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  Accepted accepted;
  Acceptor acceptor(*loop_, std::move(listener), accepted);
  ASSERT_TRUE(acceptor.start());
  loop_->turn(0);
  std::list<TestConnection> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(TestConnection::to(address));
  acceptor.take_waiting();
  EXPECT_EQ(accepted.fds.size(), 100u);
}

TEST_P(IoTest, SaysThatDescriptorsRanOutAndGoesOnWhenThereAreSome) {
  SocketAddress address;
  UniqueFd listener = listen_on_loopback(&address);
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  Accepted accepted;
  Acceptor acceptor(*loop_, std::move(listener), accepted);
  TestConnection client = TestConnection::to(address);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  // No number below the lowest free one is left: every new descriptor fails.
  const rlimit none{.rlim_cur = static_cast<rlim_t>(UniqueFd(dup(0)).get()), .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  ASSERT_TRUE(acceptor.start());
  EXPECT_TRUE(turn_until([&] { return !accepted.errors.empty(); }));
  setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_FALSE(accepted.errors.empty());
  EXPECT_EQ(accepted.errors[0], EMFILE);
  EXPECT_TRUE(turn_until([&] { return accepted.fds.size() == 1; }))
      << "without another connection to wake it";
}

TEST_P(IoTest, ServesMoreConnectionsAtOnceThanItHasBuffers) {
  struct Client {
    explicit Client(EventLoop& loop) : socket(loop), input(loop.buffers()) {}
    Socket socket;
    InputBuffer input;
    TestStep step;
  };
  std::list<Client> ours;
  std::list<TestConnection> peers;
  for (int i = 0; i < 300; ++i) peers.push_back(connect_pair(ours.emplace_back(*loop_).socket));
  for (Client& c : ours) c.step.began(c.socket.recv(c.step.operation, c.input));
  loop_->turn(0);
  // All at once, and each more than one buffer: the provided ones run out in the middle.
  const std::string message = numbered(10'000);
  for (TestConnection& peer : peers) peer.send(message);
  for (Client& c : ours) {
    std::string received;
    while (received.size() < message.size()) {
      ASSERT_TRUE(turn_until([&] { return c.step.done; }));
      ASSERT_GT(c.step.result, 0);
      received += c.input.unread();
      c.input.clear();
      c.step.done = false;
      if (received.size() < message.size()) c.step.began(c.socket.recv(c.step.operation, c.input));
    }
    EXPECT_TRUE(received == message);
  }
}

TEST_P(IoTest, ComesBackToItsDescriptorsAndBuffersAfterThousandsOfConnections) {
  loop_->turn(0);
  const size_t descriptors = open_descriptors();
  const size_t buffers = loop_->buffers().in_use();
  for (int round = 0; round < 20; ++round) {
    struct Client {
      explicit Client(EventLoop& loop) : socket(loop), input(loop.buffers()) {}
      Socket socket;
      InputBuffer input;
      TestStep received, reset;
    };
    std::list<Client> ours;
    std::list<TestConnection> peers;
    for (int i = 0; i < 150; ++i) {
      Client& c = ours.emplace_back(*loop_);
      peers.push_back(connect_pair(c.socket));
      c.socket.watch_reset(c.reset.operation);
      c.received.began(c.socket.recv(c.received.operation, c.input));
      if (i % 3 == 0) peers.back().send("bytes that nobody will read");
      if (i % 5 == 0) peers.back().reset();
      if (i % 7 == 0) c.socket.close();
    }
    loop_->turn(0);
  }
  EXPECT_TRUE(turn_until([&] { return open_descriptors() == descriptors; })) << open_descriptors();
  EXPECT_EQ(loop_->buffers().in_use(), buffers);
}

TEST_P(IoTest, WakesForAPostFromAnotherThread) {
  bool posted = false;
  std::thread other([&] { loop_->post([&] { posted = true; }); });
  const auto started = std::chrono::steady_clock::now();
  while (!posted) loop_->turn(-1);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5));
  other.join();
}

INSTANTIATE_TEST_SUITE_P(Backends, IoTest, ::testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST(IoChoiceTest, KeepsToEpollWhenAskedAndFindsOutOtherwise) {
  EXPECT_EQ(*choose_io(IoChoice::kEpoll), IoKind::kEpoll);
  const bool works = try_uring().ok();
  EXPECT_EQ(*choose_io(IoChoice::kAuto), works ? IoKind::kUring : IoKind::kEpoll);
  EXPECT_EQ(choose_io(IoChoice::kUring).ok(), works);
}

TEST(IoChoiceTest, SaysWhatRefusesIoUring) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{.rlim_cur = static_cast<rlim_t>(UniqueFd(dup(0)).get()), .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  const absl::StatusOr<IoKind> uring = choose_io(IoChoice::kUring);
  const absl::StatusOr<IoKind> automatic = choose_io(IoChoice::kAuto);
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_NE(uring.status().message().find("--io uring: io_uring_setup: "), std::string::npos)
      << uring.status();
  EXPECT_EQ(*automatic, IoKind::kEpoll);
}

}  // namespace
}  // namespace weft::proxy
