// One version of the kernel programs takes over from another with maps of other shapes: what is carried over,
// what stays when it fails at any step, and that no connection and no count is lost on the way. The other
// version is this one with shapes changed before it is loaded.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <optional>
#include <thread>

#include "base/status_macros.h"
#include "bpf/abi/constants.h"
#include "bpf/user/programs.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

using bpf::Pins;
using bpf::Programs;
using testing::HasSubstr;
using testing::Not;

// A later version: longer values and larger tables of every kind.
void grow(bpf_object* object) {
  for (const char* name : {"m_netns", "m_dest", "m_flow", "m_bypass", "m_affinity", "m_beat", "m_inbound"}) {
    bpf_map* map = bpf_object__find_map_by_name(object, name);
    bpf_map__set_value_size(map, bpf_map__value_size(map) + 8);
  }
  for (const char* name : {"m_excl_port", "m_excl_cidr", "m_stats", "m_pick", "m_policy_cidr"}) {
    bpf_map* map = bpf_object__find_map_by_name(object, name);
    bpf_map__set_max_entries(map, bpf_map__max_entries(map) + 64);
  }
}

// Dials a captured address over and over, one connection after the other, until it is told to stop; accepts
// them as the proxy would.
class Traffic {
 public:
  Traffic(const std::string& cgroup, const std::string& netns, int listener)
      : listener_(listener),
        acceptor_([this] { accept_all(); }),
        client_(cgroup, netns, [](int control) { return dial_until_told(control); }) {}
  ~Traffic() {
    stop_ = true;
    acceptor_.join();
  }

  // How many connections were made in all.
  uint64_t finish() {
    write_all(client_.control(), "q");
    uint64_t dialled = 0;
    EXPECT_EQ(::recv(client_.control(), &dialled, sizeof(dialled), MSG_WAITALL), ssize_t{sizeof(dialled)});
    EXPECT_EQ(client_.wait(), 0) << "a connection failed, errno is the status";
    const Deadline deadline;
    while (accepted_ < dialled && !deadline.passed()) std::this_thread::yield();
    return dialled;
  }
  uint64_t accepted() const { return accepted_; }

 private:
  static int dial_until_told(int control) {
    sockaddr_storage storage{};
    const socklen_t length = address(kVipV4, 80).to_sockaddr(&storage);
    uint64_t dialled = 0;
    int error = 0;
    for (pollfd told{.fd = control, .events = POLLIN, .revents = 0}; poll(&told, 1, 0) == 0; ++dialled) {
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      // Reset on close: no port stays in TIME_WAIT, and they do not run out.
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
      if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
        error = errno;
        break;
      }
    }
    write_all(control, std::string(reinterpret_cast<const char*>(&dialled), sizeof(dialled)));
    return error;
  }

  void accept_all() {
    while (!stop_) {
      pollfd ready{.fd = listener_, .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, 50) != 1) continue;
      const UniqueFd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
      if (socket.valid()) ++accepted_;
    }
  }

  int listener_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> accepted_{0};
  std::thread acceptor_;
  Child client_;
};

class UpgradeTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    NamespacePlan plan = client_plan();
    plan.exclude_ports = {9000};
    plan.exclude_cidrs = {{.ip = IpAddress::parse("10.57.1.0").value(), .prefix_length = 24}};
    auto enrolled = dataplane_->enroll(plan);
    ASSERT_TRUE(enrolled.ok()) << enrolled.status();
    client_namespace_ = *std::move(enrolled);
    ASSERT_TRUE(dataplane_
                    ->apply({.destinations = {{.address = address(kVipV4, 80), .id = kServerId}},
                             .gone_destinations = {},
                             .services = {},
                             .gone_services = {}})
                    .ok());
  }
  void TearDown() override {
    programs_.reset();
    ScratchNode::TearDown();
  }

  // As the agent does it, without the tables that know this version's shapes only.
  absl::Status start(const Programs::Knobs& knobs) {
    kill_dataplane();
    programs_.reset();
    ASSIGN_OR_RETURN(std::unique_ptr<Programs> programs, Programs::load(Pins(pin_root()), knobs));
    const absl::Status status = take_over(*programs);
    if (!status.ok()) return programs->abandon(status);
    programs_ = std::move(programs);
    return absl::OkStatus();
  }
  absl::Status take_over(Programs& programs) {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> dead,
                     programs.adopt_lookups(
                         {{.netns_cookie = client_namespace_.netns_cookie, .slot = client_namespace_.slot}}));
    if (!dead.empty()) return absl::InternalError("the client's link is dead");
    RETURN_IF_ERROR(programs.attach_cgroup(cgroup_));
    return programs.commit();
  }
  static Programs::Knobs later_version() {
    Programs::Knobs knobs;
    knobs.reshape = grow;
    return knobs;
  }

  // Everything pinned and what is behind it: path -> "map ID" or "link ID program ID".
  std::map<std::string, std::string> pinned() const {
    std::map<std::string, std::string> out;
    const Pins pins(pin_root());
    for (const std::string& name : pins.pinned_maps()) {
      const UniqueFd fd(bpf_obj_get(pins.map(name).c_str()));
      bpf_map_info info{};
      uint32_t length = sizeof(info);
      EXPECT_EQ(bpf_obj_get_info_by_fd(fd.get(), &info, &length), 0) << name;
      out[pins.map(name)] = str_cat("map ", info.id);
    }
    for (const std::string& name : pins.pinned_links()) {
      const UniqueFd fd(bpf_obj_get(pins.link(name).c_str()));
      const bpf_link_info info = bpf::link_info(fd.get());
      out[pins.link(name)] = str_cat("link ", info.id, " program ", info.prog_id);
    }
    for (const char* staging : {"/next", "/ready"})
      EXPECT_NE(access((pin_root() + staging).c_str(), F_OK), 0) << staging;
    return out;
  }

  UniqueFd open_map(const std::string& name) const {
    return UniqueFd(bpf_obj_get(Pins(pin_root()).map(name).c_str()));
  }
  // All rows of a pinned map, key bytes -> value bytes.
  std::map<std::string, std::string> rows(const std::string& name) const {
    const UniqueFd map = open_map(name);
    const bpf::MapShape shape = bpf::shape_of(map.get()).value();
    std::map<std::string, std::string> out;
    EXPECT_TRUE(bpf::for_each_batch(map.get(), shape, [&](const bpf::MapRows& rows) {
                  for (size_t i = 0; i < rows.count; ++i) {
                    const auto* key = reinterpret_cast<const char*>(rows.keys) + i * shape.key_size;
                    const auto* value = reinterpret_cast<const char*>(rows.values) + i * shape.value_bytes();
                    out[std::string(key, shape.key_size)] = std::string(value, shape.value_bytes());
                  }
                  return absl::OkStatus();
                }).ok());
    return out;
  }
  uint64_t sum(const std::string& name, const void* key, size_t key_size, size_t word) const {
    const UniqueFd map = open_map(name);
    const bpf::Sums sums = bpf::read_sums(map.get(), bpf::shape_of(map.get()).value(), word + 1).value();
    const auto found = sums.find(std::string(static_cast<const char*>(key), key_size));
    return found == sums.end() ? 0 : found->second[word];
  }
  uint64_t counted(weft_stat which) const {
    const uint32_t index = which;
    return sum("m_stats", &index, sizeof(index), 0);
  }
  // Connections of the client to the service.
  uint64_t opened() const {
    const weft_flow_key key{
        .source = kClientId, .destination = kServerId, .direction = WEFT_DIRECTION_OUTBOUND};
    return sum("m_flow", &key, sizeof(key), offsetof(weft_flow, opened) / 8);
  }

  int listener() const { return client_namespace_.listeners[0].get(); }
  void expect_captured() {
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV4, 80), .send = "hello"});
    Accepted accepted = accept_one(listener());
    ASSERT_TRUE(accepted.socket.valid()) << "connect said " << strerror(dialer.result().error);
    EXPECT_EQ(read_all(accepted.socket.get()), "hello");
    accepted.socket.reset();
    EXPECT_EQ(dialer.result().error, 0);
  }

  EnrolledNamespace client_namespace_;
  std::unique_ptr<Programs> programs_;
};

TEST_F(UpgradeTest, RowsOfEveryMapAreCarriedToTheLaterVersionAndBack) {
  const std::vector<std::string> names = {"m_netns", "m_dest",    "m_excl_port", "m_excl_cidr",
                                          "m_node",  "m_inbound", "m_local",     "m_policy_cidr"};
  std::map<std::string, std::map<std::string, std::string>> before;
  for (const std::string& name : names) before[name] = rows(name);
  EXPECT_EQ(before["m_netns"].size(), 1u);
  EXPECT_EQ(before["m_excl_cidr"].size(), 1u);
  const auto pins_before = pinned();
  const absl::Status upgraded = start(later_version());
  ASSERT_TRUE(upgraded.ok()) << upgraded;
  for (const std::string& name : names) {
    const auto now = rows(name);
    EXPECT_EQ(now.size(), before[name].size()) << name;
    for (const auto& [key, value] : before[name]) {
      ASSERT_TRUE(now.contains(key)) << name;
      EXPECT_EQ(now.at(key).substr(0, value.size()), value) << name;
      EXPECT_EQ(now.at(key).find_first_not_of('\0', value.size()), std::string::npos) << name;
    }
  }
  const auto pins_after = pinned();
  const Pins pins(pin_root());
  EXPECT_NE(pins_after.at(pins.map("m_netns")), pins_before.at(pins.map("m_netns")));
  EXPECT_EQ(pins_after.at(pins.map("m_listener")), pins_before.at(pins.map("m_listener")));
  EXPECT_EQ(pins_after.size(), pins_before.size());
  expect_captured();
  const absl::Status downgraded = start({});
  ASSERT_TRUE(downgraded.ok()) << downgraded;
  for (const std::string& name : names) EXPECT_EQ(rows(name), before[name]) << name;
  expect_captured();
  programs_.reset();
  open_dataplane();
  EXPECT_TRUE(dataplane_->has_listener(client_namespace_.netns_cookie));
}

