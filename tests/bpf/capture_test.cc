// What is captured, what is left alone, and what each side of a captured connection sees.
#include <sys/socket.h>

#include <cerrno>

#include "bpf/abi/constants.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

class CaptureTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    client_namespace_ = enroll_client();
    ASSERT_EQ(client_namespace_.listeners.size(), 1u);
  }

  int listener() const { return client_namespace_.listeners[0].get(); }
  ConnectResult dial(const Dial& what) { return Dialer(cgroup_, netns_path(client_), what).result(); }

  // Dials, accepts on the capture listener, echoes, and checks both ends' view of the original destination.
  void expect_captured(const Dial& what, const char* client_ip) {
    Dialer dialer(cgroup_, netns_path(client_), what);
    Accepted accepted = accept_one(listener());
    ASSERT_TRUE(accepted.socket.valid()) << "connect said " << strerror(dialer.result().error);
    EXPECT_EQ(accepted.local, what.target);
    EXPECT_EQ(accepted.peer.ip.to_string(), client_ip);
    write_all(accepted.socket.get(), "echo " + read_all(accepted.socket.get()));
    accepted.socket.reset();
    const ConnectResult result = dialer.result();
    EXPECT_EQ(result.error, 0) << strerror(result.error);
    EXPECT_EQ(result.peer, what.target);
    EXPECT_EQ(result.received, "echo " + what.send);
  }

  // A server in the server namespace that is reached directly.
  void expect_direct(const Dial& what, weft_stat counter) {
    const UniqueFd server = listen_in(netns_path(server_), what.target);
    ASSERT_TRUE(server.valid());
    const uint64_t counted = stat(counter);
    Dialer dialer(cgroup_, netns_path(client_), what);
    Accepted accepted = accept_one(server.get());
    ASSERT_TRUE(accepted.socket.valid());
    accepted.socket.reset();
    EXPECT_EQ(dialer.result().error, 0);
    EXPECT_EQ(stat(counter), counted + 1);
    EXPECT_EQ(stat(WEFT_STAT_STEERED), 0u);
  }

  EnrolledNamespace client_namespace_;
};

TEST_F(CaptureTest, ListenerSeesTheDialledIpv4AddressAndSoDoesTheClient) {
  expect_captured({.target = address(kVipV4, 80), .send = "hello"}, kClientV4);
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 1u);
  EXPECT_EQ(stat(WEFT_STAT_STEERED), 1u);
}

TEST_F(CaptureTest, ListenerSeesTheDialledIpv6AddressAndSoDoesTheClient) {
  expect_captured({.target = address(kVipV6, 80), .send = "hello"}, kClientV6);
}

TEST_F(CaptureTest, Ipv4ThroughAnIpv6SocketIsCapturedAsIpv4) {
  expect_captured({.target = address(kVipV4, 80), .mapped = true, .send = "hello"}, kClientV4);
}

TEST_F(CaptureTest, MptcpClientIsCapturedLikeAnyOther) {
  expect_captured({.target = address(kVipV4, 80), .mptcp = true, .send = "hello"}, kClientV4);
}

TEST_F(CaptureTest, DirectlyReachablePeerIsCapturedToo) {
  expect_captured({.target = address(kServerV4, 8080), .send = "x"}, kClientV4);
}

TEST_F(CaptureTest, ServicePortEqualToTheCapturePortIsCaptured) {
  expect_captured({.target = address(kVipV4, WEFT_PORT_OUTBOUND), .send = "x"}, kClientV4);
}

TEST_F(CaptureTest, NamespaceThatIsNotEnrolledIsUntouched) {
  const UniqueFd server = listen_in(netns_path(client_), address(kClientV4, 8080));
  Dialer dialer(cgroup_, netns_path(server_), {.target = address(kClientV4, 8080)});
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(dialer.result().error, 0);
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 0u);
}

TEST_F(CaptureTest, LoopbackIsLeftAlone) {
  for (const char* ip : {"127.0.0.1", "127.8.0.1", "::1"}) {
    const UniqueFd server = listen_in(netns_path(client_), address(ip, 8080));
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(ip, 8080)});
    EXPECT_TRUE(accept_one(server.get()).socket.valid()) << ip;
    EXPECT_EQ(dialer.result().error, 0) << ip;
  }
  const UniqueFd server = listen_in(netns_path(client_), address("127.0.0.1", 8081));
  Dialer mapped(cgroup_, netns_path(client_), {.target = address("127.0.0.1", 8081), .mapped = true});
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(mapped.result().error, 0);
  EXPECT_EQ(stat(WEFT_STAT_LEFT_LOOPBACK), 4u);
  EXPECT_EQ(stat(WEFT_STAT_STEERED), 0u);
}

