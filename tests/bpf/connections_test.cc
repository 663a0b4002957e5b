// The list of open connections: each once, with the way it takes, who speaks to whom, and exact byte counts.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/policy.h"
#include "tests/bpf/child.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {
namespace {

using Path = OpenConnection::Path;

constexpr uint32_t kDirectId = 31;
constexpr char kDirectVip[] = "10.99.0.2";

// A process that dials these addresses, says `text` to each, and holds them open until it goes.
class Holder {
 public:
  // `wait`: dials only after go(), so that others may be told of the process first.
  Holder(const std::string& cgroup, const std::string& netns, std::vector<SocketAddress> targets,
         const std::string& text = "", bool wait = false)
      : child_(cgroup, netns,
               [targets, text, wait](int control) { return hold(control, targets, text, wait); }) {}

  pid_t pid() const { return child_.pid(); }
  void go() { write_all(child_.control(), "g"); }
  bool connected() {
    char byte = 0;
    return ::read(child_.control(), &byte, 1) == 1 && byte == 'c';
  }

 private:
  static int hold(int control, const std::vector<SocketAddress>& targets, const std::string& text,
                  bool wait) {
    char byte = 0;
    if (wait && ::read(control, &byte, 1) != 1) return 1;
    std::vector<UniqueFd> sockets;
    for (const SocketAddress& target : targets) {
      sockaddr_storage to{};
      const socklen_t length = target.to_sockaddr(&to);
      UniqueFd& socket = sockets.emplace_back(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return 2;
      write_all(socket.get(), text);
    }
    write_all(control, "c");
    return static_cast<int>(::read(control, &byte, 1));
  }

  Child child_;
};

class ConnectionsTest : public FlowNode {
 protected:
  std::vector<OpenConnection> connections(const EnrolledNamespace& of, const std::string& name) {
    std::vector<OpenConnection> out;
    const absl::Status status = dataplane_->open_connections(
        of.netns_cookie, netns_path(name), [&out](const OpenConnection& one) { out.push_back(one); });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }
  std::vector<OpenConnection> of_client() { return connections(client_namespace_, client_); }
  int capture_listener() const { return client_namespace_.listeners[0].get(); }

  void describe_mesh() {
    const ServiceEntry direct{
        .key = {address(kDirectVip, 5432), IPPROTO_TCP},
        .id = kDirectId,
        .path = ServiceEntry::Path::kDirect,
        .backends = {{.address = address(kServerV4, 5432), .id = kServerId, .weight = 1}}};
    const absl::Status status = dataplane_->apply(
        {.destinations = {{address(kVipV4, 80), kServiceId}, {address(kServerV4, 0), kServerId}},
         .services = {direct}});
    ASSERT_TRUE(status.ok()) << status;
  }
};

TEST_F(ConnectionsTest, CapturedConnectionIsListedAtTheClientOnlyWithTheServiceItDialled) {
  ASSERT_NO_FATAL_FAILURE(describe_mesh());
  Holder client(cgroup_, netns_path(client_), {address(kVipV4, 80)}, "hello");
  Accepted accepted = accept_one(capture_listener());
  ASSERT_TRUE(client.connected());
  write_all(accepted.socket.get(), "welcome");
  const Deadline deadline;
  std::vector<OpenConnection> rows;
  do {
    rows = of_client();
  } while (rows.size() == 1 && rows[0].received_bytes < 7 && !deadline.passed());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].path, Path::kProxy);
  EXPECT_EQ(rows[0].state, BPF_TCP_ESTABLISHED);
  EXPECT_EQ(rows[0].local, accepted.peer);
  EXPECT_EQ(rows[0].dialled, address(kVipV4, 80));
  EXPECT_EQ(rows[0].source, kClientId);
  EXPECT_EQ(rows[0].destination, kServiceId);
  EXPECT_EQ(rows[0].sent_bytes, 5u);
  EXPECT_EQ(rows[0].received_bytes, 7u);
  EXPECT_GT(rows[0].rtt_us, 0u);
  EXPECT_LE(rows[0].started_ns, SystemClock().now());
  EXPECT_GT(rows[0].started_ns, 0u);
}

