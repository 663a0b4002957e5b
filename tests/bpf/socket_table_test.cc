// The table in which the kernel programs remember TCP sockets: no way in which a connection may end leaves a
// slot taken, and a table without room costs nobody a connection, its service's name or its measurement.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string_view>

#include "agent/dataplane/map_dump.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/socket.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {
namespace {

constexpr uint16_t kPort = 5432;
constexpr uint16_t kRefusing = 5433;
constexpr uint16_t kSilent = 5434;
constexpr uint16_t kNowhere = 5435;
constexpr char kNobody[] = "10.57.1.99";    // of the link, but nobody answers
constexpr char kNoRoute[] = "203.0.113.9";  // not of the link, and there is no other
constexpr uint64_t kStranger = 1;           // the cookie of a socket that is none of this test's

int connect_to(int socket, const SocketAddress& target) {
  sockaddr_storage storage{};
  const socklen_t length = target.to_sockaddr(&storage);
  return connect(socket, reinterpret_cast<const sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

// A connection that says when it is open, and stays so until it is told.
int hold_open(int control, const SocketAddress& target) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int error = connect_to(socket.get(), target);
  char byte = 0;
  if (error == 0 && (::write(control, "c", 1) != 1 || ::read(control, &byte, 1) != 1)) return 1;
  return error;
}

class SocketTableTest : public FlowNode {
 protected:
  void SetUp() override {
    FlowNode::SetUp();
    if (HasFatalFailure()) return;
    std::vector<ServiceEntry> services;
    for (const auto& [port, backend] : {std::pair(kPort, address(kServerV4, kPort)),
                                        {kRefusing, address(kServerV4, kRefusing)},
                                        {kSilent, address(kNobody, kSilent)},
                                        {kNowhere, address(kNoRoute, kNowhere)}}) {
      services.push_back({.key = {address(kVipV4, port), IPPROTO_TCP},
                          .id = kServiceId,
                          .path = ServiceEntry::Path::kDirect,
                          .backends = {{.address = backend, .id = kServerId, .weight = 1}}});
    }
    ASSERT_TRUE(dataplane_->apply({.services = services}).ok());
    listener_ = listen_in(netns_path(server_), address(kServerV4, kPort));
    ASSERT_TRUE(listener_.valid());
    table_.reset(bpf_obj_get(str_cat(pin_root(), "/maps/m_socket").c_str()));
    ASSERT_TRUE(table_.valid());
  }

  uint64_t entries(std::string_view name) const {
    for (const MapStatus& map : dataplane_->maps()) {
      if (map.name == name) return map.entries;
    }
    ADD_FAILURE() << name << " is not listed";
    return 0;
  }
  uint64_t taken() const { return entries("m_socket"); }
  // The last event of a socket may come a moment after its end.
  uint64_t taken_in_the_end() const {
    const Deadline deadline;
    while (taken() != 0 && !deadline.passed()) continue;
    return taken();
  }
  // Every slot belongs to a stranger whose socket is in the state that `flags` says.
  void fill(uint32_t flags) {
    weft_socket_set set{};
    for (__u64& owner : set.owner) owner = kStranger;
    for (weft_socket& socket : set.socket) socket = {.flags = flags, .started_ns = 1};
    for (uint32_t i = 0; i < WEFT_SOCKET_SETS; ++i)
      ASSERT_EQ(bpf_map_update_elem(table_.get(), &i, &set, BPF_ANY), 0);
  }
  // A connection of the client to the service, looked at while it is open.
  void expect_remembered() {
    transfer(listener_.get(), {.target = address(kVipV4, kPort), .send = "question"}, 6);
    const weft_flow row = closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
    EXPECT_EQ(row.opened, 1u);
    EXPECT_EQ(row.closed, 1u);
    EXPECT_EQ(row.sent_bytes, 8u);
    EXPECT_EQ(row.received_bytes, 6u);
  }
  Child in_client(const std::function<int(int control)>& body) {
    return Child(cgroup_, netns_path(client_), body);
  }

  UniqueFd listener_;
  UniqueFd table_;
};

TEST_F(SocketTableTest, OpenConnectionHasOneSlotAndTheServiceAsItsPeer) {
  Child client = in_client([](int control) { return hold_open(control, address(kVipV4, kPort)); });
  const Accepted accepted = accept_one(listener_.get());
  char byte = 0;
  ASSERT_EQ(::read(client.control(), &byte, 1), 1);
  EXPECT_EQ(taken(), 1u);
  const auto dump = dataplane_->dump_map("m_socket", 10);
  ASSERT_TRUE(dump.ok()) << dump.status();
  ASSERT_EQ(dump->rows.size(), 1u) << "a row of the map is eight slots";
  const std::vector<MapCell>& slot = dump->rows.front();
  EXPECT_EQ(slot[2].subject, kClientId);
  EXPECT_EQ(slot[3].subject, kServiceId);
  EXPECT_NE(slot[4].text.find("active,established"), std::string::npos) << slot[4].text;
  EXPECT_EQ(slot[5].text, address(kVipV4, kPort).to_string());
  EXPECT_EQ(slot[6].text, address(kServerV4, kPort).to_string());
  std::vector<OpenConnection> rows;
  ASSERT_TRUE(dataplane_
                  ->open_connections(client_namespace_.netns_cookie, netns_path(client_),
                                     [&rows](const OpenConnection& row) { rows.push_back(row); })
                  .ok());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].dialled, address(kVipV4, kPort));
  write_all(client.control(), "q");
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(read_all(accepted.socket.get()), "");
  EXPECT_EQ(taken_in_the_end(), 0u);
}