TEST_F(CaptureTest, OwnAddressReachesTheApplicationAndDoesNotLoop) {
  for (const char* ip : {kClientV4, kClientV6}) {
    const UniqueFd server = listen_in(netns_path(client_), address(ip, 8080));
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(ip, 8080)});
    EXPECT_TRUE(accept_one(server.get()).socket.valid()) << ip;
    EXPECT_EQ(dialer.result().error, 0) << ip;
  }
  EXPECT_EQ(stat(WEFT_STAT_STEERED), 0u);
}

TEST_F(CaptureTest, ExcludedPortIsLeftAlone) {
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {9000};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  expect_direct({.target = address(kServerV4, 9000)}, WEFT_STAT_LEFT_EXCLUDED);
}

TEST_F(CaptureTest, ExcludedRangesAreLeftAloneInBothFamilies) {
  NamespacePlan plan = client_plan();
  plan.exclude_cidrs = {{.ip = IpAddress::parse("10.57.1.9").value(), .prefix_length = 24},
                        {.ip = IpAddress::parse("fd57:1::").value(), .prefix_length = 64}};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  expect_direct({.target = address(kServerV4, 8080)}, WEFT_STAT_LEFT_EXCLUDED);
  expect_direct({.target = address(kServerV4, 8080), .mapped = true}, WEFT_STAT_LEFT_EXCLUDED);
  expect_direct({.target = address(kServerV6, 8080)}, WEFT_STAT_LEFT_EXCLUDED);
}

TEST_F(CaptureTest, ExclusionsEndWithTheNextPlan) {
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {8080};
  plan.exclude_cidrs = {{.ip = IpAddress::parse("10.57.0.0").value(), .prefix_length = 16}};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  ASSERT_TRUE(dataplane_->enroll(client_plan()).ok());
  for (const MapStatus& map : dataplane_->maps()) {
    if (map.name.starts_with("m_excl")) {
      EXPECT_EQ(map.entries, 0u) << map.name;
    }
  }
  expect_captured({.target = address(kServerV4, 8080), .send = "x"}, kClientV4);
}

TEST_F(CaptureTest, TheProxysOwnConnectsAreLeftAlone) {
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  Dialer proxy(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080), .wait = true});
  ASSERT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(proxy.pid())).ok());
  proxy.go();
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(proxy.result().error, 0);
  EXPECT_EQ(stat(WEFT_STAT_LEFT_PROXY), 1u);
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 0u);
}

TEST_F(CaptureTest, FormerProxyThatStillDrainsIsLeftAloneUntilItIsForgotten) {
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  Dialer former(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080), .wait = true});
  Dialer ended(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080), .wait = true});
  for (const pid_t pid : {former.pid(), ended.pid(), getpid()})
    ASSERT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(pid)).ok());
  former.go();
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(former.result().error, 0);
  dataplane_->forget_proxy(static_cast<uint32_t>(ended.pid()));
  ended.go();
  ended.result();
  EXPECT_EQ(stat(WEFT_STAT_LEFT_PROXY), 1u);
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 1u);
}

TEST_F(CaptureTest, CapturePortIsRefusedFromOutsideAndFromThePodItself) {
  for (const uint16_t port : {WEFT_PORT_OUTBOUND, WEFT_PORT_INBOUND, WEFT_PORT_HBONE}) {
    Dialer outside(cgroup_, netns_path(server_), {.target = address(kClientV4, port)});
    EXPECT_EQ(outside.result().error, ECONNREFUSED) << port;
  }
  Dialer outside6(cgroup_, netns_path(server_), {.target = address(kClientV6, WEFT_PORT_OUTBOUND)});
  EXPECT_EQ(outside6.result().error, ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_PORT_PROTECTED), 4u);
  EXPECT_EQ(dial({.target = address(kClientV4, WEFT_PORT_OUTBOUND)}).error, ECONNREFUSED);
  EXPECT_EQ(dial({.target = address("127.0.0.1", WEFT_PORT_OUTBOUND)}).error, ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_PORT_PROTECTED), 6u);
}

TEST_F(CaptureTest, WithoutAListenerCapturedConnectsAreRefusedNotBypassed) {
  client_namespace_.listeners.clear();
  kill_dataplane();
  open_dataplane();
  EXPECT_FALSE(dataplane_->has_listener(client_namespace_.netns_cookie));
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  EXPECT_EQ(dial({.target = address(kServerV4, 8080)}).error, ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_NO_LISTENER), 1u);
}

}  // namespace
}  // namespace weft::agent
