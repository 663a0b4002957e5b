// Programs of others on our hooks: they keep running beside ours, whoever came first and wherever in the
// cgroups they are, and after we are gone; what cannot run beside ours is named before anything changes.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/strings.h"
#include "tests/bpf/child.h"
#include "tests/bpf/foreign_program.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr bpf_attach_type kHooks[] = {
    BPF_CGROUP_INET4_CONNECT,     BPF_CGROUP_INET6_CONNECT,     BPF_CGROUP_UDP4_SENDMSG,
    BPF_CGROUP_UDP6_SENDMSG,      BPF_CGROUP_UDP4_RECVMSG,      BPF_CGROUP_UDP6_RECVMSG,
    BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_SOCK_OPS};

// Says something to itself over UDP: an unconnected socket sends and receives.
int talk_to_itself(const char* loopback) {
  sockaddr_storage own{};
  socklen_t length = address(loopback, 0).to_sockaddr(&own);
  const UniqueFd socket(::socket(own.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto* name = reinterpret_cast<sockaddr*>(&own);
  if (::bind(socket.get(), name, length) != 0 || ::getsockname(socket.get(), name, &length) != 0)
    return errno;
  char byte = 'x';
  if (::sendto(socket.get(), &byte, 1, 0, name, length) != 1) return errno;
  return ::recvfrom(socket.get(), &byte, 1, 0, name, &length) == 1 ? 0 : errno;
}

// Three cgroups in a line: ours is attached to the one in the middle, the application is in the lowest.
class CoexistenceNode : public ScratchNode {
 protected:
  void SetUp() override {
    ScratchNode::SetUp();
    if (HasFatalFailure()) return;
    parent_ = cgroup_;
    cgroup_ = parent_ + "/mesh";
    child_ = cgroup_ + "/pod";
    ASSERT_EQ(mkdir(cgroup_.c_str(), 0700), 0);
    ASSERT_EQ(mkdir(child_.c_str(), 0700), 0);
  }
  void TearDown() override {
    dataplane_.reset();
    EXPECT_EQ(rmdir(child_.c_str()), 0);
    EXPECT_EQ(rmdir(cgroup_.c_str()), 0);
    cgroup_ = parent_;
    ScratchNode::TearDown();
  }
  void open_and_enroll() {
    open_dataplane();
    if (HasFatalFailure()) return;
    EnrolledNamespace enrolled = enroll_client();
    netns_cookie_ = enrolled.netns_cookie;
    // An agent that adopts gets none: they are in the proxy, which this test is.
    if (!enrolled.listeners.empty()) listeners_ = std::move(enrolled.listeners);
    ASSERT_FALSE(listeners_.empty());
  }
  // A connect of the application to a service is captured.
  void expect_captured(const char* vip) {
    const uint64_t before = stat(WEFT_STAT_CAPTURED);
    Dialer dialer(child_, netns_path(client_), {.target = address(vip, 80)});
    EXPECT_TRUE(accept_one(listeners_[0].get()).socket.valid()) << vip;
    const ConnectResult result = dialer.result();
    EXPECT_EQ(result.error, 0) << vip;
    EXPECT_EQ(result.peer, address(vip, 80));
    EXPECT_EQ(stat(WEFT_STAT_CAPTURED), before + 1);
  }
  void expect_datagrams() {
    for (const char* loopback : {"127.0.0.1", "::1"}) {
      Child talker(child_, netns_path(client_), [loopback](int) { return talk_to_itself(loopback); });
      EXPECT_EQ(talker.wait(), 0) << loopback;
    }
  }
  void expect_direct(const char* server) {
    const UniqueFd listener = listen_in(netns_path(server_), address(server, 8080));
    Dialer dialer(child_, netns_path(client_), {.target = address(server, 8080)});
    EXPECT_TRUE(accept_one(listener.get()).socket.valid()) << server;
    EXPECT_EQ(dialer.result().error, 0) << server;
  }
  std::vector<KernelCheck> rivals_at(const std::string& where) const {
    std::vector<KernelCheck> out;
    for (KernelCheck& check : check_rivals({.pin_root = pin_root(), .cgroup = cgroup_})) {
      EXPECT_EQ(check.id, "K-07");
      if (check.description.ends_with(" at " + where)) out.push_back(std::move(check));
    }
    return out;
  }

  std::string parent_;
  std::string child_;
  uint64_t netns_cookie_ = 0;
  std::vector<UniqueFd> listeners_;
};

struct Neighbour {
  const char* name;
  const char* where;  // below the parent
  bool first;         // attached before ours
  bool by_link;       // else as loaders without links do, with `multi`
};

class CoexistenceTest : public CoexistenceNode, public testing::WithParamInterface<Neighbour> {
 protected:
  void attach_neighbours() {
    for (const bpf_attach_type hook : kHooks) {
      ForeignProgram& program = neighbours_.emplace_back(hook, "foreign");
      const std::string at = parent_ + GetParam().where;
      ASSERT_NE(program.id(), 0u) << hook;
      ASSERT_TRUE(GetParam().by_link ? program.link_to(at) : program.attach_to(at, BPF_F_ALLOW_MULTI))
          << hook << ": " << strerror(errno);
    }
  }
  // While `traffic` runs every one of them does.
  template <typename Traffic>
  void expect_they_run(const char* when, Traffic traffic) {
    std::vector<uint64_t> before;
    for (const ForeignProgram& neighbour : neighbours_) before.push_back(neighbour.runs());
    traffic();
    for (size_t i = 0; i < neighbours_.size(); ++i)
      EXPECT_GT(neighbours_[i].runs(), before[i]) << when << ", attach type " << kHooks[i];
  }
  void expect_all_run(const char* when) {
    expect_they_run(when, [this] {
      expect_captured(kVipV4);
      expect_captured(kVipV6);
      expect_datagrams();
    });
  }

  std::vector<ForeignProgram> neighbours_;
};

TEST_P(CoexistenceTest, NeighboursRunBesideOursBesideItsSuccessorAndWhenItIsGone) {
  if (GetParam().first) {
    ASSERT_NO_FATAL_FAILURE(attach_neighbours());
  }
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  if (!GetParam().first) {
    ASSERT_NO_FATAL_FAILURE(attach_neighbours());
  }
  expect_all_run("attached");
  kill_dataplane();
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  for (const ProgramStatus& program : dataplane_->programs()) EXPECT_TRUE(program.attached) << program.name;
  expect_all_run("replaced");
  kill_dataplane();
  const auto removed = cleanup(pin_root(), {netns_path(client_)});
  ASSERT_TRUE(removed.ok()) << removed.status();
  expect_they_run("cleaned up", [this] {
    expect_direct(kServerV4);
    expect_direct(kServerV6);
    expect_datagrams();
  });
}

INSTANTIATE_TEST_SUITE_P(, CoexistenceTest,
                         testing::Values(Neighbour{"BeforeInTheParentByLink", "", true, true},
                                         Neighbour{"AfterInTheParentByLink", "", false, true},
                                         Neighbour{"BeforeInTheSameCgroupByLink", "/mesh", true, true},
                                         Neighbour{"AfterInTheSameCgroupByLink", "/mesh", false, true},
                                         Neighbour{"BeforeInTheChildByLink", "/mesh/pod", true, true},
                                         Neighbour{"AfterInTheChildByLink", "/mesh/pod", false, true},
                                         Neighbour{"BeforeInTheParent", "", true, false},
                                         Neighbour{"AfterInTheParent", "", false, false},
                                         Neighbour{"BeforeInTheSameCgroup", "/mesh", true, false},
                                         Neighbour{"AfterInTheSameCgroup", "/mesh", false, false},
                                         Neighbour{"BeforeInTheChild", "/mesh/pod", true, false},
                                         Neighbour{"AfterInTheChild", "/mesh/pod", false, false}),
                         [](const auto& neighbour) { return std::string(neighbour.param.name); });

using RivalTest = CoexistenceNode;

TEST_F(RivalTest, RefusalOfANeighbourStandsAndOursDoesToo) {
  ForeignProgram strict(BPF_CGROUP_INET4_CONNECT, "strict", ForeignProgram::Verdict::kRefuse);
  ForeignProgram lenient(BPF_CGROUP_INET6_CONNECT, "lenient");
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  ASSERT_TRUE(strict.link_to(parent_) && lenient.link_to(parent_));
  Dialer refused(child_, netns_path(client_), {.target = address(kVipV4, 80)});
  EXPECT_EQ(refused.result().error, EPERM);
  ServiceEntry empty{
      .key = {address(kVipV6, 80), IPPROTO_TCP}, .id = 21, .path = ServiceEntry::Path::kDirect};
  ASSERT_TRUE(dataplane_->apply({.services = {empty}}).ok());
  Dialer unreachable(child_, netns_path(client_), {.target = address(kVipV6, 80)});
  EXPECT_NE(unreachable.result().error, 0);
  EXPECT_EQ(stat(WEFT_STAT_NO_BACKEND), 1u);
  EXPECT_EQ(lenient.runs(), 1u);
}

TEST_F(RivalTest, CleanupLeavesWhatOthersPinnedThoughItIsCalledLikeOurs) {
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  ForeignProgram connect(BPF_CGROUP_INET4_CONNECT, "mesh_connect4");
  ForeignProgram lookup(BPF_SK_LOOKUP, "mesh_lookup");
  ASSERT_TRUE(connect.link_to(cgroup_)) << strerror(errno);
  ASSERT_TRUE(lookup.link_to(netns_path(client_))) << strerror(errno);
  const std::string theirs = bpffs_ + "/theirs";
  ASSERT_EQ(mkdir(theirs.c_str(), 0700), 0);
  ASSERT_TRUE(connect.pin_link(theirs + "/mesh_connect4"));
  ASSERT_TRUE(lookup.pin_link(theirs + "/mesh_lookup"));
  kill_dataplane();
  const auto removed = cleanup(pin_root(), {netns_path(client_)});
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_FALSE(std::filesystem::exists(pin_root()));
  for (const char* pin : {"/mesh_connect4", "/mesh_lookup"})
    EXPECT_TRUE(std::filesystem::exists(theirs + pin));
  const std::vector<KernelCheck> left = rivals_at(cgroup_);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_THAT(left[0].description, HasSubstr(str_cat("mesh_connect4 (id ", connect.id(), ")")));
  const uint64_t connects = connect.runs();
  expect_direct(kServerV4);
  EXPECT_GT(connect.runs(), connects);
  // Their lookup program does not make the namespace another installation's: our rule and route are gone.
  EXPECT_EQ(ip(client_, "rule show priority 5700"), "");
  std::filesystem::remove_all(theirs);
}

TEST_F(RivalTest, NeighbourIsNamedWithItsHookItsCgroupAndWhatItMeans) {
  ForeignProgram above(BPF_CGROUP_INET4_CONNECT, "cil_sock4_connect");
  ForeignProgram beside(BPF_CGROUP_SOCK_OPS, "observer");
  ForeignProgram below(BPF_CGROUP_INET6_CONNECT, "below");
  ASSERT_TRUE(above.link_to(parent_) && beside.link_to(cgroup_) && below.link_to(child_));
  for (const bool ours_attached : {false, true}) {
    if (ours_attached) {
      ASSERT_NO_FATAL_FAILURE(open_and_enroll());
    }
    const std::vector<KernelCheck> cilium = rivals_at(parent_);
    ASSERT_EQ(cilium.size(), 1u);
    EXPECT_EQ(cilium[0].description,
              str_cat("cgroup/connect4: cil_sock4_conne (id ", above.id(), ", Cilium) at ", parent_));
    EXPECT_EQ(cilium[0].result, KernelCheck::Result::kWarning);
    EXPECT_THAT(cilium[0].error, HasSubstr("both run on every connect"));
    EXPECT_THAT(cilium[0].hint, HasSubstr("socketLB.hostNamespaceOnly=true"));
    const std::vector<KernelCheck> observer = rivals_at(cgroup_);
    ASSERT_EQ(observer.size(), 1u) << "ours are not rivals";
    EXPECT_EQ(observer[0].description, str_cat("sockops: observer (id ", beside.id(), ") at ", cgroup_));
    EXPECT_THAT(observer[0].hint, HasSubstr(str_cat("bpftool prog show id ", beside.id())));
    EXPECT_THAT(rivals_at(child_), IsEmpty()) << "what is below runs beside ours anyway";
  }
}

TEST_F(RivalTest, WhereNothingCanBeSeenTheCheckSaysSoAndDoesNotClaimThatNobodyIsThere) {
  const std::vector<KernelCheck> checks = check_rivals({.pin_root = pin_root(), .cgroup = "/proc"});
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].result, KernelCheck::Result::kWarning);
  EXPECT_THAT(checks[0].error, HasSubstr("'/proc' is not a cgroup2 directory"));
}

