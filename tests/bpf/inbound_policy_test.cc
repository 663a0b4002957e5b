// Random policies by address, port and identity, in the kernel: what it makes of each connection is what the
// evaluator of user space says. Real connections from the server's namespace to the client's, which is
// protected.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/policy/kernel_policy.h"
#include "agent/policy/l4_policy.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"
#include "tests/unit/agent/random_policy.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;

constexpr uint16_t kPorts[] = {8080, 8081, 8082};
constexpr int kRounds = 600;

// In the dialers' namespace: for each port that it is told it connects and says errno, 0 for success.
int dial_as_told(int control, const char* ip) {
  for (uint16_t port = 0; ::read(control, &port, sizeof(port)) == sizeof(port);) {
    sockaddr_storage to{};
    const socklen_t length = address(ip, port).to_sockaddr(&to);
    const UniqueFd socket(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{kTimeoutSeconds, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    const int error = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) == 0 ? 0 : errno;
    if (::write(control, &error, sizeof(error)) != sizeof(error)) return 1;
  }
  return 0;
}

struct Way {
  const char* from;
  const char* to;
};

class InboundPolicyTest : public OpenNode, public testing::WithParamInterface<Way> {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    pod_ = enroll_client();
    for (const uint16_t port : kPorts)
      listeners_.push_back(listen_in(netns_path(client_), address(GetParam().to, port)));
  }

  // Dials each port, once for each set of policies. `identity`: what the dialers are; none: nobody knows
  // them.
  void compare(unsigned seed, const std::optional<PeerIdentity>& identity) {
    Child dialer(cgroup_, netns_path(server_),
                 [](int control) { return dial_as_told(control, GetParam().to); });
    RandomPolicies random(seed, {.sources = {"10.57.0.0/16", "10.57.1.3/32", "10.57.1.0/31", "0.0.0.0/0",
                                             "fd57::/16", "fd57:1::3/128", "fd57:2::/64", "::/0"},
                                 .ports = {kPorts[0], kPorts[1]},
                                 .destinations = {"10.57.1.2/32", "10.8.0.0/16", "fd57:1::2/128"}});
    const IpAddress own = *IpAddress::parse(GetParam().to);
    int denied = 0, checked = 0;
    for (int round = 0; round < kRounds && !HasFailure(); ++round) {
      std::vector<pb::Authorization> policies;
      for (unsigned i = 1 + random.below(3); i > 0; --i) policies.push_back(random.make(static_cast<int>(i)));
      std::vector<const pb::Authorization*> pointers;
      for (const pb::Authorization& policy : policies) pointers.push_back(&policy);
      std::vector<LocalIdentity> local;
      if (identity) local.push_back({.workload_id = kServerId, .identity = *identity});
      const auto table = compile_policies(pointers, std::span(&own, 1), local);
      ASSERT_TRUE(table.ok()) << table.status();
      ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, {.rules = *table}).ok());
      for (size_t i = 0; i < std::size(kPorts); ++i) {
        const PolicyConnection connection{.source = *IpAddress::parse(GetParam().from),
                                          .identity = identity,
                                          .destination = {own, kPorts[i]}};
        const bool wanted = evaluate(pointers, connection).allowed();
        const int error = dial(dialer, i);
        // Where both pods are here connect itself may say no.
        EXPECT_TRUE(wanted ? error == 0 : error == ECONNREFUSED || error == EPERM)
            << "wanted " << wanted << ", errno " << error << " port " << kPorts[i] << " round " << round
            << "\n"
            << policies[0].DebugString();
        denied += wanted ? 0 : 1;
        ++checked;
      }
    }
    EXPECT_GT(denied, checked / 10);
    EXPECT_LT(denied, checked * 9 / 10);
  }

 private:
  int dial(const Child& dialer, size_t port) {
    int error = -1;
    EXPECT_EQ(::write(dialer.control(), &kPorts[port], sizeof(kPorts[port])), ssize_t{sizeof(kPorts[port])});
    EXPECT_EQ(::read(dialer.control(), &error, sizeof(error)), ssize_t{sizeof(error)});
    if (error == 0) EXPECT_TRUE(accept_one(listeners_[port].get()).socket.valid());
    return error;
  }

  EnrolledNamespace pod_;
  std::vector<UniqueFd> listeners_;
};

TEST_P(InboundPolicyTest, NobodyIsJudgedAsTheEvaluatorJudges) { compare(1, std::nullopt); }

TEST_P(InboundPolicyTest, AWorkloadOfThisNodeIsJudgedAsTheEvaluatorJudges) {
  ASSERT_TRUE(dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId}).ok());
  // Its connects would go to a proxy: it is the identity that is looked at.
  KernelChange services;
  for (const uint16_t port : kPorts) {
    ServiceEntry pass{.key = {address(GetParam().to, port), IPPROTO_TCP}, .id = kClientId};
    pass.path = ServiceEntry::Path::kPass;
    services.services.push_back(pass);
  }
  ASSERT_TRUE(dataplane_->apply(services).ok());
  compare(2, PeerIdentity{"cluster.local", "shop", "web"});
}

INSTANTIATE_TEST_SUITE_P(, InboundPolicyTest,
                         testing::Values(Way{kServerV4, kClientV4}, Way{kServerV6, kClientV6}),
                         [](const auto& way) { return way.index == 0 ? "V4" : "V6"; });

}  // namespace
}  // namespace weft::agent
