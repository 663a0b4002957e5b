// The handover server against a scripted proxy over a real socket with real descriptors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <future>

#include "agent/feed/handover_server.h"
#include "base/fd_passing.h"
#include "bpf/abi/constants.h"
#include "proto/weft/handover/v1/handover.pb.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

using handover::v1::ToAgent;
using handover::v1::ToProxy;
using std::chrono::milliseconds;

uint64_t inode_of(int fd) {
  struct stat info{};
  ::fstat(fd, &info);
  return info.st_ino;
}

// Blocking client of the handover socket; receives with a 5 s limit.
class ScriptedProxy {
 public:
  explicit ScriptedProxy(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const timeval limit{5, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0)
        << std::strerror(errno);
  }
  void hello(uint32_t protocol = 1, bool judges_inbound = true) {
    ToAgent packet;
    packet.mutable_hello()->set_protocol(protocol);
    packet.mutable_hello()->set_judges_inbound(judges_inbound);
    send(packet);
  }
  void held(uint64_t cookie, const std::string& uid, std::vector<int> with) {
    ToAgent packet;
    packet.mutable_held()->mutable_namespace_()->set_netns_cookie(cookie);
    packet.mutable_held()->mutable_namespace_()->set_workload_uid(uid);
    send(packet, std::move(with));
  }
  void held_end() {
    ToAgent packet;
    packet.mutable_held_end();
    send(packet);
  }
  void ack(uint64_t cookie, const std::string& error = "") {
    ToAgent packet;
    packet.mutable_ack()->set_netns_cookie(cookie);
    packet.mutable_ack()->set_error(error);
    send(packet);
  }
  // "add 7 uid 2fds", "keep 7", "remove 7", "end", or "closed".
  std::string next() {
    absl::StatusOr<FdMessage> message = receive_with_fds(socket_.get());
    if (!message.ok()) return absl::IsOutOfRange(message.status()) ? "closed" : message.status().ToString();
    ToProxy packet;
    packet.ParseFromString(message->payload);
    fds = std::move(message->fds);
    if (packet.has_add()) {
      return "add " + std::to_string(packet.add().netns_cookie()) + " " + packet.add().workload_uid() + " " +
             std::to_string(fds.size()) + "fds";
    }
    if (packet.has_keep()) return "keep " + std::to_string(packet.keep().netns_cookie());
    if (packet.has_remove()) return "remove " + std::to_string(packet.remove().netns_cookie());
    return packet.has_snapshot_end() ? "end" : "?";
  }
  void close() { socket_.reset(); }

  std::vector<UniqueFd> fds;

 private:
  void send(const ToAgent& packet, std::vector<int> with = {}) {
    EXPECT_TRUE(send_with_fds(socket_.get(), packet.SerializeAsString(), with).ok());
  }
  UniqueFd socket_;
};

class HandoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_.file("handover.sock");
    server_ =
        std::make_unique<HandoverServer>(HandoverServer::Options{path_, SocketAccess{}, milliseconds(300)});
    HandoverServer::Events events;
    events.ready = [this](uint64_t connection, Peer peer, ProxyAbilities abilities,
                          std::vector<HeldNamespace> held) {
      peer_ = peer;
      abilities_ = abilities;
      held_ = std::move(held);
      server_->snapshot(connection, adds_, keeps_);
    };
    events.gone = [this] {
      if (!std::exchange(was_gone_, true)) gone_.set_value();
    };
    ASSERT_TRUE(server_->start(std::move(events)).ok());
  }
  void TearDown() override { server_.reset(); }
  static Announcement announcement(uint64_t cookie) {
    auto fds = std::make_shared<NamespaceFds>();
    fds->netns.reset(::eventfd(0, EFD_CLOEXEC));
    fds->listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
    fds->listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
    return {cookie, "uid", std::move(fds)};
  }
  absl::Status add_and_wait(uint64_t cookie, ScriptedProxy* proxy, const std::string& error) {
    std::promise<absl::Status> promise;
    server_->add(announcement(cookie), [&promise](const absl::Status& status) { promise.set_value(status); });
    if (proxy != nullptr) {
      EXPECT_EQ(proxy->next(), "add " + std::to_string(cookie) + " uid 3fds");
      proxy->ack(cookie, error);
    }
    return promise.get_future().get();
  }

  const test::ScratchFolder folder_;
  std::string path_;
  std::unique_ptr<HandoverServer> server_;
  Peer peer_;
  ProxyAbilities abilities_;
  std::vector<HeldNamespace> held_;
  std::vector<Announcement> adds_;
  std::vector<uint64_t> keeps_;
  std::promise<void> gone_;
  bool was_gone_ = false;
};

TEST_F(HandoverTest, NewProxyGetsEveryNamespaceThenTheEndOfTheSnapshot) {
  adds_ = {announcement(1), announcement(2)};
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "add 1 uid 3fds");
  EXPECT_EQ(proxy.next(), "add 2 uid 3fds");
  EXPECT_EQ(proxy.next(), "end");
  EXPECT_EQ(peer_.pid, ::getpid());
  EXPECT_EQ(server_->proxy_pid(), ::getpid());
  proxy.ack(1);
  proxy.ack(2, "no room");
  EXPECT_TRUE(server_->wait_served(1, milliseconds(5000)).ok());
  EXPECT_THAT(server_->wait_served(2, milliseconds(5000)).message(), ::testing::HasSubstr("no room"));
  EXPECT_EQ(server_->served(), std::set<uint64_t>{1});
}