TEST_F(RivalTest, LookupProgramOfAnEnrolledNamespaceIsNamed) {
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  ForeignProgram lookup(BPF_SK_LOOKUP, "redirector");
  ASSERT_TRUE(lookup.link_to(netns_path(client_)));
  const std::string path = netns_path(client_);
  std::vector<Rival> found;
  for (Rival& rival :
       dataplane_->rivals({{.name = "shop/web", .path = path}, {.name = "gone", .path = "/gone"}})) {
    if (rival.hook == "sk_lookup") found.push_back(std::move(rival));
  }
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].program, "redirector");
  EXPECT_EQ(found[0].id, lookup.id());
  EXPECT_EQ(found[0].where, str_cat("shop/web (", path, ")"));
  EXPECT_EQ(found[0].effect, Rival::Effect::kShares);
  EXPECT_THAT(found[0].meaning, HasSubstr("the last one that chooses wins"));
}

struct Obstacle {
  const char* name;
  const char* where;
  uint32_t flags;
};

class ObstacleTest : public CoexistenceNode, public testing::WithParamInterface<Obstacle> {};

TEST_P(ObstacleTest, AttachmentThatTakesNoOtherIsNamedBeforeAnythingChanges) {
  const std::string where = parent_ + GetParam().where;
  ForeignProgram obstacle(BPF_CGROUP_INET4_CONNECT, "firewall");
  ASSERT_TRUE(obstacle.attach_to(where, GetParam().flags)) << strerror(errno);
  const std::vector<KernelCheck> checks = rivals_at(where);
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].result, KernelCheck::Result::kError);
  EXPECT_EQ(checks[0].description, str_cat("cgroup/connect4: firewall (id ", obstacle.id(), ") at ", where));
  EXPECT_THAT(checks[0].error, HasSubstr("without `multi`"));
  EXPECT_THAT(checks[0].hint, AllOf(HasSubstr("attach it again with `multi`"), HasSubstr("--cgroup")));
  const auto opened = Dataplane::open({.pin_root = pin_root(), .cgroup = cgroup_});
  ASSERT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr(checks[0].description));
  // It goes on, and nothing of ours is there.
  const uint64_t before = obstacle.runs();
  expect_direct(kServerV4);
  EXPECT_GT(obstacle.runs(), before);
}