TEST_F(SocketTableTest, ConnectionOfANamespaceThatIsNotEnrolledIsNotRemembered) {
  ASSERT_TRUE(dataplane_->unenroll(client_namespace_.netns_cookie, netns_path(client_)).ok());
  const uint64_t flows = entries("m_flow");
  Child client = in_client([](int control) { return hold_open(control, address(kServerV4, kPort)); });
  const Accepted accepted = accept_one(listener_.get());
  char byte = 0;
  ASSERT_EQ(::read(client.control(), &byte, 1), 1);
  EXPECT_EQ(taken(), 0u);
  write_all(client.control(), "q");
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(read_all(accepted.socket.get()), "");
  EXPECT_EQ(entries("m_flow"), flows);
  EXPECT_EQ(stat(WEFT_STAT_SOCKET_OVERFLOW), 0u);
}

TEST_F(SocketTableTest, WhoeverEndsAConnectionTheSlotIsFree) {
  for (const bool by_client : {true, false}) {
    for (const bool reset : {true, false}) {
      Child client = in_client([by_client, reset](int control) {
        UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (const int error = connect_to(socket.get(), address(kVipV4, kPort)); error != 0) return error;
        char byte = 0;
        if (!by_client) return ::read(socket.get(), &byte, 1) == 1 ? 1 : 0;
        if (::read(control, &byte, 1) != 1) return 1;
        const linger now{.l_onoff = reset, .l_linger = 0};
        return setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      });
      Accepted accepted = accept_one(listener_.get());
      ASSERT_TRUE(accepted.socket.valid());
      if (by_client) {
        write_all(client.control(), "q");
        EXPECT_EQ(read_all(accepted.socket.get()), "");
      } else {
        const linger now{.l_onoff = reset, .l_linger = 0};
        setsockopt(accepted.socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      }
      accepted.socket.reset();
      EXPECT_EQ(client.wait(), 0);
      EXPECT_EQ(taken_in_the_end(), 0u)
          << (by_client ? "client" : "server") << (reset ? " resets" : " closes");
    }
  }
}

TEST_F(SocketTableTest, DialsThatFailLeaveNoSlotTaken) {
  Child client = in_client([](int) {
    for (int i = 0; i < 20; ++i) {
      const UniqueFd refused(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect_to(refused.get(), address(kVipV4, kRefusing)) != ECONNREFUSED) return 1;
      // Given up before an answer came.
      const UniqueFd silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (connect_to(silent.get(), address(kVipV4, kSilent)) != EINPROGRESS) return 2;
    }
    return 0;
  });
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(taken_in_the_end(), 0u);
  EXPECT_EQ(stat(WEFT_STAT_DIRECT), 40u);
}

TEST_F(SocketTableTest, ProcessThatIsKilledLeavesNoSlotTaken) {
  Child client = in_client([](int control) {
    UniqueFd sockets[50];
    for (UniqueFd& socket : sockets) {
      socket.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (const int error = connect_to(socket.get(), address(kVipV4, kPort)); error != 0) return error;
    }
    char byte = 0;
    return ::write(control, "c", 1) == 1 && ::read(control, &byte, 1) == 1 ? 0 : 1;
  });
  char byte = 0;
  ASSERT_EQ(::read(client.control(), &byte, 1), 1);
  EXPECT_EQ(taken(), 50u);
  ASSERT_EQ(::kill(client.pid(), SIGKILL), 0);
  EXPECT_EQ(client.wait(), -1);
  for (int i = 0; i < 50; ++i) {
    const Accepted accepted = accept_one(listener_.get());
    EXPECT_EQ(read_all(accepted.socket.get()), "");
  }
  EXPECT_EQ(taken_in_the_end(), 0u);
}

TEST_F(SocketTableTest, DialWithoutASynKeepsItsSlotForTheNextDialOfTheSocket) {
  Child client = in_client([](int control) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (int i = 0; i < 5; ++i) {
      if (connect_to(socket.get(), address(kVipV4, kNowhere)) != ENETUNREACH) return 1;
    }
    char byte = 0;
    if (::write(control, "f", 1) != 1 || ::read(control, &byte, 1) != 1) return 2;
    return connect_to(socket.get(), address(kVipV4, kPort));
  });
  char byte = 0;
  ASSERT_EQ(::read(client.control(), &byte, 1), 1);
  EXPECT_EQ(taken(), 1u);
  write_all(client.control(), "g");
  Accepted accepted = accept_one(listener_.get());
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(read_all(accepted.socket.get()), "");
  accepted.socket.reset();
  EXPECT_EQ(taken_in_the_end(), 0u);
}

