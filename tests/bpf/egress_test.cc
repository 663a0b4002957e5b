// Connections that policy would refuse at the other end are refused where they start. Both namespaces are
// enrolled; the server's is protected.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "bpf/abi/constants.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

constexpr uint16_t kPort = 15432;
constexpr char kOtherV4[] = "10.57.1.20";

const weft_rules kRule{.word = {1, 0, 0, 0}};

struct Family {
  const char* vip;
  const char* server;
  const char* client;
};
constexpr Family kV4{kVipV4, kServerV4, kClientV4};
constexpr Family kV6{kVipV6, kServerV6, kClientV6};

class EgressTest : public OpenNode, public testing::WithParamInterface<Family> {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    enroll_client();
    auto server = dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId});
    ASSERT_TRUE(server.ok()) << server.status();
    server_cookie_ = server->netns_cookie;
    ServiceEntry direct{.key = {address(GetParam().vip, 80), IPPROTO_TCP}, .id = 5};
    direct.path = ServiceEntry::Path::kDirect;
    direct.backends = {{.address = address(GetParam().server, kPort), .id = kServerId, .weight = 1}};
    ServiceEntry endpoint{.key = {address(GetParam().server, kPort), IPPROTO_TCP}, .id = 5};
    endpoint.path = ServiceEntry::Path::kPass;
    ASSERT_TRUE(dataplane_->apply({.services = {direct, endpoint}}).ok());
    listener_ = listen_in(netns_path(server_), address(GetParam().server, kPort));
    ASSERT_TRUE(listener_.valid());
  }
  void protect(const PolicyTable& table) {
    const absl::Status status = dataplane_->set_policy(server_cookie_, {.rules = table});
    ASSERT_TRUE(status.ok()) << status;
  }
  int dial(const SocketAddress& target, bool mapped = false) {
    return Dialer(cgroup_, netns_path(client_), {.target = target, .mapped = mapped}).result().error;
  }
  // Through the service and by the endpoint's own address.
  void expect_refused_at_once(bool mapped = false) {
    const uint64_t before = stat(WEFT_STAT_DENIED_EGRESS);
    EXPECT_EQ(dial(address(GetParam().vip, 80), mapped), ECONNREFUSED);
    EXPECT_EQ(dial(address(GetParam().server, kPort), mapped), ECONNREFUSED);
    EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), before + 2);
    EXPECT_EQ(stat(WEFT_STAT_DENIED), 0u) << "no SYN arrived";
  }
  void expect_let_in() {
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(GetParam().vip, 80)});
    Accepted accepted = accept_one(listener_.get());
    EXPECT_TRUE(accepted.socket.valid());
    accepted.socket.reset();
    EXPECT_EQ(dialer.result().error, 0);
  }
  // Rule 0 denies every connection of the client's workload.
  static PolicyTable deny_client() {
    PolicyTable table;
    table.fixed.deny = table.fixed.other_ip = table.fixed.other_port = kRule;
    table.workloads = {{kClientId, kRule}};
    return table;
  }
  static PolicyTable::Cidr host(const char* ip, weft_rules rules) {
    return {.ip = *IpAddress::parse(ip), .prefix_length = 128, .rules = rules};
  }

  uint64_t server_cookie_ = 0;
  UniqueFd listener_;
};

TEST_P(EgressTest, SourceWorkloadThatIsDeniedIsRefusedWithoutASyn) {
  protect(deny_client());
  expect_refused_at_once();
  protect({});
  expect_let_in();
}

TEST_P(EgressTest, PortAndSourceAddressCountAsTheyDoOnArrival) {
  PolicyTable table;
  table.fixed.allow = table.fixed.other_workload = kRule;
  table.fixed.flags = WEFT_POLICY_HAS_ALLOW;
  table.ports = {{kPort, kRule}};
  table.cidrs = {host(GetParam().client, kRule)};
  protect(table);
  expect_let_in();
  EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), 0u);
  table.cidrs = {host("10.57.1.77", kRule), host("fd57:1::77", kRule)};
  protect(table);
  expect_refused_at_once();
  table.cidrs = {host(GetParam().client, kRule)};
  table.ports = {{kPort + 1, kRule}};
  protect(table);
  expect_refused_at_once();
}

