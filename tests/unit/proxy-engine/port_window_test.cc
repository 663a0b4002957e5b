// Local ports come from one window of them, and one that is used up says so.
#include "userspace-proxy/net/port_window.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/address.h"
#include "base/fd.h"

namespace weft::proxy {
namespace {

class PortWindowTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::bind(listener_.get(), generic(), sizeof(address_)), 0);
    ASSERT_EQ(::listen(listener_.get(), 4096), 0);
    socklen_t length = sizeof(address_);
    ASSERT_EQ(::getsockname(listener_.get(), generic(), &length), 0);
    const UniqueFd probe = tcp_socket();
    if (choose_port_window(probe.get(), 1)) return;
    // Nothing else may keep a dial from its window, and a kernel that has none is dialled with as before.
    ASSERT_EQ(errno, ENOPROTOOPT);
    ASSERT_EQ(::connect(probe.get(), generic(), sizeof(address_)), 0);
    GTEST_SKIP() << "no IP_LOCAL_PORT_RANGE before Linux 6.3";
  }
  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }
  static UniqueFd tcp_socket() { return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

  // 0, or the error.
  int dial(uint64_t entropy) {
    UniqueFd fd = tcp_socket();
    EXPECT_TRUE(choose_port_window(fd.get(), entropy));
    if (::connect(fd.get(), generic(), sizeof(address_)) != 0) return errno;
    sockaddr_in local{};
    socklen_t length = sizeof(local);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &length), 0);
    ports_.push_back(ntohs(local.sin_port));
    connections_.push_back(std::move(fd));
    return 0;
  }
  uint32_t spread() const {
    const auto [least, most] = std::minmax_element(ports_.begin(), ports_.end());
    return static_cast<uint32_t>(*most - *least);
  }

  sockaddr_in address_{
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  UniqueFd listener_ = tcp_socket();
  std::vector<UniqueFd> connections_;
  std::vector<uint16_t> ports_;
};

TEST_F(PortWindowTest, OneWindowHasSoManyPortsAndNoMoreAndAnotherOneHasOthers) {
  int error = 0;
  while (error == 0 && ports_.size() <= kWindowPorts) error = dial(7);
  EXPECT_EQ(error, EADDRNOTAVAIL);
  // Others of this machine may have some of them.
  EXPECT_GT(ports_.size(), kWindowPorts / 2);
  EXPECT_LT(spread(), kWindowPorts);
  EXPECT_EQ(dial(7), EADDRNOTAVAIL);
  EXPECT_EQ(dial(8), 0);
  EXPECT_GE(spread(), kWindowPorts);
}

TEST_F(PortWindowTest, ManyWindowsCoverTheRangeAndStayWithinIt) {
  for (uint64_t entropy = 0; entropy < 500; ++entropy) ASSERT_EQ(dial(entropy), 0);
  EXPECT_GE(*std::min_element(ports_.begin(), ports_.end()), 32'768);
  EXPECT_LE(*std::max_element(ports_.begin(), ports_.end()), 60'999);
  EXPECT_GT(spread(), 25'000u);
}

// The option is one of IPv4 by its level, and holds for both.
TEST_F(PortWindowTest, ConnectionsOfIpv6ComeFromItToo) {
  const auto socket_of_ipv6 = [] { return UniqueFd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t length = sizeof(address);
  const UniqueFd listener = socket_of_ipv6();
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(listener.get(), 16), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  std::vector<UniqueFd> connections;
  for (int i = 0; i < 8; ++i) {
    connections.push_back(socket_of_ipv6());
    const int fd = connections.back().get();
    ASSERT_TRUE(choose_port_window(fd, 7));
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
    sockaddr_in6 local{};
    ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length), 0);
    ports_.push_back(ntohs(local.sin6_port));
  }
  EXPECT_LT(spread(), kWindowPorts);
}

}  // namespace
}  // namespace weft::proxy
