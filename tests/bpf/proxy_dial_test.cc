// The proxy inspects a port of a pod and then dials the application there: that connection must reach the
// application, nobody else's may. A fake proxy stands in: a process whose pid is set, and a plaintext
// listener.
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/policy.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

constexpr uint16_t kPort = 8080;

struct Family {
  const char* pod;
  const char* second;  // another address of the pod
  const char* prefix;
  const char* outside;
};
constexpr Family kV4{kClientV4, "10.57.1.20", "/24", kServerV4};
constexpr Family kV6{kClientV6, "fd57:1::20", "/64 nodad", kServerV6};

class ProxyDialTest : public OpenNode, public testing::WithParamInterface<Family> {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    pod_ = enroll_client();
    ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, {.inspect = true}).ok());
    // Added now, it is not known as the pod's: a connection from there looks like one from outside.
    EXPECT_EQ(ip(client_, str_cat("addr add ", GetParam().second, GetParam().prefix, " dev eth0")), "");
    application_ = listen_in(netns_path(client_), address(GetParam().pod, kPort));
    plaintext_ = listen_in(netns_path(client_), address(GetParam().pod, WEFT_PORT_INBOUND));
    ASSERT_TRUE(application_.valid() && plaintext_.valid());
    const UniqueFd listeners = map("m_inbound_listener");
    const uint32_t index = pod_.slot * WEFT_INBOUND_LISTENERS + WEFT_INBOUND_PLAINTEXT;
    const uint64_t fd = static_cast<uint64_t>(plaintext_.get());
    ASSERT_EQ(bpf_map_update_elem(listeners.get(), &index, &fd, BPF_ANY), 0);
  }
  UniqueFd map(const char* name) const {
    return UniqueFd(bpf_obj_get(str_cat(pin_root(), "/maps/", name).c_str()));
  }
  size_t remembered_dials() const {
    const UniqueFd dials = map("m_proxy_dial");
    weft_dial_key key{}, next{};
    size_t count = 0;
    for (bool first = true; bpf_map_get_next_key(dials.get(), first ? nullptr : &key, &next) == 0;
         first = false) {
      key = next;
      ++count;
    }
    return count;
  }
  // From the pod's second address to its first; as the proxy does, or any other process of the pod.
  int dial_from_inside(bool is_proxy, uint16_t port = kPort) {
    Child dialer(cgroup_, netns_path(client_), [port](int control) {
      char go = 0;
      if (::read(control, &go, 1) != 1) return -1;
      sockaddr_storage own{}, to{};
      const socklen_t own_length = address(GetParam().second, 0).to_sockaddr(&own);
      const socklen_t length = address(GetParam().pod, port).to_sockaddr(&to);
      const UniqueFd socket(::socket(own.ss_family, SOCK_STREAM, 0));
      if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&own), own_length) != 0) return -2;
      return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) == 0 ? 0 : errno;
    });
    const auto pid = static_cast<uint32_t>(dialer.pid());
    if (is_proxy) {
      EXPECT_TRUE(dataplane_->set_proxy(pid).ok());
    } else {
      // An endpoint that is dialled as it is: not captured.
      ServiceEntry endpoint{.key = {address(GetParam().pod, port), IPPROTO_TCP}, .id = 5};
      endpoint.path = ServiceEntry::Path::kPass;
      EXPECT_TRUE(dataplane_->apply({.services = {endpoint}}).ok());
    }
    write_all(dialer.control(), "g");
    return dialer.wait();
  }

  EnrolledNamespace pod_;
  UniqueFd application_;
  UniqueFd plaintext_;
};

TEST_P(ProxyDialTest, ConnectionFromOutsideIsInspectedAndTheProxysOwnReachesTheApplication) {
  Dialer outside(cgroup_, netns_path(server_), {.target = address(GetParam().pod, kPort)});
  EXPECT_TRUE(accept_one(plaintext_.get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_INSPECTED), 1u);
  EXPECT_EQ(dial_from_inside(true), 0);
  EXPECT_TRUE(accept_one(application_.get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_PROXY_DIAL), 1u);
  EXPECT_EQ(stat(WEFT_STAT_INSPECTED), 1u);
  EXPECT_EQ(remembered_dials(), 0u) << "the dial is over";
}

TEST_P(ProxyDialTest, OtherProcessesOfThePodAreInspected) {
  EXPECT_EQ(dial_from_inside(false), 0);
  EXPECT_TRUE(accept_one(plaintext_.get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_PROXY_DIAL), 0u);
}

TEST_P(ProxyDialTest, DialThatFailsIsForgotten) {
  application_.reset();
  EXPECT_EQ(dial_from_inside(true), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_PROXY_DIAL), 1u) << "it was recognised";
  const Deadline deadline;
  while (remembered_dials() != 0 && !deadline.passed()) continue;
  EXPECT_EQ(remembered_dials(), 0u);
}

TEST_P(ProxyDialTest, PolicyIsAskedBeforeTheDetourIsSpared) {
  PolicyTable nobody;
  nobody.fixed.flags = WEFT_POLICY_HAS_ALLOW;
  ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, {.inspect = true, .rules = nobody}).ok());
  EXPECT_EQ(dial_from_inside(true), ECONNREFUSED);
  EXPECT_EQ(stat(WEFT_STAT_DENIED), 1u);
}

TEST_P(ProxyDialTest, FullTableIsCountedAndMeansInspection) {
  const UniqueFd dials = map("m_proxy_dial");
  const uint64_t long_ago = 1;
  for (uint32_t i = 0; i < WEFT_MAX_PROXY_DIALS; ++i) {
    const weft_dial_key key{.from_ip = {1}, .to_ip = {}, .slot = i, .from_port = 1, .to_port = 1};
    ASSERT_EQ(bpf_map_update_elem(dials.get(), &key, &long_ago, BPF_ANY), 0);
  }
  EXPECT_EQ(dial_from_inside(true), 0);
  EXPECT_TRUE(accept_one(plaintext_.get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_PROXY_DIAL_LOST), 1u);
  EXPECT_EQ(stat(WEFT_STAT_PROXY_DIAL), 0u);
}

TEST_P(ProxyDialTest, AddressesOfThePodItselfAreOwnTrafficOnceTheyAreKnown) {
  ASSERT_TRUE(dataplane_->inspect(pod_.netns_cookie, netns_path(client_)).ok());
  ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, {.deny_all = true}).ok());
  EXPECT_EQ(dial_from_inside(false), 0);
  EXPECT_TRUE(accept_one(application_.get()).socket.valid());
}

TEST_P(ProxyDialTest, ProbeOfTheNodeIsNeitherInspectedNorForbidden) {
  ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, {.deny_all = true, .inspect = true}).ok());
  const UniqueFd nodes = map("m_node");
  const IpAddress node = *IpAddress::parse(GetParam().outside);
  const uint32_t yes = 1;
  ASSERT_EQ(bpf_map_update_elem(nodes.get(), node.bytes.data(), &yes, BPF_ANY), 0);
  Dialer probe(cgroup_, netns_path(server_), {.target = address(GetParam().pod, kPort)});
  EXPECT_TRUE(accept_one(application_.get()).socket.valid());
  EXPECT_EQ(stat(WEFT_STAT_PROBE), 1u);
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, ProxyDialTest, testing::Values(kV4, kV6), [](const auto& family) {
  return std::string(family.param.pod == kClientV4 ? "v4" : "v6");
});

}  // namespace
}  // namespace weft::agent