TEST_F(UpgradeTest, CountsGoOnWhereTheyWere) {
  for (int i = 0; i < 3; ++i) expect_captured();
  ASSERT_TRUE(start(later_version()).ok());
  EXPECT_EQ(counted(WEFT_STAT_CAPTURED), 3u);
  EXPECT_EQ(opened(), 3u);
  for (int i = 0; i < 2; ++i) expect_captured();
  ASSERT_TRUE(start({}).ok());
  EXPECT_EQ(counted(WEFT_STAT_CAPTURED), 5u);
  EXPECT_EQ(counted(WEFT_STAT_STEERED), 5u);
  EXPECT_EQ(opened(), 5u);
}

TEST_F(UpgradeTest, NoConnectionAndNoCountIsLostUnderTrafficWhetherItSucceedsOrNot) {
  Traffic traffic(cgroup_, netns_path(client_), listener());
  int failures = 0;
  for (int round = 0; round < 4; ++round) {
    for (const char* fail_at : {"", "switch mesh_connect4", "add m_stats", "commit"}) {
      Programs::Knobs knobs = round % 2 == 0 ? later_version() : Programs::Knobs();
      knobs.step = [&failures, fail_at](std::string_view step) -> absl::Status {
        if (step != fail_at) return absl::OkStatus();
        ++failures;
        return absl::InternalError("injected");
      };
      const absl::Status status = start(knobs);
      EXPECT_EQ(status.ok(), fail_at == std::string_view() || failures == 0) << fail_at << ": " << status;
      failures = 0;
      const uint64_t before = traffic.accepted();
      const Deadline deadline;
      while (traffic.accepted() < before + 10 && !deadline.passed()) std::this_thread::yield();
    }
  }
  const uint64_t dialled = traffic.finish();
  EXPECT_GT(dialled, 100u);
  EXPECT_EQ(traffic.accepted(), dialled);
  EXPECT_EQ(counted(WEFT_STAT_CAPTURED), dialled);
  // On a busy machine a segment may overtake another and ask for its listener again: not exact without any
  // upgrade either.
  EXPECT_GE(counted(WEFT_STAT_STEERED), dialled);
  EXPECT_EQ(opened(), dialled);
}

TEST_F(UpgradeTest, FailureAtAnyStepLeavesTheFormerVersionInForceAndItsPinsUntouched) {
  expect_captured();
  std::vector<std::string> steps;
  Programs::Knobs knobs = later_version();
  knobs.step = [&steps](std::string_view step) -> absl::Status {
    steps.emplace_back(step);
    return step == "commit" ? absl::InternalError("injected") : absl::OkStatus();
  };
  const auto before = pinned();
  EXPECT_FALSE(start(knobs).ok());
  ASSERT_GT(steps.size(), 15u);
  EXPECT_THAT(
      steps, testing::IsSupersetOf({"copy m_netns", "copy m_excl_cidr", "copy m_flow", "switch mesh_connect4",
                                    "switch mesh_sockops", "add m_flow", "add m_stats", "commit"}));
  for (const std::string& fail_at : steps) {
    knobs.step = [&fail_at](std::string_view step) {
      return step == fail_at ? absl::InternalError("injected") : absl::OkStatus();
    };
    const absl::Status status = start(knobs);
    EXPECT_THAT(std::string(status.message()), HasSubstr("injected")) << fail_at;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the previous version is still in force"))
        << fail_at;
    EXPECT_EQ(pinned(), before) << fail_at;
  }
  expect_captured();
  EXPECT_EQ(counted(WEFT_STAT_CAPTURED), 2u);
  ASSERT_TRUE(start(later_version()).ok());
  expect_captured();
}