TEST_F(SocketTableTest, FullTableIsCountedAndNothingElseChanges) {
  ASSERT_NO_FATAL_FAILURE(fill(WEFT_SOCKET_ESTABLISHED));
  expect_remembered();
  EXPECT_EQ(stat(WEFT_STAT_SOCKET_OVERFLOW), 1u);
  EXPECT_EQ(stat(WEFT_STAT_STORAGE_FAILED), 0u);
  EXPECT_EQ(taken(), uint64_t{WEFT_SOCKET_SETS} * WEFT_SOCKET_SLOTS) << "nobody's slot was taken away";
}

TEST_F(SocketTableTest, SlotsOfOldDialsWithoutASynAreTakenOver) {
  ASSERT_NO_FATAL_FAILURE(fill(WEFT_SOCKET_DIALLED));
  expect_remembered();
  EXPECT_EQ(stat(WEFT_STAT_SOCKET_OVERFLOW), 0u);
  const uint64_t one_free = uint64_t{WEFT_SOCKET_SETS} * WEFT_SOCKET_SLOTS - 1;
  const Deadline deadline;
  while (taken() != one_free && !deadline.passed()) continue;
  EXPECT_EQ(taken(), one_free);
}

TEST_F(SocketTableTest, NextAgentFindsTheConnectionsOfTheFormer) {
  Child client = in_client([](int control) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (const int error = connect_to(socket.get(), address(kVipV4, kPort)); error != 0) return error;
    char byte = 0;
    if (::write(control, "c", 1) != 1 || ::read(control, &byte, 1) != 1) return 1;
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    if (getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return errno;
    return *SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&peer)) == address(kVipV4, kPort) ? 0
                                                                                                       : 2;
  });
  char byte = 0;
  ASSERT_EQ(::read(client.control(), &byte, 1), 1);
  kill_dataplane();
  open_dataplane();
  EXPECT_EQ(taken(), 1u);
  write_all(client.control(), "q");
  EXPECT_EQ(client.wait(), 0);
  const Accepted accepted = accept_one(listener_.get());
  EXPECT_EQ(read_all(accepted.socket.get()), "");
}

}  // namespace
}  // namespace weft::agent
