// Who gets in: policy by address, port and workload before accept, fail modes in both directions, own traffic
// and probes. The protected namespace is the client's (enrolled); dialers come from the server's.
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <gmock/gmock.h>

#include "agent/dataplane/netns.h"
#include "bpf/abi/constants.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

constexpr uint16_t kPort = 8080;

weft_rules bits(std::initializer_list<int> rules) {
  weft_rules out{};
  for (const int rule : rules) out.word[rule / 64] |= uint64_t{1} << (rule % 64);
  return out;
}

// A process that connects and ends; errno of its connect, 0 for success.
int connect_from(const std::string& cgroup, const std::string& netns, const SocketAddress& target) {
  Child client(cgroup, netns, [target](int) {
    sockaddr_storage to{};
    const socklen_t length = target.to_sockaddr(&to);
    const UniqueFd socket(::socket(to.ss_family, SOCK_STREAM, 0));
    const timeval limit{kTimeoutSeconds, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) == 0 ? 0 : errno;
  });
  return client.wait();
}

class InboundTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    pod_ = enroll_client();
  }
  void enroll(bool fail_closed) {
    NamespacePlan plan = client_plan();
    plan.fail_closed = fail_closed;
    ASSERT_TRUE(dataplane_->enroll(plan).ok());
  }
  void set_policy(const InboundPolicy& policy) {
    const absl::Status status = dataplane_->set_policy(pod_.netns_cookie, policy);
    ASSERT_TRUE(status.ok()) << status;
  }
  // Dials the pod from outside; 0 when the application accepted.
  int reach(const char* ip, uint16_t port = kPort) {
    const UniqueFd server = listen_in(netns_path(client_), address(ip, port));
    const int error = connect_from(cgroup_, netns_path(server_), address(ip, port));
    if (error == 0) {
      EXPECT_TRUE(accept_one(server.get()).socket.valid());
    }
    return error;
  }
  // All addresses, ports and workloads match rule 0, which allows or denies.
  static PolicyTable one_rule(bool deny) {
    PolicyTable table;
    table.fixed.other_ip = table.fixed.other_port = table.fixed.other_workload = bits({0});
    (deny ? table.fixed.deny : table.fixed.allow) = bits({0});
    if (!deny) table.fixed.flags = WEFT_POLICY_HAS_ALLOW;
    return table;
  }
  // A beat that is older than any limit: the proxy is dead, hung or was never there.
  void silence_proxy() { write_beat(1); }
  void revive_proxy() { write_beat(SystemClock().now()); }
  void write_beat(uint64_t when) {
    const UniqueFd map = dataplane_->heartbeat();
    const uint32_t zero = 0;
    const weft_beat beat{.heartbeat_ns = when};
    ASSERT_EQ(bpf_map_update_elem(map.get(), &zero, &beat, BPF_ANY), 0);
  }

  EnrolledNamespace pod_;
};

TEST_F(InboundTest, AnAddressThatTheNodeGotLaterIsOneThatProbesComeFrom) {
  set_policy({.deny_all = true});
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
  // The agent from where the dialer's address is the node's, as a bridge is that its first pod brought.
  const absl::StatusOr<UniqueFd> node = open_netns(netns_path(server_));
  ASSERT_TRUE(node.ok()) << node.status();
  const absl::Status again =
      run_in_netns(node->get(), [this] { return dataplane_->enroll(client_plan()).status(); });
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_EQ(reach(kClientV4), 0);
  EXPECT_EQ(stat(WEFT_STAT_PROBE), 1u);
}

TEST_F(InboundTest, WithoutPolicyEverybodyGetsIn) {
  EXPECT_EQ(reach(kClientV4), 0);
  EXPECT_EQ(reach(kClientV6), 0);
  EXPECT_EQ(stat(WEFT_STAT_DENIED), 0u);
}

TEST_F(InboundTest, DeniedSourceIsRefusedBeforeTheApplicationSeesIt) {
  PolicyTable table = one_rule(true);
  table.fixed.other_ip = {};
  table.cidrs = {{.ip = *IpAddress::parse(kServerV4), .prefix_length = 128, .rules = bits({0})},
                 {.ip = *IpAddress::parse("fd57:1::"), .prefix_length = 64, .rules = bits({0})}};
  set_policy({.rules = table});
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
  EXPECT_EQ(reach(kClientV6), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_DENIED), 2u);
  set_policy({});
  EXPECT_EQ(reach(kClientV4), 0);
}