TEST_F(ConnectionsTest, ListenersInTheCapturedCgroupChangeNothing) {
  ASSERT_NO_FATAL_FAILURE(describe_mesh());
  ASSERT_TRUE(dataplane_->unenroll(client_namespace_.netns_cookie, netns_path(client_)).ok());
  UniqueFd plaintext;
  {
    const InCgroup as_the_agent_is(cgroup_);
    client_namespace_ = enroll_client();
    plaintext = listen_in(netns_path(client_), address(kClientV4, WEFT_PORT_INBOUND));
  }
  const uint32_t mark = WEFT_MARK_PROXY;
  ASSERT_EQ(setsockopt(plaintext.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
  const UniqueFd slots(bpf_obj_get((pin_root() + "/maps/m_inbound_listener").c_str()));
  const uint32_t slot = client_namespace_.slot * WEFT_INBOUND_LISTENERS + WEFT_INBOUND_PLAINTEXT;
  const uint64_t fd = static_cast<uint64_t>(plaintext.get());
  ASSERT_EQ(bpf_map_update_elem(slots.get(), &slot, &fd, BPF_ANY), 0);
  ASSERT_TRUE(dataplane_->set_policy(client_namespace_.netns_cookie, {.inspect = true}).ok());
  const UniqueFd application = listen_in(netns_path(client_), address(kClientV4, 8080));
  Holder client(cgroup_, netns_path(client_), {address(kVipV4, 80)});
  const Accepted captured = accept_one(capture_listener());
  ASSERT_TRUE(client.connected());
  Holder caller(cgroup_, netns_path(server_), {address(kClientV4, 8080)});
  const Accepted inspected = accept_one(plaintext.get());
  ASSERT_TRUE(caller.connected());
  std::map<Path, OpenConnection> by_path;
  for (const OpenConnection& row : of_client()) by_path[row.path] = row;
  ASSERT_EQ(by_path.size(), 2u);
  EXPECT_EQ(of_client().size(), 2u);
  EXPECT_EQ(by_path[Path::kProxy].destination, kServiceId);
  EXPECT_EQ(by_path[Path::kInspected].local, address(kClientV4, 8080));
  EXPECT_EQ(by_path[Path::kInspected].source, 0u) << "not measured: told by its address";
  EXPECT_EQ(dataplane_->owner({by_path[Path::kInspected].remote.ip, 0}), kServerId);
}

TEST_F(ConnectionsTest, DirectConnectionShowsServiceAndBackend) {
  ASSERT_NO_FATAL_FAILURE(describe_mesh());
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 5432));
  Holder client(cgroup_, netns_path(client_), {address(kDirectVip, 5432)});
  ASSERT_TRUE(client.connected());
  const std::vector<OpenConnection> rows = of_client();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].path, Path::kDirect);
  EXPECT_EQ(rows[0].dialled, address(kDirectVip, 5432));
  EXPECT_EQ(rows[0].remote, address(kServerV4, 5432));
  EXPECT_EQ(rows[0].source, kClientId);
  EXPECT_EQ(rows[0].destination, kDirectId);
  EXPECT_EQ(dataplane_->owner(rows[0].remote), kServerId) << "the address's workload, no port has a row";
}

