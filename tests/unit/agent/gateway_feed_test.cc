// Ports of gateways: opened, closed, announced beside the pods, and taken over from a proxy that has them.
#include "agent/feed/gateway_feed.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "agent/admin/checks.h"
#include "base/fd_passing.h"

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

// Somebody else's, listening in a group.
UniqueFd take(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  EXPECT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(::listen(fd.get(), 1), 0);
  return fd;
}

// What a proxy says that it holds of these.
HeldNamespace held_of(const Announcement& announcement) {
  auto fds = std::make_shared<NamespaceFds>();
  for (const UniqueFd& fd : announcement.fds->listeners) fds->listeners.emplace_back(::dup(fd.get()));
  return {announcement.netns_cookie, announcement.workload_uid, fds};
}

constexpr uint64_t kSecond = 1'000'000'000;

class GatewayFeedTest : public testing::Test {
 protected:
  // A proxy comes that holds nothing.
  static void meet_proxy(GatewayFeed* feed) {
    std::vector<HeldNamespace> none;
    feed->take_held(&none);
  }

  const GatewayFeed::Options options_{.address = IpAddress::parse("127.0.0.1"), .listeners = 2};
  KeepingFeed to_;
  GatewayFeed feed_{to_, options_};
};

TEST_F(GatewayFeedTest, PortsAreOpenedAndAnnouncedOneByOne) {
  meet_proxy(&feed_);
  const uint16_t port = free_port();
  feed_.want({port});
  EXPECT_TRUE(answers(port));
  ASSERT_EQ(to_.added.size(), 1u);
  EXPECT_EQ(to_.added[0].netns_cookie, gateway_cookie(port));
  EXPECT_EQ(to_.added[0].workload_uid, kGatewayUid);
  EXPECT_TRUE(to_.added[0].fds->netns.valid());
  EXPECT_EQ(to_.added[0].fds->listeners.size(), 2u);
  feed_.want({port});
  EXPECT_EQ(to_.added.size(), 1u) << "nothing changed";
  const uint16_t second = free_port();
  feed_.want({port, second});
  ASSERT_EQ(to_.added.size(), 2u);
  EXPECT_EQ(to_.added[1].netns_cookie, gateway_cookie(second));
  EXPECT_TRUE(to_.removed.empty());
}

TEST_F(GatewayFeedTest, NoAnnouncementHasMoreDescriptorsThanAMessageTakes) {
  KeepingFeed to;
  GatewayFeed feed(to, {.address = IpAddress::parse("127.0.0.1"), .listeners = 31});
  meet_proxy(&feed);
  feed.want({free_port(), free_port(), free_port()});
  feed.snapshot(1, {}, {});
  ASSERT_EQ(to.snapshot_add.size(), 3u);
  for (const Announcement& one : to.snapshot_add) EXPECT_LE(1 + one.fds->listeners.size(), kMaxPacketFds);
}

TEST_F(GatewayFeedTest, PortsAreClosedWhenNothingWantsThem) {
  meet_proxy(&feed_);
  const uint16_t port = free_port(), other = free_port();
  feed_.want({port, other});
  to_.added.clear();
  feed_.want({other});
  EXPECT_EQ(to_.removed, std::vector<uint64_t>{gateway_cookie(port)});
  EXPECT_FALSE(answers(port));
  EXPECT_TRUE(answers(other)) << "it is left alone";
  EXPECT_TRUE(to_.added.empty());
}

TEST_F(GatewayFeedTest, AProxyThatComesIsToldOfPodsAndGateways) {
  const uint16_t port = free_port();
  feed_.want({port});
  EXPECT_FALSE(answers(port)) << "a proxy that is on its way may have it";
  meet_proxy(&feed_);
  EXPECT_TRUE(answers(port));
  EXPECT_TRUE(to_.added.empty()) << "the snapshot names it";
  feed_.snapshot(1, {Announcement{7, "pod", nullptr}}, {8});
  ASSERT_EQ(to_.snapshot_add.size(), 2u);
  EXPECT_EQ(to_.snapshot_add[0].netns_cookie, 7u);
  EXPECT_EQ(to_.snapshot_add[1].netns_cookie, gateway_cookie(port));
  EXPECT_EQ(to_.snapshot_keep, std::vector<uint64_t>{8});
}