TEST_F(InboundTest, AllowRulesAreByPortAndLongestPrefix) {
  PolicyTable table = one_rule(false);
  table.fixed.other_port = {};
  table.ports = {{kPort, bits({0})}};
  table.fixed.other_ip = {};
  table.cidrs = {{.ip = *IpAddress::parse("10.57.0.0"), .prefix_length = 112, .rules = bits({0})},
                 {.ip = *IpAddress::parse("10.57.9.0"), .prefix_length = 120, .rules = {}}};
  set_policy({.rules = table});
  EXPECT_EQ(reach(kClientV4, kPort), 0);
  EXPECT_EQ(reach(kClientV4, kPort + 1), ECONNREFUSED) << "another port";
  EXPECT_EQ(reach(kClientV6, kPort), ECONNREFUSED) << "another family";
}

TEST_F(InboundTest, DenyBeatsAllow) {
  PolicyTable table = one_rule(false);
  table.fixed.other_ip = table.fixed.other_port = table.fixed.other_workload = bits({0, 200});
  table.fixed.deny = bits({200});
  set_policy({.rules = table});
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
}

TEST_F(InboundTest, WorkloadOfThisNodeIsKnownByItsNamespaceNotByAClaim) {
  PolicyTable table = one_rule(false);
  table.fixed.other_workload = {};
  table.workloads = {{kServerId, bits({0})}};
  set_policy({.rules = table});
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED) << "the source is not enrolled: it has no identity";
  const auto peer = dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId});
  ASSERT_TRUE(peer.ok()) << peer.status();
  // The source is captured now, so its own connects would go to a proxy: it is the identity that is looked
  // at.
  ServiceEntry pass{.key = {address(kClientV4, kPort), IPPROTO_TCP}, .id = kClientId};
  pass.path = ServiceEntry::Path::kPass;
  ASSERT_TRUE(dataplane_->apply({.services = {pass}}).ok());
  EXPECT_EQ(reach(kClientV4), 0);
  ASSERT_TRUE(dataplane_->unenroll(peer->netns_cookie, netns_path(server_)).ok());
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
}

TEST_F(InboundTest, PolicyThatIsNotInTheKernelDenies) {
  set_policy({.deny_all = true});
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_DENIED_UNKNOWN), 1u);
}

TEST_F(InboundTest, PolicyThatDoesNotFitDeniesEverythingAndSaysSo) {
  PolicyTable table = one_rule(true);
  for (uint32_t i = 0; i <= WEFT_MAX_POLICY_ROWS; ++i) table.workloads.emplace_back(1000 + i, bits({1}));
  const absl::Status status = dataplane_->set_policy(pod_.netns_cookie, {.rules = table});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("everything is denied"));
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED);
  set_policy({});
  EXPECT_EQ(reach(kClientV4), 0);
}

TEST_F(InboundTest, OwnAddressAndLoopbackAreNeverForbidden) {
  set_policy({.deny_all = true});
  for (const char* ip : {kClientV4, kClientV6, "127.0.0.1"}) {
    const UniqueFd server = listen_in(netns_path(client_), address(ip, kPort));
    EXPECT_EQ(connect_from(cgroup_, netns_path(client_), address(ip, kPort)), 0) << ip;
  }
}

TEST_F(InboundTest, NextAgentFindsThePolicyInForce) {
  set_policy({.rules = one_rule(true)});
  kill_dataplane();
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED) << "no agent";
  open_dataplane();
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED) << "an agent that knows nothing yet";
  pod_ = enroll_client();
  EXPECT_EQ(reach(kClientV4), ECONNREFUSED) << "enrolled again";
  set_policy({});
  EXPECT_EQ(reach(kClientV4), 0);
}

