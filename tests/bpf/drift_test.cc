// `weft diff` in the kernel half: every kind of thing that somebody may change behind the agent's back is
// named, and nothing else is.
#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/service.h"
#include "bpf/user/link_switch.h"
#include "tests/bpf/foreign_program.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kServiceId = 21;

weft_rules first_rule() {
  weft_rules out{};
  out.word[0] = 1;
  return out;
}

class DriftTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    PlannedNamespace pod{.name = "shop/web", .plan = client_plan()};
    pod.plan.fail_closed = true;
    pod.plan.exclude_ports = {9000};
    pod.plan.exclude_cidrs = {{.ip = IpAddress::parse("10.57.1.0").value(), .prefix_length = 24}};
    auto enrolled = dataplane_->enroll(pod.plan);
    ASSERT_TRUE(enrolled.ok()) << enrolled.status();
    pod_ = *std::move(enrolled);
    pod.netns_cookie = pod_.netns_cookie;
    PolicyTable table;
    table.fixed.deny = first_rule();
    table.cidrs = {{.ip = IpAddress::parse("10.0.0.0").value(), .prefix_length = 104, .rules = first_rule()}};
    table.ports = {{8080, first_rule()}};
    table.workloads = {{kServerId, first_rule()}};
    pod.policy.rules = table;
    ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, pod.policy).ok());
    wanted_.namespaces = {pod};
    ServiceEntry direct{.key = {address_of(kVipV4, 80), IPPROTO_TCP}, .id = kServiceId};
    direct.path = ServiceEntry::Path::kDirect;
    direct.backends = {{.address = address_of(kServerV4, 8080), .id = kServerId, .weight = 1}};
    wanted_.entries.services = {direct};
    wanted_.entries.destinations = {{address_of(kVipV4, 80), kServiceId},
                                    {address_of(kServerV4, 0), kServerId}};
    wanted_.entries.full = true;
    ASSERT_TRUE(dataplane_->apply(wanted_.entries).ok());
  }

  static SocketAddress address_of(const char* ip, uint16_t port) {
    return {.ip = IpAddress::parse(ip).value(), .port = port};
  }
  UniqueFd pinned(const std::string& below) const {
    return UniqueFd(bpf_obj_get(str_cat(pin_root(), below).c_str()));
  }
  // "scope: object: difference" of everything that drifted.
  std::vector<std::string> drift() const {
    std::vector<std::string> out;
    for (const DriftRow& row : dataplane_->drift(wanted_)) {
      EXPECT_EQ(row.drift, row.items.size()) << row.scope;
      for (const DriftItem& item : row.items)
        out.push_back(str_cat(row.scope, ": ", item.object, ": ", item.difference));
    }
    return out;
  }
  DriftRow scope(const std::string& name) const {
    for (DriftRow& row : dataplane_->drift(wanted_)) {
      if (row.scope == name) return std::move(row);
    }
    ADD_FAILURE() << "no scope " << name;
    return {};
  }
  template <typename Key>
  void erase(const char* map, const Key& key) {
    EXPECT_EQ(bpf_map_delete_elem(pinned(str_cat("/maps/", map)).get(), &key), 0) << strerror(errno);
  }

  EnrolledNamespace pod_;
  PlannedKernel wanted_;
};

TEST_F(DriftTest, NodeThatWasLeftAloneHasNoDriftAndItsCountsAgree) {
  EXPECT_THAT(drift(), IsEmpty());
  for (const auto& [name, count] : {std::pair("namespaces", 1u),
                                    {"policies", 1u},
                                    {"services", 1u},
                                    {"destinations", 2u},
                                    {"programs", 10u}}) {
    const DriftRow row = scope(name);
    EXPECT_EQ(row.desired, count) << name;
    EXPECT_EQ(row.agent, count) << name;
    EXPECT_EQ(row.kernel, count) << name;
  }
  kill_dataplane();
  open_dataplane();
  ASSERT_TRUE(dataplane_->enroll(wanted_.namespaces[0].plan).ok());
  ASSERT_TRUE(dataplane_->set_policy(pod_.netns_cookie, wanted_.namespaces[0].policy).ok());
  ASSERT_TRUE(dataplane_->apply(wanted_.entries).ok());
  EXPECT_THAT(drift(), IsEmpty()) << "a later agent";
}