TEST_F(GatewayFeedTest, APortThatIsTakenIsTriedAgain) {
  meet_proxy(&feed_);
  const uint16_t port = free_port();
  UniqueFd taken = take(port);
  feed_.want({port});
  EXPECT_TRUE(feed_.open().empty()) << "nor does it share the port with a stranger";
  ASSERT_EQ(feed_.failed().size(), 1u);
  EXPECT_EQ(feed_.failed().at(port), "Address already in use");
  feed_.retry(10 * kSecond);
  EXPECT_TRUE(feed_.open().empty());
  taken.reset();
  EXPECT_EQ(feed_.next_retry(), 15 * kSecond);
  feed_.retry(14 * kSecond);
  EXPECT_TRUE(to_.added.empty()) << "not yet";
  feed_.retry(15 * kSecond);
  EXPECT_EQ(feed_.open(), std::set<uint16_t>{port});
  EXPECT_TRUE(feed_.failed().empty());
  EXPECT_EQ(feed_.next_retry(), UINT64_MAX);
  ASSERT_EQ(to_.added.size(), 1u);
  EXPECT_EQ(to_.added[0].netns_cookie, gateway_cookie(port));
}

TEST_F(GatewayFeedTest, WhatNobodyWantsAnyMoreIsNotTriedAgain) {
  meet_proxy(&feed_);
  const uint16_t port = free_port();
  const UniqueFd taken = take(port);
  feed_.want({port});
  feed_.want({});
  EXPECT_TRUE(feed_.failed().empty());
}

// A restarted agent gets the sockets back that its predecessor had given away: it knows what is wanted before
// the proxy comes.
TEST_F(GatewayFeedTest, ListenersOfARunningProxyAreAdopted) {
  meet_proxy(&feed_);
  const uint16_t port = free_port(), unwanted = free_port();
  feed_.want({port, unwanted});
  ASSERT_EQ(to_.added.size(), 2u);
  std::vector<HeldNamespace> held;
  for (const Announcement& one : to_.added) held.push_back(held_of(one));
  held.push_back({5, "pod", std::make_shared<NamespaceFds>()});
  // A client that waits in the queue of one of them.
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  feed_.want({});
  to_.added.clear();

  KeepingFeed to;
  GatewayFeed restarted(to, options_);
  restarted.want({port});
  restarted.take_held(&held);
  ASSERT_EQ(held.size(), 1u) << "the pods' are left";
  EXPECT_EQ(held[0].netns_cookie, 5u);
  EXPECT_EQ(restarted.open(), std::set<uint16_t>{port});
  restarted.snapshot(1, {}, {});
  ASSERT_EQ(to.snapshot_add.size(), 1u);
  bool waits = false;
  for (const UniqueFd& fd : to.snapshot_add[0].fds->listeners)
    waits = waits || UniqueFd(::accept(fd.get(), nullptr, nullptr)).valid();
  EXPECT_TRUE(waits) << "the sockets are the same";
}

TEST_F(GatewayFeedTest, ListenersAtAnotherAddressAreNotAdopted) {
  meet_proxy(&feed_);
  const uint16_t port = free_port();
  feed_.want({port});
  std::vector<HeldNamespace> held;
  held.push_back(held_of(to_.added.at(0)));
  GatewayFeed moved(to_, {.address = IpAddress::parse("127.0.0.2"), .listeners = 1});
  moved.want({port});
  moved.take_held(&held);
  moved.snapshot(1, {}, {});
  ASSERT_EQ(to_.snapshot_add.size(), 1u);
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  ASSERT_EQ(::getsockname(to_.snapshot_add[0].fds->listeners.at(0).get(),
                          reinterpret_cast<sockaddr*>(&address), &length),
            0);
  EXPECT_EQ(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK + 1));
}

TEST(GatewayCheckTest, APortThatIsNotOpenIsNamed) {
  NodeFacts facts;
  const auto of_gateways = [&facts] {
    std::string out;
    const admin::v1::CheckReport report = run_checks(facts);
    for (const auto& check : report.checks()) {
      if (check.id() == "A-05") out = check.result() + " " + check.error();
    }
    return out;
  };
  EXPECT_EQ(of_gateways(), "success ");
  facts.closed_ports = {"8080: Address already in use"};
  EXPECT_EQ(of_gateways(), "error 8080: Address already in use");
}

TEST(GatewayFeedOffTest, WithoutAnAddressNothingIsOpened) {
  KeepingFeed to;
  GatewayFeed feed(to, {});
  feed.want({8080});
  std::vector<HeldNamespace> none;
  feed.take_held(&none);
  EXPECT_TRUE(feed.open().empty());
  EXPECT_TRUE(to.added.empty());
}

}  // namespace
}  // namespace weft::agent
