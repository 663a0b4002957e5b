// The handover client against a scripted agent on a real SOCK_SEQPACKET socket, with real descriptors passed
// both ways.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <set>

#include "base/fd_passing.h"
#include "base/strings.h"
#include "proto/weft/handover/v1/handover.pb.h"
#include "tests/unit/proxy-config/fake_worker.h"
#include "userspace-proxy/handover/handover_client.h"

namespace weft::proxy {
namespace {

namespace handover = weft::handover::v1;
using testing::HasSubstr;

ino_t inode(int fd) {
  struct stat s{};
  EXPECT_EQ(::fstat(fd, &s), 0);
  return s.st_ino;
}

struct Said {
  handover::ToAgent message;
  std::vector<UniqueFd> fds;
};

class Agent {
 public:
  explicit Agent(std::string path) : path_(std::move(path)) { listen(); }
  ~Agent() { ::unlink(path_.c_str()); }

  void listen() {
    ::unlink(path_.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_.get(), 4), 0);
  }
  void accept() {
    ASSERT_TRUE(readable(listener_.get()));
    peer_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(peer_.valid());
  }
  void hang_up() { peer_.reset(); }
  bool peer_has_gone() { return readable(peer_.get()) && !receive_with_fds(peer_.get()).ok(); }

  Said receive() {
    Said out;
    EXPECT_TRUE(readable(peer_.get()));
    auto packet = receive_with_fds(peer_.get());
    EXPECT_TRUE(packet.ok()) << packet.status();
    if (!packet.ok()) return out;
    EXPECT_TRUE(out.message.ParseFromString(packet->payload));
    out.fds = std::move(packet->fds);
    return out;
  }
  // Hello … HeldEnd; the Held messages by cookie.
  std::map<uint64_t, Said> greeting() {
    std::map<uint64_t, Said> held;
    EXPECT_EQ(receive().message.hello().protocol(), 1u);
    for (Said said = receive(); !said.message.has_held_end(); said = receive()) {
      if (!said.message.has_held()) break;
      const uint64_t cookie = said.message.held().namespace_().netns_cookie();
      held[cookie] = std::move(said);
    }
    return held;
  }
  void add(uint64_t cookie, const std::vector<int>& fds, bool confined = false) {
    handover::ToProxy message;
    message.mutable_add()->set_confined(confined);
    message.mutable_add()->set_netns_cookie(cookie);
    message.mutable_add()->set_workload_uid(str_cat("uid-", cookie));
    send(message, fds);
  }
  void keep(uint64_t cookie) {
    handover::ToProxy message;
    message.mutable_keep()->set_netns_cookie(cookie);
    send(message);
  }
  void remove(uint64_t cookie) {
    handover::ToProxy message;
    message.mutable_remove()->set_netns_cookie(cookie);
    send(message);
  }
  void end_snapshot() {
    handover::ToProxy message;
    message.mutable_snapshot_end();
    send(message);
  }
  void send(const handover::ToProxy& message, const std::vector<int>& fds = {}) {
    EXPECT_EQ(send_with_fds(peer_.get(), message.SerializeAsString(), fds), absl::OkStatus());
  }
  // The error of the Ack for `cookie`.
  std::string ack(uint64_t cookie) {
    const Said said = receive();
    EXPECT_TRUE(said.message.has_ack());
    EXPECT_EQ(said.message.ack().netns_cookie(), cookie);
    return said.message.ack().error();
  }

 private:
  static bool readable(int fd) {
    pollfd event{fd, POLLIN, 0};
    return ::poll(&event, 1, static_cast<int>(std::chrono::milliseconds(kTestPatience).count())) == 1;
  }

  std::string path_;
  UniqueFd listener_, peer_;
};

class HandoverTest : public testing::Test {
 protected:
  HandoverTest()
      : path_(str_cat(testing::TempDir(), "weft-handover-", ::getpid(), ".sock")),
        agent_(path_),
        netns_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    for (int i = 0; i < 3; ++i) sockets_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  ~HandoverTest() override { client_.reset(); }

  void start() {
    HandoverClient::Options options;
    options.socket_path = path_;
    options.version = "test";
    auto client = HandoverClient::start(options, {&workers_[0], &workers_[1]});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    agent_.accept();
  }
  std::vector<int> all_fds() const {
    return {netns_.get(), sockets_[0].get(), sockets_[1].get(), sockets_[2].get()};
  }

