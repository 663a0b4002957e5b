// Ports of gateways: opened, closed, announced beside the pods, and taken over from a proxy that has them.
#include "agent/feed/gateway_feed.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace weft::agent {
namespace {

// Keeps what it is told.
class KeepingFeed final : public ProxyFeed {
 public:
  void snapshot(uint64_t, std::vector<Announcement> add, std::vector<uint64_t> keep) override {
    snapshot_add = std::move(add);
    snapshot_keep = std::move(keep);
  }
  void add(Announcement announcement, Done done) override {
    added.push_back(std::move(announcement));
    done(absl::OkStatus());
  }
  void remove(uint64_t netns_cookie, Done done) override {
    removed.push_back(netns_cookie);
    done(absl::OkStatus());
  }
  absl::Status wait_served(uint64_t, std::chrono::milliseconds) override { return absl::OkStatus(); }

  std::vector<Announcement> snapshot_add, added;
  std::vector<uint64_t> snapshot_keep, removed;
};

bool answers(uint16_t port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// A port that was free a moment ago.
uint16_t free_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  return ntohs(address.sin_port);
}

class GatewayFeedTest : public testing::Test {
 protected:
  const GatewayFeed::Options options_{.address = IpAddress::parse("127.0.0.1"), .listeners = 2};
  KeepingFeed to_;
  GatewayFeed feed_{to_, options_};
};

TEST_F(GatewayFeedTest, PortsAreOpenedAndAnnounced) {
  const uint16_t port = free_port();
  feed_.want({port});
  EXPECT_TRUE(answers(port));
  ASSERT_EQ(to_.added.size(), 1u);
  EXPECT_EQ(to_.added[0].netns_cookie, kGatewayCookie);
  EXPECT_EQ(to_.added[0].workload_uid, kGatewayUid);
  EXPECT_TRUE(to_.added[0].fds->netns.valid());
  EXPECT_EQ(to_.added[0].fds->listeners.size(), 2u);
  feed_.want({port});
  EXPECT_EQ(to_.added.size(), 1u) << "nothing changed";
}

TEST_F(GatewayFeedTest, PortsAreClosedWhenNothingWantsThem) {
  const uint16_t port = free_port();
  feed_.want({port});
  to_.added.clear();
  feed_.want({});
  EXPECT_EQ(to_.removed, std::vector<uint64_t>{kGatewayCookie});
  EXPECT_FALSE(answers(port));
}

TEST_F(GatewayFeedTest, AProxyThatComesIsToldOfPodsAndGateways) {
  feed_.want({free_port()});
  feed_.snapshot(1, {Announcement{7, "pod", nullptr}}, {8});
  ASSERT_EQ(to_.snapshot_add.size(), 2u);
  EXPECT_EQ(to_.snapshot_add[0].netns_cookie, 7u);
  EXPECT_EQ(to_.snapshot_add[1].netns_cookie, kGatewayCookie);
  EXPECT_EQ(to_.snapshot_keep, std::vector<uint64_t>{8});
}

TEST_F(GatewayFeedTest, APortThatIsTakenIsTriedAgain) {
  KeepingFeed other_to;
  GatewayFeed other(other_to, {.address = IpAddress::parse("127.0.0.1"), .listeners = 1});
  const uint16_t port = free_port();
  const UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  other.want({port});
  EXPECT_TRUE(other.open().empty());
  EXPECT_TRUE(other_to.added.empty());
}

// A restarted agent gets the sockets back that its predecessor had given away.
TEST_F(GatewayFeedTest, ListenersOfARunningProxyAreAdopted) {
  const uint16_t port = free_port();
  feed_.want({port});
  auto fds = std::make_shared<NamespaceFds>();
  for (const UniqueFd& fd : to_.added[0].fds->listeners) fds->listeners.emplace_back(::dup(fd.get()));
  std::vector<HeldNamespace> held;
  held.push_back({kGatewayCookie, kGatewayUid, fds});
  held.push_back({5, "pod", std::make_shared<NamespaceFds>()});
  KeepingFeed to;
  GatewayFeed restarted(to, options_);
  restarted.take_held(&held);
  ASSERT_EQ(held.size(), 1u) << "the pods' are left";
  EXPECT_EQ(held[0].netns_cookie, 5u);
  EXPECT_EQ(restarted.open(), std::set<uint16_t>{port});
  restarted.want({port});
  EXPECT_TRUE(to.added.empty()) << "nothing has to be opened";
}

TEST(GatewayFeedOffTest, WithoutAnAddressNothingIsOpened) {
  KeepingFeed to;
  GatewayFeed feed(to, {});
  feed.want({8080});
  EXPECT_TRUE(feed.open().empty());
  EXPECT_TRUE(to.added.empty());
}

}  // namespace
}  // namespace weft::agent