TEST_F(InboundTest, ChangedPolicyClosesTheConnectionsThatItForbidsAndNoOthers) {
  const UniqueFd forbidden = listen_in(netns_path(client_), address(kClientV4, kPort));
  const UniqueFd allowed = listen_in(netns_path(client_), address(kClientV4, kPort + 1));
  Child peer(cgroup_, netns_path(server_), [](int control) {
    UniqueFd sockets[2];
    for (uint16_t i = 0; i < 2; ++i) {
      sockaddr_storage to{};
      const socklen_t length = address(kClientV4, static_cast<uint16_t>(kPort + i)).to_sockaddr(&to);
      sockets[i].reset(::socket(AF_INET, SOCK_STREAM, 0));
      if (::connect(sockets[i].get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return 1;
    }
    write_all(control, "c");
    char byte = 0;
    // The first is reset; the second still carries data afterwards.
    if (::read(sockets[0].get(), &byte, 1) != -1 || errno != ECONNRESET) return 2;
    write_all(control, "r");
    return ::read(sockets[1].get(), &byte, 1) == 1 ? 0 : 3;
  });
  char byte = 0;
  ASSERT_EQ(::read(peer.control(), &byte, 1), 1);
  const Accepted first = accept_one(forbidden.get());
  const Accepted second = accept_one(allowed.get());
  const auto closed = dataplane_->close_connections(
      pod_.netns_cookie, netns_path(client_),
      [](const InboundConnection& connection) { return connection.local.port == kPort; });
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(*closed, 1u);
  ASSERT_EQ(::read(peer.control(), &byte, 1), 1);
  write_all(second.socket.get(), "x");
  EXPECT_EQ(peer.wait(), 0);
}

TEST_F(InboundTest, CapturedConnectionIsNoInboundOneThoughThePodListensOnThePortThatItDialled) {
  const UniqueFd application = listen_in(netns_path(client_), address(kClientV4, kPort));
  Child client(cgroup_, netns_path(client_), [](int control) {
    sockaddr_storage to{};
    const socklen_t length = address(kVipV4, kPort).to_sockaddr(&to);
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return 1;
    char byte = 0;
    return ::read(control, &byte, 1) == 1 && ::read(socket.get(), &byte, 1) == 1 ? 0 : 2;
  });
  const Accepted captured = accept_one(pod_.listeners[0].get());
  ASSERT_TRUE(captured.socket.valid());
  const auto closed = dataplane_->close_connections(pod_.netns_cookie, netns_path(client_),
                                                    [](const InboundConnection&) { return true; });
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(*closed, 0u);
  write_all(captured.socket.get(), "x");
  write_all(client.control(), "g");
  EXPECT_EQ(client.wait(), 0);
}

// open/closed x dead/hung/absent x inbound/outbound x v4/v6. For the kernel dead, hung and absent differ in
// what is left of the proxy: no beat and no listener, a beat that stopped with the listeners in place, a
// listener that never was.
struct FailMode {
  bool closed;
  const char* proxy;
  bool inbound;
  bool v6;
};

class FailModeTest : public InboundTest, public testing::WithParamInterface<FailMode> {
 protected:
  int outbound(bool v6) {
    const UniqueFd server = listen_in(netns_path(server_), address(v6 ? kServerV6 : kServerV4, kPort));
    return connect_from(cgroup_, netns_path(client_), address(v6 ? kServerV6 : kServerV4, kPort));
  }
  void break_proxy(const std::string& how) {
    silence_proxy();
    if (how == "hung") return;
    // The last references to the capture listeners go: a proxy that died without an agent, or never came.
    pod_.listeners.clear();
    kill_dataplane();
    open_dataplane();
    enroll_again_ = how == "absent";
  }

  bool enroll_again_ = false;
};

TEST_P(FailModeTest, DeclaredModeDecidesAndIsCountedForTheWorkload) {
  const FailMode& mode = GetParam();
  enroll(mode.closed);
  if (mode.inbound) set_policy({.inspect = true});
  break_proxy(mode.proxy);
  if (enroll_again_) enroll(mode.closed);
  const int error = mode.inbound ? reach(mode.v6 ? kClientV6 : kClientV4) : outbound(mode.v6);
  EXPECT_EQ(error, mode.closed ? ECONNREFUSED : 0) << strerror(error);
  EXPECT_EQ(stat(WEFT_STAT_FAILED_CLOSED), mode.closed ? 1u : 0u);
  EXPECT_EQ(stat(WEFT_STAT_BYPASSED), mode.closed ? 0u : 1u);
  const std::vector<BypassRow> rows = dataplane_->bypasses();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].workload_id, kClientId);
  EXPECT_EQ(rows[0].inbound, mode.inbound);
  EXPECT_EQ(rows[0].refused, mode.closed ? 1u : 0u);
  EXPECT_EQ(rows[0].bypassed, mode.closed ? 0u : 1u);
}

