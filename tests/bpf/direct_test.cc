// Services balanced in the kernel: what the client sees, which backend it gets, and what happens when there
// is none. Backends are real sockets in the server namespace.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/service.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

constexpr uint32_t kServiceId = 77;

class DirectTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    client_namespace_ = enroll_client();
  }

  ConnectResult dial(const Dial& what) { return Dialer(cgroup_, netns_path(client_), what).result(); }

  static ServiceEntry service(const char* vip, uint16_t port, std::vector<BackendEntry> backends,
                              uint8_t protocol = IPPROTO_TCP) {
    return {.key = {address(vip, port), protocol},
            .id = kServiceId,
            .path = ServiceEntry::Path::kDirect,
            .backends = std::move(backends)};
  }
  static BackendEntry backend(const char* ip, uint16_t port, uint32_t weight = 1) {
    return {.address = address(ip, port), .id = kServerId, .weight = weight};
  }
  void apply(std::vector<ServiceEntry> services) {
    const absl::Status status = dataplane_->apply({.services = std::move(services)});
    ASSERT_TRUE(status.ok()) << status;
  }

  // Dials a service whose only backend listens at `at`; both ends say what they see.
  void expect_direct(const Dial& what, const SocketAddress& at, const char* client_ip) {
    const UniqueFd server = listen_in(netns_path(server_), at);
    ASSERT_TRUE(server.valid());
    Dialer dialer(cgroup_, netns_path(client_), what);
    Accepted accepted = accept_one(server.get());
    ASSERT_TRUE(accepted.socket.valid()) << "connect said " << strerror(dialer.result().error);
    EXPECT_EQ(accepted.peer.ip.to_string(), client_ip);
    write_all(accepted.socket.get(), "echo " + read_all(accepted.socket.get()));
    accepted.socket.reset();
    const ConnectResult result = dialer.result();
    EXPECT_EQ(result.error, 0) << strerror(result.error);
    EXPECT_EQ(result.peer, what.target) << "getpeername shows the service";
    EXPECT_EQ(result.received, "echo " + what.send);
    EXPECT_EQ(stat(WEFT_STAT_STEERED), 0u);
  }

  EnrolledNamespace client_namespace_;
};

TEST_F(DirectTest, Ipv4ServiceReachesItsBackendAndStillLooksLikeTheService) {
  apply({service(kVipV4, 5432, {backend(kServerV4, 15432)})});
  expect_direct({.target = address(kVipV4, 5432), .send = "hello"}, address(kServerV4, 15432), kClientV4);
  EXPECT_EQ(stat(WEFT_STAT_DIRECT), 1u);
}

TEST_F(DirectTest, Ipv6ServiceReachesItsBackendAndStillLooksLikeTheService) {
  apply({service(kVipV6, 5432, {backend(kServerV6, 15432)})});
  expect_direct({.target = address(kVipV6, 5432), .send = "hello"}, address(kServerV6, 15432), kClientV6);
}

TEST_F(DirectTest, MappedAndMptcpClientsAreBalancedToo) {
  apply({service(kVipV4, 5432, {backend(kServerV4, 15432)})});
  expect_direct({.target = address(kVipV4, 5432), .mapped = true, .send = "a"}, address(kServerV4, 15432),
                kClientV4);
  expect_direct({.target = address(kVipV4, 5432), .mptcp = true, .send = "b"}, address(kServerV4, 15432),
                kClientV4);
}

TEST_F(DirectTest, NoBackendIsNoRouteToHostAtOnce) {
  apply({service(kVipV4, 5432, {}), service(kVipV6, 5432, {backend(kServerV6, 1, 0)})});
  EXPECT_EQ(dial({.target = address(kVipV4, 5432)}).error, EHOSTUNREACH);
  EXPECT_EQ(dial({.target = address(kVipV6, 5432)}).error, EHOSTUNREACH) << "weight 0 drains";
  EXPECT_EQ(stat(WEFT_STAT_NO_BACKEND), 2u);
}

TEST_F(DirectTest, RowRemovedBehindTheAgentsBackIsDriftUntilItIsWrittenAgain) {
  PlannedKernel wanted;
  wanted.entries.services = {service(kVipV4, 5432, {backend(kServerV4, 15432)}), service(kVipV4, 5433, {})};
  apply(wanted.entries.services);
  const auto services = [&] { return dataplane_->drift(wanted)[2]; };
  EXPECT_EQ(services().scope, "services");
  EXPECT_EQ(services().drift, 0u) << services().items[0].difference;
  EXPECT_EQ(services().kernel, 2u);
  const UniqueFd map(bpf_obj_get((pin_root() + "/maps/m_svc").c_str()));
  weft_svc_key key{};
  ASSERT_EQ(bpf_map_get_next_key(map.get(), nullptr, &key), 0);
  ASSERT_EQ(bpf_map_delete_elem(map.get(), &key), 0);
  EXPECT_EQ(services().drift, 1u);
  EXPECT_EQ(services().items[0].object, str_cat(kVipV4, ":", key.port, "/tcp"));
  EXPECT_EQ(services().items[0].difference, "missing in the kernel");
}