// It would serve such a listener as an outbound capture, and nobody would judge.
TEST_F(HandoverTest, AProxyThatDoesNotJudgePlainConnectionsGetsNoListenerForThem) {
  auto fds = std::make_shared<NamespaceFds>();
  fds->netns.reset(::eventfd(0, EFD_CLOEXEC));
  fds->listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
  fds->listeners.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Bound and not listening: it takes the port of nobody.
  const int on = 1;
  ::setsockopt(fds->listeners.back().get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(WEFT_PORT_INBOUND);
  address.sin_addr.s_addr = htonl(0x7f4d0001);
  ASSERT_EQ(::bind(fds->listeners.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0)
      << std::strerror(errno);
  adds_ = {{1, "uid", std::move(fds)}};
  {
    ScriptedProxy old(path_);
    old.hello(1, false);
    old.held_end();
    EXPECT_EQ(old.next(), "add 1 uid 2fds") << "the namespace and one listener";
    EXPECT_EQ(old.next(), "end");
    EXPECT_FALSE(abilities_.judges_inbound);
  }
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "add 1 uid 3fds");
  EXPECT_EQ(proxy.next(), "end");
  EXPECT_TRUE(abilities_.judges_inbound);
}

TEST_F(HandoverTest, RestartedAgentGetsTheListenersBackFromTheProxy) {
  keeps_ = {7};
  const UniqueFd netns(::eventfd(0, EFD_CLOEXEC));
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd listener(ends[0]);
  const UniqueFd other(ends[1]);
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held(7, "uid-7", {netns.get(), listener.get()});
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "keep 7");
  EXPECT_EQ(proxy.next(), "end");
  ASSERT_EQ(held_.size(), 1u);
  EXPECT_EQ(held_[0].workload_uid, "uid-7");
  ASSERT_EQ(held_[0].fds->listeners.size(), 1u);
  EXPECT_EQ(inode_of(held_[0].fds->listeners[0].get()), inode_of(listener.get()));
  proxy.ack(7);
  EXPECT_TRUE(server_->wait_served(7, milliseconds(5000)).ok());
}

TEST_F(HandoverTest, PodsThatComeAndGoReachTheConnectedProxy) {
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "end");
  EXPECT_TRUE(add_and_wait(5, &proxy, "").ok());
  EXPECT_EQ(server_->served(), std::set<uint64_t>{5});
  std::promise<absl::Status> removed;
  server_->remove(5, [&removed](const absl::Status& status) { removed.set_value(status); });
  EXPECT_EQ(proxy.next(), "remove 5");
  proxy.ack(5);
  EXPECT_TRUE(removed.get_future().get().ok());
  EXPECT_TRUE(server_->served().empty());
}

TEST_F(HandoverTest, WithoutAProxyAnAddIsAnsweredAtOnce) {
  EXPECT_TRUE(absl::IsUnavailable(add_and_wait(5, nullptr, "")));
  EXPECT_TRUE(absl::IsUnavailable(server_->wait_served(5, milliseconds(5000))));
}

TEST_F(HandoverTest, KilledProxyIsNoticedAndTheNextOneStartsAfresh) {
  adds_ = {announcement(1)};
  {
    ScriptedProxy proxy(path_);
    proxy.hello();
    proxy.held_end();
    EXPECT_EQ(proxy.next(), "add 1 uid 3fds");
    proxy.ack(1);
    EXPECT_TRUE(server_->wait_served(1, milliseconds(5000)).ok());
  }
  ASSERT_EQ(gone_.get_future().wait_for(milliseconds(5000)), std::future_status::ready);
  EXPECT_EQ(server_->proxy_pid(), 0);
  EXPECT_TRUE(server_->served().empty());
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "add 1 uid 3fds");
  EXPECT_EQ(proxy.next(), "end");
  proxy.ack(1);
  EXPECT_TRUE(server_->wait_served(1, milliseconds(5000)).ok());
}

TEST_F(HandoverTest, NewestOfTwoProxiesIsServedAndTheOlderMustComeBackWhenItGoes) {
  ScriptedProxy older(path_);
  older.hello();
  older.held_end();
  EXPECT_EQ(older.next(), "end");
  {
    ScriptedProxy newer(path_);
    newer.hello();
    newer.held_end();
    EXPECT_EQ(newer.next(), "end");
    EXPECT_TRUE(add_and_wait(9, &newer, "").ok());
  }
  EXPECT_EQ(older.next(), "closed");
}

TEST_F(HandoverTest, ProxyThatDoesNotAnswerIsDisconnectedAfterTheDeadline) {
  ScriptedProxy proxy(path_);
  proxy.hello();
  proxy.held_end();
  EXPECT_EQ(proxy.next(), "end");
  std::promise<absl::Status> promise;
  server_->add(announcement(5), [&promise](const absl::Status& status) { promise.set_value(status); });
  EXPECT_EQ(proxy.next(), "add 5 uid 3fds");
  EXPECT_TRUE(absl::IsUnavailable(promise.get_future().get()));
  EXPECT_EQ(proxy.next(), "closed");
}

TEST_F(HandoverTest, OutOfOrderAnswerUnknownProtocolAndRubbishEndTheConnection) {
  ScriptedProxy stranger(path_);
  stranger.hello(99);
  EXPECT_EQ(stranger.next(), "closed");
  ScriptedProxy hasty(path_);
  hasty.hello();
  hasty.ack(12345);
  EXPECT_EQ(hasty.next(), "closed");
  ScriptedProxy silent(path_);
  EXPECT_EQ(silent.next(), "closed");
}

TEST_F(HandoverTest, SocketHasTheModeItWasGivenBeforeAnybodyCanConnect) {
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace weft::agent
