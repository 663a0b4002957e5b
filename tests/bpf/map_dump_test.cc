// Every map of the kernel half reads as words, and says whose a row is by id.
#include <bpf/libbpf.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <memory>

#include "agent/dataplane/map_dump.h"
#include "base/strings.h"
#include "bpf/mesh.skel.h"
#include "bpf/user/programs.h"
#include "tests/bpf/child.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {
namespace {

class MapDumpTest : public FlowNode {
 protected:
  // Cells with "#" before an id, columns with one space between them.
  std::vector<std::string> rows(const std::string& map) {
    const auto dump = dataplane_->dump_map(map, 100);
    EXPECT_TRUE(dump.ok()) << dump.status();
    std::vector<std::string> out;
    if (!dump.ok()) return out;
    EXPECT_EQ(dump->total, dump->rows.size());
    for (const auto& row : dump->rows) {
      EXPECT_EQ(row.size(), dump->columns.size()) << map;
      std::string& line = out.emplace_back();
      for (const MapCell& cell : row)
        str_append(&line, line.empty() ? "" : " ", cell.is_subject ? str_cat("#", cell.subject) : cell.text);
    }
    return out;
  }
};

TEST_F(MapDumpTest, RowsAreAddressesAndIdsNotBytes) {
  NamespacePlan plan = client_plan();
  plan.fail_closed = true;
  plan.exclude_ports = {9000};
  plan.exclude_cidrs = {{.ip = IpAddress::parse("10.57.0.0").value(), .prefix_length = 16},
                        {.ip = IpAddress::parse("fd57::").value(), .prefix_length = 32}};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  const ServiceEntry service{
      .key = {address(kVipV4, 5432), IPPROTO_TCP},
      .id = kServiceId,
      .path = ServiceEntry::Path::kDirect,
      .affinity_seconds = 60,
      .eject_after = 5,
      .backends = {{.address = address(kServerV6, 8080), .id = kServerId, .weight = 1}}};
  ASSERT_TRUE(
      dataplane_->apply({.destinations = {{address(kServerV4, 0), kServerId}}, .services = {service}}).ok());
  using testing::Contains;
  using testing::ElementsAre;
  using testing::HasSubstr;
  using testing::StartsWith;
  using testing::UnorderedElementsAre;
  EXPECT_THAT(rows("m_netns"),
              ElementsAre(str_cat(client_namespace_.netns_cookie,
                                  " #11 0 capture,excludes-ports,excludes-addresses,fail-closed")));
  EXPECT_THAT(rows("m_excl_port"), ElementsAre("#11 9000"));
  EXPECT_THAT(rows("m_excl_cidr"), UnorderedElementsAre("#11 10.57.0.0/16", "#11 fd57::/32"));
  EXPECT_THAT(rows("m_dest"), ElementsAre("10.57.1.3 #12"));
  EXPECT_THAT(rows("m_svc"), ElementsAre(testing::AllOf(StartsWith("10.99.0.1:5432 tcp #21 direct "),
                                                        HasSubstr(" 60 s 5"))));
  EXPECT_THAT(rows("m_backend"), ElementsAre(HasSubstr("[fd57:1::3]:8080 #12")));
  EXPECT_THAT(rows("m_pick"), ElementsAre(HasSubstr(" ")));
  EXPECT_THAT(rows("m_local"), Contains("10.57.1.2 #11 0"));
  EXPECT_THAT(rows("m_inbound"), ElementsAre(HasSubstr("0 #11 - on")));
  EXPECT_THAT(rows("m_listener"), ElementsAre(StartsWith("0 ")));
}

TEST_F(MapDumpTest, RulesOfAPolicyAreNumbered) {
  PolicyTable table;
  table.fixed.flags = WEFT_POLICY_HAS_ALLOW;
  table.fixed.deny.word[0] = 1;
  table.fixed.allow.word[1] = 2;
  ASSERT_TRUE(dataplane_->set_policy(client_namespace_.netns_cookie, {.rules = table}).ok());
  EXPECT_THAT(rows("m_policy"), testing::ElementsAre(testing::HasSubstr(" 0 65 denied")));
}

TEST_F(MapDumpTest, CountsAreSummedOverCpusAndTheLimitCutsRowsNotTheTotal) {
  transfer(client_namespace_.listeners[0].get(), {.target = address(kVipV4, 80), .send = "hello"}, 3);
  closed_flow(kClientId, 0, WEFT_DIRECTION_OUTBOUND);
  EXPECT_THAT(rows("m_flow"), testing::Contains("#11 #0 outbound 1 1 0 5 3 0"));
  EXPECT_THAT(rows("m_stats"), testing::Contains("captured 1"));
  const auto cut = dataplane_->dump_map("m_stats", 2);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->rows.size(), 2u);
  EXPECT_EQ(cut->total, static_cast<uint64_t>(WEFT_STAT_COUNT));
}

TEST_F(MapDumpTest, EveryMapWithRowsOfItsOwnCanBeDumpedAndAnotherNameListsThem) {
  kill_dataplane();
  shortcut_ = true;
  open_dataplane();
  const bool has_shortcut = dataplane_->shortcut_problem().empty();
  const std::unique_ptr<::mesh, bpf::SkeletonDeleter> skeleton(mesh__open());
  ASSERT_NE(skeleton, nullptr);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    const bpf_map_type type = bpf_map__type(map);
    if (bpf_map__is_internal(map) || type == BPF_MAP_TYPE_SK_STORAGE || type == BPF_MAP_TYPE_RINGBUF)
      continue;
    const std::string name = bpf_map__name(map);
    if (!has_shortcut && name.starts_with("m_shortcut")) continue;
    const auto dump = dataplane_->dump_map(name, 1);
    EXPECT_TRUE(dump.ok()) << dump.status();
  }
  const auto unknown = dataplane_->dump_map("m_nets", 1);
  EXPECT_TRUE(absl::IsNotFound(unknown.status()));
  EXPECT_THAT(std::string(unknown.status().message()), testing::HasSubstr("m_local, m_netns, m_node"));
}

}  // namespace
}  // namespace weft::agent