TEST_F(DirectTest, BackendThatRefusesIsReportedOnceUntilItIsForgiven) {
  ServiceEntry entry = service(kVipV4, 5432, {backend(kServerV4, 15432)});
  entry.eject_after = 3;
  apply({entry});
  const auto dial_refused = [this](int times) {
    for (int i = 0; i < times; ++i) EXPECT_EQ(dial({.target = address(kVipV4, 5432)}).error, ECONNREFUSED);
  };
  const auto reports = [this] { return dataplane_->wait_failing(std::chrono::milliseconds(0)); };
  dial_refused(2);
  EXPECT_TRUE(reports().empty());
  expect_direct({.target = address(kVipV4, 5432), .send = "x"}, address(kServerV4, 15432), kClientV4);
  dial_refused(2);
  EXPECT_TRUE(reports().empty()) << "not in a row";
  dial_refused(3);
  const std::vector<FailingBackend> failing = reports();
  ASSERT_EQ(failing.size(), 1u);
  EXPECT_EQ(failing[0].service, kServiceId);
  EXPECT_EQ(failing[0].address, address(kServerV4, 15432));
  EXPECT_EQ(failing[0].failures, 3u);
  dataplane_->forgive(kServiceId, address(kServerV4, 15432));
  dial_refused(3);
  EXPECT_EQ(reports().size(), 1u);
}

TEST_F(DirectTest, WorksWithoutAnyProxyListener) {
  apply({service(kVipV4, 5432, {backend(kServerV4, 15432)})});
  ASSERT_TRUE(dataplane_->unenroll(client_namespace_.netns_cookie, "/nowhere").ok());
  client_namespace_ = enroll_client();
  client_namespace_.listeners.clear();
  expect_direct({.target = address(kVipV4, 5432), .send = "x"}, address(kServerV4, 15432), kClientV4);
}

TEST_F(DirectTest, EndpointOfAPlainServiceIsDialledAsItIs) {
  ServiceEntry entry = service(kServerV4, 15432, {});
  entry.path = ServiceEntry::Path::kPass;
  apply({entry});
  expect_direct({.target = address(kServerV4, 15432), .send = "x"}, address(kServerV4, 15432), kClientV4);
  EXPECT_EQ(stat(WEFT_STAT_LEFT_ENDPOINT), 1u);
}

// Dials and closes `count` times without waiting for an accept: the backlog is long enough. The port of every
// backend is returned by number of connections.
std::map<uint16_t, int> dial_many(const std::string& cgroup, const std::string& netns,
                                  const SocketAddress& vip, int count,
                                  std::vector<std::pair<uint16_t, int>> listeners) {
  Child client(cgroup, netns, [vip, count](int) {
    for (int i = 0; i < count; ++i) {
      sockaddr_storage to{};
      const socklen_t length = vip.to_sockaddr(&to);
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
      if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return 1;
    }
    return 0;
  });
  EXPECT_EQ(client.wait(), 0);
  std::map<uint16_t, int> counts;
  for (const auto& [port, listener] : listeners) {
    for (;;) {
      const UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
      if (!socket.valid()) break;
      ++counts[port];
    }
  }
  return counts;
}

class DirectBalancingTest : public DirectTest {
 protected:
  void SetUp() override {
    DirectTest::SetUp();
    if (HasFatalFailure()) return;
    for (const uint16_t port : {1001, 1002, 1003}) {
      servers_.push_back(listen_in(netns_path(server_), address(kServerV4, port)));
      ASSERT_TRUE(servers_.back().valid());
      ASSERT_EQ(::listen(servers_.back().get(), 4096), 0);
      const int flags = ::fcntl(servers_.back().get(), F_GETFL);
      ::fcntl(servers_.back().get(), F_SETFL, flags | O_NONBLOCK);
      listeners_.emplace_back(port, servers_.back().get());
    }
  }
  std::map<uint16_t, int> dial(int count) {
    return dial_many(cgroup_, netns_path(client_), address(kVipV4, 80), count, listeners_);
  }

  std::vector<UniqueFd> servers_;
  std::vector<std::pair<uint16_t, int>> listeners_;
};

