// The kernel's tables give the same verdict as the evaluator, for every address, port and workload that the
// policies can tell apart.
#include "agent/policy/kernel_policy.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/kernel_verdict.h"
#include "tests/unit/agent/random_policy.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;

const std::vector<const char*> kAddresses = {"10.0.0.1", "10.1.2.3",  "10.1.2.4",   "192.168.1.1",
                                             "fd00::1",  "fd00:1::5", "2001:db8::1"};
const std::vector<uint16_t> kPorts = {80, 443, 5432, 9999};

TEST(KernelPolicyTest, TablesAndEvaluatorAgreeOnTwoThousandRandomSetsOfPolicies) {
  RandomPolicies random(20);
  const std::vector<LocalIdentity> local = {{1, {"cluster.local", "shop", "web"}},
                                            {2, {"cluster.local", "bank", "admin"}},
                                            {3, {"cluster.local", "other", "web"}}};
  const std::vector<IpAddress> own = {*IpAddress::parse("10.9.9.9")};
  int denied = 0, checked = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<pb::Authorization> policies;
    for (unsigned i = 1 + random.below(3); i > 0; --i) policies.push_back(random.make(static_cast<int>(i)));
    std::vector<const pb::Authorization*> pointers;
    for (const auto& policy : policies) pointers.push_back(&policy);
    const auto table = compile_policies(pointers, own, local);
    ASSERT_TRUE(table.ok()) << table.status();
    for (const char* address : kAddresses) {
      for (const uint16_t port : kPorts) {
        for (uint32_t id = 0; id <= 3; ++id) {
          PolicyConnection connection{
              .source = *IpAddress::parse(address), .identity = {}, .destination = {own[0], port}};
          if (id != 0) connection.identity = local[id - 1].identity;
          const bool wanted = evaluate(pointers, connection).allowed();
          ASSERT_EQ(kernel_allows(*table, connection.source, port, id), wanted)
              << address << " port " << port << " workload " << id << " round " << round << "\n"
              << policies[0].DebugString();
          denied += wanted ? 0 : 1;
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(denied, checked / 10);
  EXPECT_LT(denied, checked * 9 / 10);
}

TEST(KernelPolicyTest, TooManyAlternativesAreRefusedNotCutOff) {
  pb::Authorization policy;
  policy.set_action(pb::ALLOW);
  pb::Rule* rule = policy.add_rules();
  for (int clause = 0; clause < 3; ++clause) {
    pb::Clause* added = rule->add_clauses();
    for (int match = 0; match < 7; ++match)
      added->add_matches()->add_destination_ports(static_cast<uint32_t>(clause * 100 + match));
  }
  const std::vector<const pb::Authorization*> policies = {&policy};
  EXPECT_FALSE(compile_policies(policies, {}, {}).ok()) << "343 alternatives";
}

TEST(KernelPolicyTest, AllowNothingDeniesAndDryRunDecidesNothing) {
  pb::Authorization policy;
  policy.set_action(pb::ALLOW);
  const std::vector<const pb::Authorization*> policies = {&policy};
  const IpAddress source = *IpAddress::parse("10.0.0.1");
  EXPECT_FALSE(kernel_allows(*compile_policies(policies, {}, {}), source, 80, 0));
  policy.set_dry_run(true);
  EXPECT_TRUE(kernel_allows(*compile_policies(policies, {}, {}), source, 80, 0));
}

}  // namespace
}  // namespace weft::agent