TEST_P(EgressTest, NamespaceWhosePolicyDoesNotFitTheKernelIsRefused) {
  ASSERT_TRUE(dataplane_->set_policy(server_cookie_, {.deny_all = true}).ok());
  expect_refused_at_once();
}

TEST_P(EgressTest, DestinationWithoutARowIsLeftToTheOtherEnd) {
  protect(deny_client());
  ASSERT_TRUE(dataplane_->unenroll(server_cookie_, netns_path(server_)).ok());
  expect_let_in();
  EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), 0u);
}

TEST_P(EgressTest, NextAgentAsksTheSamePolicy) {
  protect(deny_client());
  kill_dataplane();
  EXPECT_EQ(dial(address(GetParam().vip, 80)), ECONNREFUSED) << "no agent";
  open_dataplane();
  EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), 1u);
  expect_refused_at_once();
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, EgressTest, testing::Values(kV4, kV6), [](const auto& family) {
  return std::string(family.param.vip == kVipV4 ? "v4" : "v6");
});

class EgressSourceTest : public EgressTest {};

TEST_P(EgressSourceTest, SourceThatIsNotKnownIsLeftToTheOtherEndUnlessTheSocketIsBound) {
  EXPECT_EQ(ip(client_, std::string("addr add ") + kOtherV4 + "/24 dev eth0"), "");
  enroll_client();  // the namespace is looked at again
  PolicyTable table;
  table.fixed.deny = table.fixed.other_port = table.fixed.other_workload = kRule;
  table.cidrs = {host(kOtherV4, kRule), host(kClientV4, kRule)};
  protect(table);
  EXPECT_EQ(dial(address(kVipV4, 80)), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), 0u) << "either address may be the source";
  EXPECT_EQ(stat(WEFT_STAT_DENIED), 1u);
  table.cidrs = {host(kOtherV4, kRule)};
  protect(table);
  const auto dial_bound = [this](const char* from) {
    Child client(cgroup_, netns_path(client_), [from](int) {
      sockaddr_storage own{}, to{};
      const socklen_t own_length = address(from, 0).to_sockaddr(&own);
      const socklen_t length = address(kVipV4, 80).to_sockaddr(&to);
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
      if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&own), own_length) != 0) return -1;
      return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) == 0 ? 0 : errno;
    });
    return client.wait();
  };
  EXPECT_EQ(dial_bound(kOtherV4), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_DENIED_EGRESS), 1u);
  EXPECT_EQ(dial_bound(kClientV4), 0);
}

TEST_P(EgressSourceTest, Ipv4ThroughAnIpv6SocketIsTheSame) {
  protect(deny_client());
  expect_refused_at_once(true);
}

TEST_P(EgressSourceTest, TrafficToTheNamespaceItselfIsNeverForbidden) {
  auto client = dataplane_->enroll(client_plan());
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(dataplane_->set_policy(client->netns_cookie, {.deny_all = true}).ok());
  ServiceEntry own{.key = {address(kVipV4, 81), IPPROTO_TCP}, .id = 6};
  own.path = ServiceEntry::Path::kDirect;
  own.backends = {{.address = address(kClientV4, kPort), .id = kClientId, .weight = 1}};
  ASSERT_TRUE(dataplane_->apply({.services = {own}}).ok());
  const UniqueFd listener = listen_in(netns_path(client_), address(kClientV4, kPort));
  const timeval deadline{.tv_sec = 5, .tv_usec = 0};
  ASSERT_EQ(setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)), 0);
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV4, 81)});
  // Accepted and closed: the one who dials waits for the end of the answer.
  EXPECT_TRUE(UniqueFd(accept(listener.get(), nullptr, nullptr)).valid());
  EXPECT_EQ(dialer.result().error, 0);
}

INSTANTIATE_TEST_SUITE_P(Ipv4, EgressSourceTest, testing::Values(kV4), [](const auto&) { return "v4"; });

}  // namespace
}  // namespace weft::agent