TEST_F(DirectBalancingTest, ConnectionsFollowTheWeights) {
  apply({service(kVipV4, 80,
                 {backend(kServerV4, 1001, 70), backend(kServerV4, 1002, 30), backend(kServerV4, 1003, 0)})});
  std::map<uint16_t, int> counts = dial(2000);
  EXPECT_EQ(counts[1001] + counts[1002], 2000);
  // Five standard deviations of a binomial with p = 0.7.
  EXPECT_NEAR(counts[1001], 1400, 103);
  EXPECT_EQ(counts[1003], 0);
}

TEST_F(DirectBalancingTest, ReplacedTableIsEffectiveAtOnceAndWeightZeroDrains) {
  apply({service(kVipV4, 80, {backend(kServerV4, 1001)})});
  EXPECT_EQ(dial(50)[1001], 50);
  apply({service(kVipV4, 80, {backend(kServerV4, 1001, 0), backend(kServerV4, 1002)})});
  EXPECT_EQ(dial(50)[1002], 50);
}

TEST_F(DirectBalancingTest, AffinityKeepsANamespaceOnItsBackendUntilThatDrains) {
  ServiceEntry entry = service(kVipV4, 80, {backend(kServerV4, 1001), backend(kServerV4, 1002)});
  entry.affinity_seconds = 600;
  apply({entry});
  const std::map<uint16_t, int> first = dial(40);
  ASSERT_EQ(first.size(), 1u) << "all on one";
  const uint16_t chosen = first.begin()->first;
  for (BackendEntry& b : entry.backends) b.weight = b.address.port == chosen ? 0 : 1;
  apply({entry});
  const std::map<uint16_t, int> second = dial(40);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_NE(second.begin()->first, chosen);
}

TEST_F(DirectBalancingTest, NextAgentTakesTheTablesOverAndClientsKeepTheirBackend) {
  ServiceEntry entry = service(kVipV4, 80, {backend(kServerV4, 1001), backend(kServerV4, 1002)});
  entry.affinity_seconds = 600;
  apply({entry});
  const uint16_t chosen = dial(10).begin()->first;
  kill_dataplane();
  EXPECT_EQ(dial(10)[chosen], 10) << "no agent";
  open_dataplane();
  EXPECT_EQ(dial(10)[chosen], 10) << "before the first configuration";
  ASSERT_TRUE(dataplane_->apply({.services = {entry}, .full = true}).ok());
  EXPECT_EQ(dial(10)[chosen], 10) << "written anew";
  ASSERT_TRUE(dataplane_->apply({.full = true}).ok());
  for (const MapStatus& map : dataplane_->maps()) {
    if (map.name == "m_svc") {
      EXPECT_EQ(map.entries, 0u);
    }
  }
}

TEST_F(DirectBalancingTest, ConnectsDuringAThousandReplacementsAllSucceed) {
  std::vector<ServiceEntry> versions;
  for (uint32_t weight = 1; weight <= 4; ++weight)
    versions.push_back(
        service(kVipV4, 80, {backend(kServerV4, 1001, weight), backend(kServerV4, 1002, 5 - weight)}));
  apply({versions[0]});
  std::map<uint16_t, int> counts;
  Child client(cgroup_, netns_path(client_), [](int) {
    for (int i = 0; i < 3000; ++i) {
      sockaddr_storage to{};
      const socklen_t length = address(kVipV4, 80).to_sockaddr(&to);
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
      if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return errno;
    }
    return 0;
  });
  for (int i = 0; i < 1000; ++i) {
    apply({versions[static_cast<size_t>(i) % versions.size()]});
    for (const auto& [port, listener] : listeners_) {
      while (true) {
        const UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
        if (!socket.valid()) break;
        ++counts[port];
      }
    }
  }
  EXPECT_EQ(client.wait(), 0) << "errno of the first connect that failed";
  EXPECT_EQ(stat(WEFT_STAT_PICK_RACED), 0u);
}

// One datagram out and one back; what the client sees as the sender of the answer.
struct Datagram {
  int error = 0;
  std::string from;
  std::string peer;
};