INSTANTIATE_TEST_SUITE_P(, ObstacleTest,
                         testing::Values(Obstacle{"ExclusiveInTheSameCgroup", "/mesh", 0},
                                         Obstacle{"OverridableInTheSameCgroup", "/mesh",
                                                  BPF_F_ALLOW_OVERRIDE},
                                         Obstacle{"ExclusiveInTheParent", "", 0},
                                         Obstacle{"OverridableInTheParent", "", BPF_F_ALLOW_OVERRIDE}),
                         [](const auto& obstacle) { return std::string(obstacle.param.name); });

TEST_F(RivalTest, OneThatOursSilencesIsAnErrorOfTheCheckAndNoneOfTheNextAgent) {
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  ForeignProgram late(BPF_CGROUP_INET4_CONNECT, "late");
  ASSERT_TRUE(late.attach_to(parent_, BPF_F_ALLOW_OVERRIDE)) << strerror(errno);
  const std::vector<KernelCheck> checks = rivals_at(parent_);
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].result, KernelCheck::Result::kError);
  EXPECT_THAT(checks[0].error, HasSubstr("it does not run below, where Weft is attached"));
  kill_dataplane();
  ASSERT_NO_FATAL_FAILURE(open_and_enroll());
  expect_captured(kVipV4);
}

}  // namespace
}  // namespace weft::agent