TEST_F(UpgradeTest, ProgramsThatTheVerifierRefusesChangeNothing) {
  const auto before = pinned();
  Programs::Knobs knobs;
  knobs.reshape = [](bpf_object* object) {
    bpf_map__set_value_size(bpf_object__find_map_by_name(object, "m_netns"), 4);
  };
  const absl::Status status = start(knobs);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("nothing was changed: the previous version is still in force"));
  EXPECT_EQ(pinned(), before);
  expect_captured();
}

TEST_F(UpgradeTest, KeyOfAnotherSizeNeedsAConverter) {
  const auto before = pinned();
  Programs::Knobs knobs;
  knobs.reshape = [](bpf_object* object) {
    bpf_map__set_key_size(bpf_object__find_map_by_name(object, "m_pick"), 4);
    bpf_map__set_key_size(bpf_object__find_map_by_name(object, "m_excl_port"), 12);
  };
  const absl::Status status = start(knobs);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("m_excl_port"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("no converter is registered"));
  EXPECT_EQ(pinned(), before);
  // Same key, other rows: a converter is asked whenever the shape differs.
  knobs.reshape = [](bpf_object* object) {
    bpf_map* map = bpf_object__find_map_by_name(object, "m_excl_port");
    bpf_map__set_max_entries(map, bpf_map__max_entries(map) + 1);
  };
  knobs.converters["m_excl_port"] = [](int, int fresh) {
    const weft_excl_port_key key{.workload_id = kClientId, .port = 9001};
    const uint32_t one = 1;
    return bpf_map_update_elem(fresh, &key, &one, BPF_ANY) == 0 ? absl::OkStatus()
                                                                : absl::InternalError("update");
  };
  ASSERT_TRUE(start(knobs).ok());
  const weft_excl_port_key key{.workload_id = kClientId, .port = 9001};
  EXPECT_TRUE(rows("m_excl_port").contains(std::string(reinterpret_cast<const char*>(&key), sizeof(key))));
}

TEST_F(UpgradeTest, SocketMapsStayAndMapsThatAreNoLongerDeclaredGo) {
  const Pins pins(pin_root());
  const UniqueFd gone(bpf_map_create(BPF_MAP_TYPE_ARRAY, "m_gone", 4, 8, 1, nullptr));
  ASSERT_EQ(bpf_obj_pin(gone.get(), pins.map("m_gone").c_str()), 0);
  const auto before = pinned();
  Programs::Knobs knobs;
  knobs.reshape = [](bpf_object* object) {
    bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "m_listener"), 2048);
  };
  ASSERT_TRUE(start(knobs).ok());
  EXPECT_EQ(pinned().at(pins.map("m_listener")), before.at(pins.map("m_listener")));
  EXPECT_FALSE(pinned().contains(pins.map("m_gone")));
  expect_captured();
}

TEST_F(UpgradeTest, AnotherCgroupIsAttachedBeforeTheFormerIsLeftAndNotAtAllWhenItFails) {
  const std::string other = cgroup_ + "-other";
  ASSERT_EQ(mkdir(other.c_str(), 0700), 0);
  const auto before = pinned();
  const std::string own = std::exchange(cgroup_, other);
  Programs::Knobs knobs;
  knobs.step = [](std::string_view step) {
    return step == "commit" ? absl::InternalError("injected") : absl::OkStatus();
  };
  EXPECT_FALSE(start(knobs).ok());
  EXPECT_EQ(pinned(), before);
  EXPECT_TRUE(start({}).ok());
  EXPECT_EQ(pinned().size(), before.size());
  EXPECT_NE(pinned(), before);
  expect_captured();
  for (const bpf::Attachment& attachment : programs_->attachments())
    EXPECT_TRUE(attachment.attached) << attachment.program;
  programs_.reset();
  Pins(pin_root()).remove_all();
  cgroup_ = own;
  EXPECT_EQ(rmdir(other.c_str()), 0);
}

TEST_F(UpgradeTest, FirstStartThatFailsLeavesNothingPinnedOrAttached) {
  programs_.reset();
  kill_dataplane();
  Pins(pin_root()).remove_all();
  Programs::Knobs knobs;
  knobs.step = [](std::string_view step) {
    return step == "commit" ? absl::InternalError("injected") : absl::OkStatus();
  };
  auto programs = Programs::load(Pins(pin_root()), knobs);
  ASSERT_TRUE(programs.ok()) << programs.status();
  ASSERT_TRUE((*programs)->attach_cgroup(cgroup_).ok());
  const absl::Status status = (*programs)->abandon((*programs)->commit());
  EXPECT_THAT(std::string(status.message()), HasSubstr("injected"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("previous version")));
  EXPECT_TRUE(pinned().empty());
}

}  // namespace
}  // namespace weft::agent