TEST_F(DriftTest, RowsThatAreMissingInTheKernelAreNamed) {
  weft_dest_key destination{.ip = {}, .port = 80};
  const IpAddress vip = IpAddress::parse(kVipV4).value();
  std::memcpy(destination.ip, vip.bytes.data(), sizeof(destination.ip));
  erase("m_dest", destination);
  weft_svc_key service{.ip = {}, .port = 80, .protocol = IPPROTO_TCP, .reserved = 0};
  std::memcpy(service.ip, vip.bytes.data(), sizeof(service.ip));
  erase("m_svc", service);
  EXPECT_THAT(drift(), ElementsAre(str_cat("services: ", kVipV4, ":80/tcp: missing in the kernel"),
                                   str_cat("destinations: ", kVipV4, ":80: missing in the kernel")));
  EXPECT_EQ(scope("services").items[0].id, kServiceId);
  EXPECT_EQ(scope("services").kernel, 0u);
  erase("m_netns", pod_.netns_cookie);
  EXPECT_THAT(drift(), testing::Contains(
                           "namespaces: shop/web: its row of m_netns is missing: nothing of it is captured"));
}

TEST_F(DriftTest, BackendsOfAServiceThatWereOverwrittenAreNamed) {
  const UniqueFd backends = pinned("/maps/m_backend");
  const uint32_t index = 0;
  weft_backend backend{};
  ASSERT_EQ(bpf_map_lookup_elem(backends.get(), &index, &backend), 0);
  const weft_backend before = backend;
  backend.port = 1;
  ASSERT_EQ(bpf_map_update_elem(backends.get(), &index, &backend, BPF_ANY), 0);
  EXPECT_THAT(drift(),
              ElementsAre(str_cat("services: ", kVipV4, ":80/tcp: another row in the kernel for its backend ",
                                  kServerV4, ":8080")));
  ASSERT_EQ(bpf_map_update_elem(backends.get(), &index, &before, BPF_ANY), 0);
  const weft_pick empty{};
  for (uint32_t i = 0; i < 4; ++i)
    ASSERT_EQ(bpf_map_update_elem(pinned("/maps/m_pick").get(), &i, &empty, BPF_ANY), 0);
  EXPECT_THAT(drift(), ElementsAre(str_cat("services: ", kVipV4,
                                           ":80/tcp: its table of backends in the kernel was overwritten")));
}

TEST_F(DriftTest, WhatTheKernelHoldsAndNobodyAskedForIsNamed) {
  const weft_dest_key stray{.ip = {1}, .port = 7};
  const weft_dest dest{.id = 99, .flags = 0};
  ASSERT_EQ(bpf_map_update_elem(pinned("/maps/m_dest").get(), &stray, &dest, BPF_ANY), 0);
  const weft_excl_port_key port{.workload_id = kClientId, .port = 22};
  const uint32_t yes = 1;
  ASSERT_EQ(bpf_map_update_elem(pinned("/maps/m_excl_port").get(), &port, &yes, BPF_ANY), 0);
  const uint64_t cookie = 1'000'000'000;
  const weft_netns row{.workload_id = 5, .slot = 9, .flags = WEFT_NETNS_CAPTURE, .reserved = 0};
  ASSERT_EQ(bpf_map_update_elem(pinned("/maps/m_netns").get(), &cookie, &row, BPF_ANY), 0);
  EXPECT_THAT(drift(), ElementsAre("namespaces: shop/web: port 22 is excluded, but nobody asks for it",
                                   "namespaces: netns cookie 1000000000: captured, but nobody asks for it",
                                   "destinations: [100::]:7: only in the kernel"));
}

TEST_F(DriftTest, WhatTheConfigurationAsksForAndTheAgentDidNotWriteIsNamed) {
  ServiceEntry changed = wanted_.entries.services[0];
  changed.backends[0].weight = 7;
  ServiceEntry more{.key = {address_of(kVipV6, 53), IPPROTO_UDP}, .id = kServiceId};
  wanted_.entries.services = {changed, more};
  wanted_.entries.destinations.pop_back();
  EXPECT_THAT(drift(), ElementsAre(str_cat("services: ", kVipV4, ":80/tcp: written otherwise by the agent"),
                                   str_cat("services: [", kVipV6, "]:53/udp: not written by the agent"),
                                   str_cat("destinations: ", kServerV4,
                                           ":0: written by the agent, but nobody asks for it")));
}