  const std::string path_;
  Agent agent_;
  UniqueFd netns_;
  std::vector<UniqueFd> sockets_;
  FakeWorker workers_[2];
  std::unique_ptr<HandoverClient> client_;
};

TEST_F(HandoverTest, FreshProxyHoldsNothing) {
  start();
  EXPECT_TRUE(agent_.greeting().empty());
}

TEST_F(HandoverTest, ListenersAreDealtToWorkersInTurn) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds());
  EXPECT_EQ(agent_.ack(11), "");
  ASSERT_TRUE(workers_[0].wait_for_listeners(2));
  ASSERT_TRUE(workers_[1].wait_for_listeners(1));
  EXPECT_EQ(inode(workers_[0].listeners_[0].listener.get()), inode(sockets_[0].get()));
  EXPECT_EQ(inode(workers_[1].listeners_[0].listener.get()), inode(sockets_[1].get()));
  EXPECT_EQ(inode(workers_[0].listeners_[1].listener.get()), inode(sockets_[2].get()));
  EXPECT_EQ(inode(workers_[1].listeners_[0].netns.get()), inode(netns_.get()));
  EXPECT_EQ(workers_[0].listeners_[0].workload_uid, "uid-11");
}

TEST_F(HandoverTest, AddWithoutListenersIsRefused) {
  start();
  agent_.greeting();
  agent_.add(11, {netns_.get()});
  EXPECT_THAT(agent_.ack(11), HasSubstr("at least one listener"));
  EXPECT_EQ(workers_[0].listeners(), 0u);
}

TEST_F(HandoverTest, RemoveReachesEveryWorkerAndIsAcknowledgedTwice) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds());
  agent_.ack(11);
  agent_.remove(11);
  EXPECT_EQ(agent_.ack(11), "");
  EXPECT_TRUE(workers_[0].wait_for_listeners(0));
  EXPECT_TRUE(workers_[1].wait_for_listeners(0));
  agent_.remove(11);
  EXPECT_EQ(agent_.ack(11), "");
}

TEST_F(HandoverTest, AddedTwiceReplacesTheFirst) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds());
  agent_.ack(11);
  agent_.add(11, {netns_.get(), sockets_[0].get()});
  EXPECT_EQ(agent_.ack(11), "");
  EXPECT_TRUE(workers_[0].wait_for_listeners(1));
  EXPECT_TRUE(workers_[1].wait_for_listeners(0));
}

TEST_F(HandoverTest, RestartedAgentGetsEverythingBack) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds());
  agent_.ack(11);
  agent_.hang_up();
  agent_.accept();
  const auto held = agent_.greeting();
  ASSERT_EQ(held.size(), 1u);
  const Said& said = held.at(11);
  EXPECT_EQ(said.message.held().namespace_().workload_uid(), "uid-11");
  ASSERT_EQ(said.fds.size(), 4u);
  EXPECT_EQ(inode(said.fds[0].get()), inode(netns_.get()));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(inode(said.fds[i + 1].get()), inode(sockets_[i].get()));
  EXPECT_EQ(workers_[0].listeners(), 2u) << "served on meanwhile";
}

TEST_F(HandoverTest, WhetherThePodMayReachDeclaredDestinationsOnlyReachesTheWorkersAndIsKept) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds(), true);
  EXPECT_EQ(agent_.ack(11), "");
  EXPECT_TRUE(workers_[0].listeners_[0].confined);
  agent_.hang_up();
  agent_.accept();
  EXPECT_TRUE(agent_.greeting().at(11).message.held().namespace_().confined());
  agent_.add(11, all_fds(), false);
  EXPECT_EQ(agent_.ack(11), "");
  EXPECT_FALSE(workers_[0].listeners_.back().confined);
}

TEST_F(HandoverTest, CompleteListWithoutANamespaceRemovesIt) {
  start();
  agent_.greeting();
  agent_.add(11, all_fds());
  agent_.ack(11);
  agent_.add(12, all_fds());
  agent_.ack(12);
  agent_.hang_up();
  agent_.accept();
  agent_.greeting();
  agent_.keep(12);
  EXPECT_EQ(agent_.ack(12), "");
  agent_.end_snapshot();
  EXPECT_TRUE(workers_[0].wait_for_listeners(2));
  EXPECT_EQ(workers_[0].listeners_[0].netns_cookie, 12u);
}

TEST_F(HandoverTest, KeepOfSomethingNotHeldIsRefused) {
  start();
  agent_.greeting();
  agent_.keep(99);
  EXPECT_THAT(agent_.ack(99), HasSubstr("not held"));
}

TEST_F(HandoverTest, EndOfTheClientClosesTheSocket) {
  start();
  agent_.greeting();
  client_.reset();
  EXPECT_TRUE(agent_.peer_has_gone());
}

}  // namespace
}  // namespace weft::proxy