std::vector<FailMode> every_cell() {
  std::vector<FailMode> cells;
  for (const bool closed : {false, true}) {
    for (const char* proxy : {"dead", "hung", "absent"}) {
      for (const bool inbound : {false, true}) {
        for (const bool v6 : {false, true}) cells.push_back({closed, proxy, inbound, v6});
      }
    }
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(EveryCell, FailModeTest, testing::ValuesIn(every_cell()), [](const auto& cell) {
  const FailMode& mode = cell.param;
  return std::string(mode.closed ? "Closed" : "Open") + "_" + mode.proxy +
         (mode.inbound ? "_inbound" : "_outbound") + (mode.v6 ? "_v6" : "_v4");
});

TEST_F(InboundTest, ServiceOfABypassedWorkloadStillReachesABackend) {
  ServiceEntry service{.key = {address(kVipV4, 80), IPPROTO_TCP}, .id = 5};
  service.backends = {{.address = address(kServerV4, kPort), .id = kServerId, .weight = 1}};
  ASSERT_TRUE(dataplane_->apply({.services = {service}}).ok());
  silence_proxy();
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, kPort));
  EXPECT_EQ(connect_from(cgroup_, netns_path(client_), address(kVipV4, 80)), 0);
  EXPECT_EQ(stat(WEFT_STAT_BYPASSED), 1u);
}

TEST_F(InboundTest, NobodyGoesPastADeadProxyToBackendsThatTakeTunnels) {
  ServiceEntry service{.key = {address(kVipV4, 80), IPPROTO_TCP}, .id = 5};
  service.tunnelled = true;
  service.backends = {{.address = address(kServerV4, kPort), .id = kServerId, .weight = 1}};
  ASSERT_TRUE(dataplane_->apply({.services = {service}}).ok());
  silence_proxy();
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, kPort));
  EXPECT_EQ(connect_from(cgroup_, netns_path(client_), address(kVipV4, 80)), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_FAILED_CLOSED), 1u);
  EXPECT_EQ(stat(WEFT_STAT_BYPASSED), 0u);
}

TEST_F(InboundTest, TheApplicationOfAPodThatSpeaksHboneHasItsPort) {
  EXPECT_NE(reach(kClientV4, WEFT_PORT_HBONE), 0) << "the mesh's own otherwise";
  NamespacePlan plan = client_plan();
  plan.native_tunnel = true;
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  EXPECT_EQ(reach(kClientV4, WEFT_PORT_HBONE), 0);
  EXPECT_EQ(reach(kClientV6, WEFT_PORT_HBONE), 0);
  ASSERT_TRUE(dataplane_->enroll(client_plan()).ok());
  EXPECT_NE(reach(kClientV4, WEFT_PORT_HBONE), 0);
}

TEST_F(InboundTest, ProxyThatBeatsAgainIsUsedAgain) {
  silence_proxy();
  revive_proxy();
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kServerV4, kPort)});
  EXPECT_TRUE(accept_one(pod_.listeners[0].get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 1u);
}

TEST_F(InboundTest, ClosedWorkloadsStillReachTheirDirectServices) {
  enroll(true);
  ServiceEntry service{.key = {address(kVipV4, 80), IPPROTO_TCP}, .id = 5};
  service.path = ServiceEntry::Path::kDirect;
  service.backends = {{.address = address(kServerV4, kPort), .id = kServerId, .weight = 1}};
  ASSERT_TRUE(dataplane_->apply({.services = {service}}).ok());
  silence_proxy();
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, kPort));
  EXPECT_EQ(connect_from(cgroup_, netns_path(client_), address(kVipV4, 80)), 0);
}

}  // namespace
}  // namespace weft::agent