TEST_F(ConnectionsTest, ExcludedPortIsPassAndWhatTheProxyDialsIsUpstream) {
  ASSERT_NO_FATAL_FAILURE(describe_mesh());
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {9000};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  const UniqueFd passed = listen_in(netns_path(server_), address(kServerV4, 9000));
  const UniqueFd upstream = listen_in(netns_path(server_), address(kServerV4, 8080));
  Holder client(cgroup_, netns_path(client_), {address(kServerV4, 9000)});
  Holder proxy(cgroup_, netns_path(client_), {address(kServerV4, 8080)}, "", true);
  ASSERT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(proxy.pid())).ok());
  proxy.go();
  ASSERT_TRUE(client.connected());
  ASSERT_TRUE(proxy.connected());
  std::map<uint16_t, OpenConnection> by_port;
  for (const OpenConnection& row : of_client()) by_port[row.remote.port] = row;
  ASSERT_EQ(by_port.size(), 2u);
  EXPECT_EQ(by_port[9000].path, Path::kPass);
  EXPECT_EQ(by_port[9000].destination, kServerId);
  EXPECT_EQ(by_port[8080].path, Path::kUpstream);
  EXPECT_EQ(by_port[8080].source, kClientId);
}

TEST_F(ConnectionsTest, ServerSeesItsConnectionsWithTheWorkloadThatDialled) {
  ASSERT_NO_FATAL_FAILURE(describe_mesh());
  const auto enrolled = dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId});
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  ASSERT_TRUE(dataplane_->apply({.destinations = {{address(kClientV4, 0), kClientId}}}).ok());
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 5432));
  // The backlog accepts into the cgroup of the listener, which is the test's and not measured: dial first.
  Child listener(cgroup_, netns_path(server_), [](int control) {
    const UniqueFd socket = listen_in("/proc/self/ns/net", address(kServerV4, 6000));
    write_all(control, "l");
    const Accepted accepted = accept_one(socket.get());
    return static_cast<int>(read_all(accepted.socket.get()).size());
  });
  char byte = 0;
  ASSERT_EQ(::read(listener.control(), &byte, 1), 1);
  Holder client(cgroup_, netns_path(client_), {address(kDirectVip, 5432), address(kServerV4, 6000)});
  // Captured: nobody but the proxy reaches the plain address.
  const Accepted captured = accept_one(capture_listener());
  ASSERT_TRUE(client.connected());
  Holder proxy(cgroup_, netns_path(client_), {address(kServerV4, 6000)}, "request", true);
  ASSERT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(proxy.pid())).ok());
  proxy.go();
  ASSERT_TRUE(proxy.connected());
  std::map<uint16_t, OpenConnection> by_port;
  const Deadline deadline;
  do {
    for (const OpenConnection& row : connections(*enrolled, server_)) by_port[row.local.port] = row;
  } while (by_port[6000].received_bytes < 7 && !deadline.passed());
  ASSERT_EQ(by_port.size(), 2u);
  EXPECT_EQ(by_port[6000].path, Path::kInbound);
  EXPECT_EQ(by_port[6000].source, kClientId);
  EXPECT_EQ(by_port[6000].destination, kServerId);
  EXPECT_EQ(by_port[6000].received_bytes, 7u);
  EXPECT_EQ(by_port[6000].dialled, address(kServerV4, 6000));
  EXPECT_EQ(by_port[5432].path, Path::kInbound) << "known by its listener, though nothing recorded it";
  EXPECT_EQ(by_port[5432].source, 0u);
  EXPECT_EQ(by_port[5432].started_ns, 0u);
}

TEST_F(ConnectionsTest, WhatStaysWithinTheNamespaceIsLeftOut) {
  const UniqueFd loopback = listen_in(netns_path(client_), address("127.0.0.1", 8080));
  const UniqueFd own = listen_in(netns_path(client_), address(kClientV6, 8081));
  Holder client(cgroup_, netns_path(client_), {address("127.0.0.1", 8080), address(kClientV6, 8081)});
  ASSERT_TRUE(client.connected());
  EXPECT_TRUE(of_client().empty());
}

TEST_F(ConnectionsTest, NamespaceThatIsGoneIsNotFound) {
  const absl::Status status =
      dataplane_->open_connections(client_namespace_.netns_cookie, "/run/netns/no-such", [](const auto&) {});
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
}

}  // namespace
}  // namespace weft::agent