Datagram exchange_datagram(const std::string& cgroup, const std::string& netns, const SocketAddress& vip,
                           bool connected, int family) {
  std::string answer;
  Child client(cgroup, netns, [vip, connected, family](int control) {
    sockaddr_storage to{};
    socklen_t length = vip.to_sockaddr(&to);
    sockaddr_in6 mapped{};
    if (family == AF_INET6 && vip.ip.is_v4()) {
      mapped.sin6_family = AF_INET6;
      mapped.sin6_port = htons(vip.port);
      std::memcpy(&mapped.sin6_addr, vip.ip.bytes.data(), 16);
      std::memcpy(&to, &mapped, sizeof(mapped));
      length = sizeof(mapped);
    }
    const UniqueFd socket(::socket(family, SOCK_DGRAM, 0));
    const timeval limit{kTimeoutSeconds, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    const auto* target = reinterpret_cast<sockaddr*>(&to);
    if (connected && ::connect(socket.get(), target, length) != 0) return errno;
    const ssize_t sent =
        connected ? ::send(socket.get(), "ask", 3, 0) : ::sendto(socket.get(), "ask", 3, 0, target, length);
    if (sent != 3) return errno;
    char text[64];
    sockaddr_storage from{};
    socklen_t size = sizeof(from);
    if (::recvfrom(socket.get(), text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&from), &size) != 6)
      return errno;
    std::string seen = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&from))->to_string();
    size = sizeof(from);
    if (connected && ::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&from), &size) == 0)
      seen += " " + SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&from))->to_string();
    write_all(control, seen);
    return 0;
  });
  ::shutdown(client.control(), SHUT_WR);
  answer = read_all(client.control());
  Datagram out{.error = client.wait()};
  const size_t space = answer.find(' ');
  out.from = answer.substr(0, space);
  if (space != std::string::npos) out.peer = answer.substr(space + 1);
  return out;
}

class DatagramTest : public DirectTest {
 protected:
  // Answers every datagram at this address of the server namespace until the test ends.
  void serve(const char* ip, uint16_t port) {
    servers_.push_back(
        std::make_unique<Child>(cgroup_, netns_path(server_), [at = address(ip, port)](int control) {
          sockaddr_storage own{};
          const socklen_t length = at.to_sockaddr(&own);
          const UniqueFd socket(::socket(at.ip.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM, 0));
          if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&own), length) != 0) return 1;
          write_all(control, "r");
          char text[64];
          sockaddr_storage from{};
          socklen_t size = sizeof(from);
          while (::recvfrom(socket.get(), text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&from), &size) >
                 0) {
            ::sendto(socket.get(), "answer", 6, 0, reinterpret_cast<sockaddr*>(&from), size);
            size = sizeof(from);
          }
          return 0;
        }));
    char ready = 0;
    ASSERT_EQ(::read(servers_.back()->control(), &ready, 1), 1);
  }
  void TearDown() override {
    for (const auto& server : servers_) ::kill(server->pid(), SIGKILL);
    servers_.clear();
    DirectTest::TearDown();
  }

  std::vector<std::unique_ptr<Child>> servers_;
};

TEST_F(DatagramTest, DnsThroughAServiceAddressWorksConnectedAndUnconnected) {
  serve(kServerV4, 5353);
  serve(kServerV6, 5353);
  apply({service(kVipV4, 53, {backend(kServerV4, 5353)}, IPPROTO_UDP),
         service(kVipV6, 53, {backend(kServerV6, 5353)}, IPPROTO_UDP)});
  struct Case {
    const char* vip;
    int family;
  };
  for (const Case& one : {Case{kVipV4, AF_INET}, Case{kVipV6, AF_INET6}, Case{kVipV4, AF_INET6}}) {
    for (const bool connected : {false, true}) {
      SCOPED_TRACE(str_cat(one.vip, connected ? " connected" : " unconnected", " family ", one.family));
      const SocketAddress vip = address(one.vip, 53);
      const Datagram got = exchange_datagram(cgroup_, netns_path(client_), vip, connected, one.family);
      EXPECT_EQ(got.error, 0) << strerror(got.error);
      EXPECT_EQ(got.from, vip.to_string()) << "the answer comes from the service";
      if (connected) {
        EXPECT_EQ(got.peer, vip.to_string());
      }
    }
  }
}

TEST_F(DatagramTest, NoBackendRefusesTheDatagram) {
  apply({service(kVipV4, 53, {}, IPPROTO_UDP)});
  EXPECT_EQ(exchange_datagram(cgroup_, netns_path(client_), address(kVipV4, 53), false, AF_INET).error,
            EHOSTUNREACH);
  EXPECT_EQ(exchange_datagram(cgroup_, netns_path(client_), address(kVipV4, 53), true, AF_INET).error,
            EHOSTUNREACH);
}

TEST_F(DatagramTest, OrdinaryDatagramsAreLeftAlone) {
  serve(kServerV4, 5353);
  const Datagram got =
      exchange_datagram(cgroup_, netns_path(client_), address(kServerV4, 5353), false, AF_INET);
  EXPECT_EQ(got.error, 0);
  EXPECT_EQ(got.from, address(kServerV4, 5353).to_string());
  EXPECT_EQ(stat(WEFT_STAT_DATAGRAM), 0u);
}

}  // namespace
}  // namespace weft::agent