TEST_F(DriftTest, BrokenPartsOfANamespaceAreNamedEachForItself) {
  erase("m_listener", pod_.slot);
  erase("m_excl_port", weft_excl_port_key{.workload_id = kClientId, .port = 9000});
  IpAddress own = IpAddress::parse(kClientV4).value();
  erase("m_local", own.bytes);
  EXPECT_THAT(drift(), ElementsAre("namespaces: shop/web: no listener is in its slot of m_listener",
                                   "namespaces: shop/web: excluded port 9000 is missing in m_excl_port",
                                   str_cat("namespaces: shop/web: m_local does not say that ", kClientV4,
                                           " is its address")));
}

TEST_F(DriftTest, StaleRouteAndMissingRuleOfANamespaceAreNamed) {
  ip(client_, "addr add 10.57.1.99/32 dev eth0");
  ip(client_, "route replace local default dev lo table 5700 proto 157 src 10.57.1.99");
  ip(client_, "-6 rule del priority 5700");
  EXPECT_THAT(
      drift(),
      ElementsAre(str_cat("namespaces: shop/web: the IPv4 route of table 5700 is stale: its source is "
                          "10.57.1.99, the namespace has ",
                          kClientV4),
                  "namespaces: shop/web: the IPv6 rule 5700 is missing in the namespace"));
  ASSERT_TRUE(dataplane_->inspect(pod_.netns_cookie, netns_path(client_)).ok());
  EXPECT_THAT(drift(), IsEmpty()) << "the inspection has put it right";
  ip(client_, "route flush table 5700");
  EXPECT_THAT(drift(),
              ElementsAre("namespaces: shop/web: the IPv4 route of table 5700 is missing in the namespace"));
}

TEST_F(DriftTest, PolicyThatIsNotTheOneInForceIsNamed) {
  const auto policies = [this] { return scope("policies"); };
  const UniqueFd inbound = pinned("/maps/m_inbound");
  weft_inbound row{};
  ASSERT_EQ(bpf_map_lookup_elem(inbound.get(), &pod_.slot, &row), 0);
  erase("m_policy_port", weft_policy_port_key{.policy = row.policy, .port = 8080});
  EXPECT_THAT(drift(), ElementsAre("policies: shop/web: m_policy_port differs for port 8080"));
  EXPECT_EQ(policies().desired, 1u);
  EXPECT_EQ(policies().kernel, 0u);
  erase("m_policy", row.policy);
  EXPECT_THAT(drift(), ElementsAre("policies: shop/web: the kernel holds another policy"));
  const uint32_t policy = row.policy;
  row.policy = 0;
  ASSERT_EQ(bpf_map_update_elem(inbound.get(), &pod_.slot, &row, BPF_ANY), 0);
  EXPECT_THAT(drift(), ElementsAre("policies: shop/web: its policy is not in force"));
  row.policy = policy;
  row.flags = WEFT_INBOUND_ON | WEFT_INBOUND_FAIL_CLOSED | WEFT_INBOUND_DENY_ALL;
  ASSERT_EQ(bpf_map_update_elem(inbound.get(), &pod_.slot, &row, BPF_ANY), 0);
  EXPECT_THAT(drift(), ElementsAre("policies: shop/web: everything is denied"));
}

TEST_F(DriftTest, LinkThatWasDetachedReplacedOrUnpinnedIsNamed) {
  const UniqueFd detached = pinned("/links/mesh_connect4");
  ASSERT_EQ(bpf_link_detach(detached.get()), 0) << strerror(errno);
  const UniqueFd replaced = pinned("/links/mesh_sockops");
  const ForeignProgram foreign(BPF_CGROUP_SOCK_OPS, "foreign");
  const UniqueFd program(bpf_prog_get_fd_by_id(foreign.id()));
  ASSERT_EQ(bpf_link_update(replaced.get(), program.get(), nullptr), 0) << strerror(errno);
  ASSERT_EQ(unlink((pin_root() + "/links/mesh_connect6").c_str()), 0);
  const std::string lookup = str_cat("/links/lookup_", pod_.netns_cookie);
  ASSERT_EQ(bpf_link_detach(pinned(lookup).get()), 0) << strerror(errno);
  EXPECT_THAT(
      drift(),
      ElementsAre(
          str_cat("programs: mesh_connect4 at ", cgroup_, ": detached"),
          str_cat("programs: mesh_connect6 at ", cgroup_, ": its pin is gone: no later agent can adopt it"),
          str_cat("programs: mesh_sockops at ", cgroup_, ": another program is behind its link"),
          str_cat("programs: mesh_lookup at netns cookie ", pod_.netns_cookie, ": detached")));
  EXPECT_EQ(scope("programs").kernel, 8u);
}

}  // namespace
}  // namespace weft::agent
