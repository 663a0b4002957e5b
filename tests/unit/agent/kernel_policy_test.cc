// The kernel's tables give the same verdict as the evaluator, for every address, port and workload that the
// policies can tell apart.
#include "agent/policy/kernel_policy.h"

#include <gtest/gtest.h>

#include <random>

#include "base/ip_range.h"
#include "tests/unit/agent/kernel_verdict.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;

const std::vector<const char*> kAddresses = {"10.0.0.1", "10.1.2.3",  "10.1.2.4",   "192.168.1.1",
                                             "fd00::1",  "fd00:1::5", "2001:db8::1"};
const std::vector<uint16_t> kPorts = {80, 443, 5432, 9999};

pb::Address range(const char* text) {
  const IpRange parsed = *IpRange::parse(text);
  pb::Address out;
  out.set_address(parsed.ip.packed());
  out.set_length(parsed.length);
  return out;
}

pb::Match random_match(std::mt19937& random) {
  const auto one_of = [&random](std::initializer_list<const char*> texts) {
    return *(texts.begin() + random() % texts.size());
  };
  pb::Match match;
  for (uint32_t terms = 1 + random() % 3; terms > 0; --terms) {
    const char* cidr = one_of({"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "fd00::/16", "::/0"});
    const uint16_t port = kPorts[random() % 3];
    switch (random() % 8) {
      case 0:
        *match.add_source_ips() = range(cidr);
        break;
      case 1:
        *match.add_not_source_ips() = range(cidr);
        break;
      case 2:
        match.add_destination_ports(port);
        break;
      case 3:
        match.add_not_destination_ports(port);
        break;
      case 4:
        match.add_namespaces()->set_exact(one_of({"shop", "bank"}));
        break;
      case 5:
        match.add_not_namespaces()->set_exact(one_of({"shop", "bank"}));
        break;
      case 6:
        match.add_principals()->set_suffix(one_of({"/sa/web", "/sa/admin"}));
        break;
      case 7:
        *match.add_destination_ips() = range(one_of({"10.9.9.9/32", "10.8.0.0/16"}));
        break;
    }
  }
  if (random() % 8 == 0) match.add_extensions()->set_name("terms about requests");
  return match;
}

pb::Authorization random_policy(std::mt19937& random, int number) {
  pb::Authorization policy;
  policy.set_name("p" + std::to_string(number));
  policy.set_namespace_("shop");
  policy.set_action(random() % 2 == 0 ? pb::ALLOW : pb::DENY);
  for (uint32_t rules = random() % 3; rules > 0; --rules) {
    pb::Rule* rule = policy.add_rules();
    for (uint32_t clauses = random() % 3; clauses > 0; --clauses) {
      pb::Clause* clause = rule->add_clauses();
      for (uint32_t matches = 1 + random() % 3; matches > 0; --matches)
        *clause->add_matches() = random_match(random);
    }
  }
  return policy;
}

TEST(KernelPolicyTest, TablesAndEvaluatorAgreeOnTwoThousandRandomSetsOfPolicies) {
  std::mt19937 random(20);
  const std::vector<LocalIdentity> local = {{1, {"cluster.local", "shop", "web"}},
                                            {2, {"cluster.local", "bank", "admin"}},
                                            {3, {"cluster.local", "other", "web"}}};
  const std::vector<IpAddress> own = {*IpAddress::parse("10.9.9.9")};
  int denied = 0, checked = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<pb::Authorization> policies;
    for (uint32_t i = 1 + random() % 3; i > 0; --i)
      policies.push_back(random_policy(random, static_cast<int>(i)));
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
