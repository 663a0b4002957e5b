// Enrolment, its undoing, restart of the agent, cleanup: what is on the node before and after.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cerrno>
#include <filesystem>

#include "agent/dataplane/listener.h"
#include "agent/dataplane/netns.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

// sockops, and connect, getpeername, sendmsg and recvmsg of both families.
constexpr size_t kCgroupPrograms = 9;

class EnrollmentTest : public ScratchNode {
 protected:
  void SetUp() override {
    ScratchNode::SetUp();
    if (!HasFatalFailure()) open_dataplane();
  }

  // Rules and routes that carry our table, of both families, as ip(8) prints them; empty when there are none.
  std::string traces(const std::string& ns) const {
    const std::string table = str_cat(WEFT_ROUTE_TABLE);
    return ip(ns, "rule show table " + table) + ip(ns, "-6 rule show table " + table) +
           drop_missing_table(ip(ns, "route show table " + table)) +
           drop_missing_table(ip(ns, "-6 route show table " + table));
  }
  static std::string drop_missing_table(const std::string& text) {
    return text.find("FIB table does not exist") != std::string::npos ? "" : text;
  }
  std::vector<std::string> pinned() const {
    std::vector<std::string> paths;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(pin_root(), error))
      paths.push_back(entry.path());
    return paths;
  }
  static std::vector<UniqueFd> listeners_in(const std::string& ns) {
    std::vector<UniqueFd> out;
    const absl::StatusOr<UniqueFd> netns = open_netns(netns_path(ns));
    if (!netns.ok()) return out;
    EXPECT_TRUE(run_in_netns(netns->get(), [&out] {
                  absl::StatusOr<std::vector<UniqueFd>> opened = open_capture_listeners(1);
                  if (opened.ok()) out = *std::move(opened);
                  return opened.status();
                }).ok());
    return out;
  }
  void expect_capture_works(int listener) {
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV4, 80)});
    EXPECT_TRUE(accept_one(listener).socket.valid());
    EXPECT_EQ(dialer.result().error, 0);
  }
};

TEST_F(EnrollmentTest, EnrollingInstallsOneRuleAndOneRoutePerFamily) {
  const EnrolledNamespace enrolled = enroll_client();
  EXPECT_NE(enrolled.netns_cookie, 0u);
  EXPECT_FALSE(enrolled.steps.empty());
  EXPECT_NE(
      ip(client_, "route show table 5700").find("local default dev lo proto 157 scope host src 10.57.1.2"),
      std::string::npos)
      << ip(client_, "route show table 5700");
  EXPECT_NE(ip(client_, "-6 route show table 5700").find("local default dev lo proto 157 src fd57:1::2"),
            std::string::npos)
      << ip(client_, "-6 route show table 5700");
  EXPECT_NE(ip(client_, "rule").find("fwmark 0x570c/0xffff lookup 5700"), std::string::npos);
  EXPECT_NE(ip(client_, "-6 rule").find("fwmark 0x570c/0xffff lookup 5700"), std::string::npos);
}

TEST_F(EnrollmentTest, EnrollingTwiceChangesNothing) {
  const EnrolledNamespace first = enroll_client();
  const std::string before = traces(client_);
  const EnrolledNamespace second = enroll_client();
  EXPECT_EQ(second.netns_cookie, first.netns_cookie);
  EXPECT_EQ(second.slot, first.slot);
  ASSERT_EQ(second.listeners.size(), 1u);
  EXPECT_EQ(traces(client_), before);
  expect_capture_works(first.listeners[0].get());
}

TEST_F(EnrollmentTest, UnenrollingLeavesNothingInTheNamespaceAndCanBeRepeated) {
  const EnrolledNamespace enrolled = enroll_client();
  const size_t pins_enrolled = pinned().size();
  ASSERT_TRUE(dataplane_->unenroll(enrolled.netns_cookie, netns_path(client_)).ok());
  EXPECT_EQ(traces(client_), "");
  EXPECT_EQ(pinned().size(), pins_enrolled - 1);
  EXPECT_FALSE(dataplane_->has_listener(enrolled.netns_cookie));
  EXPECT_TRUE(dataplane_->unenroll(enrolled.netns_cookie, netns_path(client_)).ok());
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080)});
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(dialer.result().error, 0);
}

TEST_F(EnrollmentTest, OpenConnectionsGoOnWhenCaptureStopsUntilTheyClose) {
  const EnrolledNamespace enrolled = enroll_client();
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  Child client(cgroup_, netns_path(client_), [](int control) {
    sockaddr_storage storage{};
    const socklen_t length = address(kVipV4, 80).to_sockaddr(&storage);
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return 1;
    char command = 0;
    while (::read(control, &command, 1) == 1 && command == 's') write_all(socket.get(), "ping");
    return 0;
  });
  Accepted accepted = accept_one(enrolled.listeners[0].get());
  ASSERT_TRUE(accepted.socket.valid());
  ASSERT_TRUE(dataplane_->stop_capture(enrolled.netns_cookie).ok());
  EXPECT_EQ(*dataplane_->captured_connections(enrolled.netns_cookie, netns_path(client_)), 1u);
  std::array<char, 4> got{};
  for (int i = 0; i < 3; ++i) {
    write_all(client.control(), "s");
    ASSERT_EQ(::recv(accepted.socket.get(), got.data(), got.size(), MSG_WAITALL), 4);
  }
  Dialer direct(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080)});
  EXPECT_TRUE(accept_one(server.get()).socket.valid()) << "new connections must not be captured any more";
  EXPECT_EQ(direct.result().error, 0);
  write_all(client.control(), "q");
  EXPECT_EQ(client.wait(), 0);
  accepted.socket.reset();
  const Deadline deadline;
  const auto open = [&] {
    return *dataplane_->captured_connections(enrolled.netns_cookie, netns_path(client_));
  };
  while (open() > 0 && !deadline.passed()) {
  }
  EXPECT_EQ(open(), 0u);
  ASSERT_TRUE(dataplane_->unenroll(enrolled.netns_cookie, netns_path(client_)).ok());
  EXPECT_EQ(traces(client_), "");
}

TEST_F(EnrollmentTest, EnrollingAgainWhileConnectionsAreOpenKeepsTheSlot) {
  const EnrolledNamespace first = enroll_client();
  ASSERT_TRUE(dataplane_->stop_capture(first.netns_cookie).ok());
  auto server = dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_NE(server->slot, first.slot) << "the slot of a namespace that leaves is still in use";
  const EnrolledNamespace second = enroll_client();
  EXPECT_EQ(second.slot, first.slot);
  expect_capture_works(first.listeners[0].get());
}

TEST_F(EnrollmentTest, InspectionPutsBackWhatOthersTookAway) {
  const EnrolledNamespace enrolled = enroll_client();
  const std::string before = traces(client_);
  auto health = dataplane_->inspect(enrolled.netns_cookie, netns_path(client_));
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_TRUE(health->repaired.empty()) << health->repaired.front();
  ip(client_, str_cat("rule del priority ", WEFT_RULE_PRIORITY));
  ip(client_, str_cat("-6 route flush table ", WEFT_ROUTE_TABLE));
  ASSERT_NE(traces(client_), before);
  health = dataplane_->inspect(enrolled.netns_cookie, netns_path(client_));
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_EQ(health->repaired.size(), 2u);
  EXPECT_EQ(traces(client_), before);
}

TEST_F(EnrollmentTest, CaptureFollowsAnAddressThatChanges) {
  const EnrolledNamespace enrolled = enroll_client();
  ip(client_, "addr add 10.57.1.99/32 dev eth0");
  ip(client_, str_cat("addr del ", kClientV4, "/24 dev eth0"));
  ASSERT_TRUE(dataplane_->inspect(enrolled.netns_cookie, netns_path(client_)).ok());
  EXPECT_NE(traces(client_).find("src 10.57.1.99"), std::string::npos) << traces(client_);
  expect_capture_works(enrolled.listeners[0].get());
}

TEST_F(EnrollmentTest, AddressInDuplicateDetectionIsReportedAndCapturedWhenItIsUsable) {
  ip(client_, str_cat("-6 addr del ", kClientV6, "/64 dev eth0"));
  ip(client_, str_cat("-6 addr add ", kClientV6, "/64 dev eth0"));
  const EnrolledNamespace enrolled = enroll_client();
  auto health = dataplane_->inspect(enrolled.netns_cookie, netns_path(client_));
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_NE(health->missing.find("IPv6 is not captured"), std::string::npos) << health->missing;
  const Deadline deadline;
  while (!health->missing.empty() && !deadline.passed()) {
    health = dataplane_->inspect(enrolled.netns_cookie, netns_path(client_));
    ASSERT_TRUE(health.ok()) << health.status();
  }
  EXPECT_EQ(health->missing, "");
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV6, 80)});
  EXPECT_TRUE(accept_one(enrolled.listeners[0].get()).socket.valid());
  EXPECT_EQ(dialer.result().error, 0);
}

TEST_F(EnrollmentTest, UnenrollingANamespaceThatIsGoneIsFine) {
  EnrolledNamespace enrolled = enroll_client();
  ASSERT_TRUE(dataplane_->unenroll(enrolled.netns_cookie, "/run/netns/kernel-no-such").ok());
  EXPECT_FALSE(dataplane_->has_listener(enrolled.netns_cookie));
}

TEST_F(EnrollmentTest, TwoNamespacesHaveTheirOwnSlotsAndListeners) {
  const EnrolledNamespace client = enroll_client();
  auto server = dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_NE(server->slot, client.slot);
  Dialer dialer(cgroup_, netns_path(server_), {.target = address(kVipV4, 80)});
  EXPECT_TRUE(accept_one(server->listeners[0].get()).socket.valid());
  EXPECT_EQ(dialer.result().error, 0);
  expect_capture_works(client.listeners[0].get());
}

TEST_F(EnrollmentTest, SeveralListenersShareTheConnections) {
  open_dataplane(4);
  const EnrolledNamespace enrolled = enroll_client();
  ASSERT_EQ(enrolled.listeners.size(), 4u);
  std::vector<std::unique_ptr<Dialer>> dialers;
  for (int i = 0; i < 40; ++i) {
    const Dial dial{.target = address(kVipV4, 80)};
    dialers.push_back(std::make_unique<Dialer>(cgroup_, netns_path(client_), dial));
  }
  // Nothing is accepted yet, so every queue keeps what it got; clients wait for the end of the stream.
  unsigned used = 0;
  size_t total = 0;
  std::vector<pollfd> waiting;
  for (const UniqueFd& listener : enrolled.listeners)
    waiting.push_back({.fd = listener.get(), .events = POLLIN, .revents = 0});
  while (total < dialers.size() && poll(waiting.data(), waiting.size(), kTimeoutSeconds * 1000) > 0) {
    for (size_t i = 0; i < waiting.size(); ++i) {
      const UniqueFd accepted(accept4(waiting[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (!accepted.valid()) continue;
      used |= 1u << i;
      ++total;
    }
  }
  EXPECT_EQ(total, dialers.size());
  EXPECT_GT(std::popcount(used), 1);
}

TEST_F(EnrollmentTest, FailedEnrolmentIsUndone) {
  std::system(str_cat("ip -n ", client_, " addr flush dev eth0").c_str());
  const size_t pins_before = pinned().size();
  const auto enrolled = dataplane_->enroll(client_plan());
  EXPECT_EQ(enrolled.status().code(), absl::StatusCode::kFailedPrecondition) << enrolled.status();
  EXPECT_EQ(pinned().size(), pins_before);
  EXPECT_EQ(traces(client_), "");
  EXPECT_EQ(dataplane_->maps()[0].entries, 0u);
}

TEST_F(EnrollmentTest, LoopbackThatIsDownIsNamedInTheError) {
  std::system(str_cat("ip -n ", client_, " link set lo down").c_str());
  const auto enrolled = dataplane_->enroll(client_plan());
  ASSERT_FALSE(enrolled.ok());
  EXPECT_NE(enrolled.status().ToString().find("ip link set lo up"), std::string::npos) << enrolled.status();
}

TEST_F(EnrollmentTest, TrafficGoesOnWhileTheAgentIsDeadAndTheNextOneAdopts) {
  EnrolledNamespace enrolled = enroll_client();
  const int listener = enrolled.listeners[0].get();  // as the proxy holds it
  kill_dataplane();
  expect_capture_works(listener);
  open_dataplane();
  EXPECT_TRUE(dataplane_->has_listener(enrolled.netns_cookie));
  expect_capture_works(listener);
  EXPECT_EQ(stat(WEFT_STAT_CAPTURED), 2u) << "counters are kept";
  for (const ProgramStatus& program : dataplane_->programs()) EXPECT_TRUE(program.attached) << program.name;
  EXPECT_EQ(dataplane_->programs().size(), kCgroupPrograms + 1);
  const EnrolledNamespace again = enroll_client();
  EXPECT_EQ(again.slot, enrolled.slot);
  EXPECT_TRUE(again.listeners.empty()) << "they live in the proxy";
}

TEST_F(EnrollmentTest, ListenersHandedBackByAProxyOutliveIt) {
  EnrolledNamespace enrolled = enroll_client();
  kill_dataplane();
  open_dataplane();
  ASSERT_TRUE(dataplane_->adopt_listeners(enrolled.netns_cookie, std::move(enrolled.listeners)).ok());
  EXPECT_TRUE(dataplane_->has_listener(enrolled.netns_cookie));
  const EnrolledNamespace again = enroll_client();
  ASSERT_EQ(again.listeners.size(), 1u);
  expect_capture_works(again.listeners[0].get());
}

TEST_F(EnrollmentTest, ListenersHandedBackTakeTheSlotOfOneThatAnotherProxyStillHolds) {
  EnrolledNamespace enrolled = enroll_client();
  kill_dataplane();
  open_dataplane();
  std::vector<UniqueFd> handed_back = listeners_in(client_);
  ASSERT_EQ(handed_back.size(), 1u);
  const UniqueFd as_the_proxy_holds_it(fcntl(handed_back[0].get(), F_DUPFD_CLOEXEC, 0));
  ASSERT_TRUE(dataplane_->adopt_listeners(enrolled.netns_cookie, std::move(handed_back)).ok());
  enrolled.listeners.clear();  // the other proxy ends
  EXPECT_TRUE(dataplane_->has_listener(enrolled.netns_cookie));
  expect_capture_works(as_the_proxy_holds_it.get());
}

TEST_F(EnrollmentTest, SlotThatSomebodyEmptiedGetsTheSameListenerAgain) {
  const EnrolledNamespace enrolled = enroll_client();
  const int listener = enrolled.listeners[0].get();
  const UniqueFd slots(bpf_obj_get((pin_root() + "/maps/m_listener").c_str()));
  ASSERT_EQ(bpf_map_delete_elem(slots.get(), &enrolled.slot), 0);
  Dialer refused(cgroup_, netns_path(client_), {.target = address(kVipV4, 80)});
  EXPECT_EQ(refused.result().error, ECONNREFUSED);
  const auto health = dataplane_->inspect(enrolled.netns_cookie, netns_path(client_));
  ASSERT_TRUE(health.ok()) << health.status();
  ASSERT_EQ(health->repaired.size(), 1u);
  EXPECT_EQ(health->repaired[0], "put the capture listener into its slot again");
  expect_capture_works(listener);
  ASSERT_EQ(bpf_map_delete_elem(slots.get(), &enrolled.slot), 0);
  const EnrolledNamespace again = enroll_client();
  EXPECT_EQ(again.listeners.size(), 1u);
  expect_capture_works(listener);
}

TEST_F(EnrollmentTest, NamespaceThatDiedWhileTheAgentWasAwayIsDropped) {
  {
    const EnrolledNamespace enrolled = enroll_client();
  }
  kill_dataplane();
  std::system(str_cat("ip netns del ", client_, " && ip netns add ", client_).c_str());
  // The kernel tears a namespace down in the background and tells nobody: open until it is done.
  const Deadline deadline;
  do {
    open_dataplane();
  } while (dataplane_->maps()[0].entries != 0 && !deadline.passed());
  EXPECT_EQ(dataplane_->maps()[0].entries, 0u);
  EXPECT_EQ(dataplane_->programs().size(), kCgroupPrograms);
}

TEST_F(EnrollmentTest, CleanupLeavesNothingAndCanBeRepeated) {
  enroll_client();
  kill_dataplane();
  const auto removed = cleanup(pin_root(), {netns_path(client_)});
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_GE(removed->size(), 4u + 9u + 4u) << "links, maps, rules and routes";
  EXPECT_FALSE(std::filesystem::exists(pin_root()));
  EXPECT_EQ(traces(client_), "");
  const auto again = cleanup(pin_root(), {netns_path(client_)});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->empty()) << again->front();
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kServerV4, 8080)});
  EXPECT_TRUE(accept_one(server.get()).socket.valid());
  EXPECT_EQ(dialer.result().error, 0);
}

TEST_F(EnrollmentTest, CleanupLeavesAnotherInstallationAlone) {
  const EnrolledNamespace enrolled = enroll_client();
  const auto removed = cleanup(bpffs_ + "/other", {});
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_NE(traces(client_), "");
  expect_capture_works(enrolled.listeners[0].get());
}

TEST_F(EnrollmentTest, PinnedMapOfAnotherShapeIsAnErrorThatNamesTheRemedy) {
  kill_dataplane();
  std::filesystem::remove(pin_root() + "/maps/m_proxy");
  ASSERT_EQ(std::system(str_cat("bpftool map create ", pin_root(),
                                "/maps/m_proxy type array key 4 value 4 entries 1 name m_proxy")
                            .c_str()),
            0);
  const auto opened = Dataplane::open({.pin_root = pin_root(), .cgroup = cgroup_});
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.status().ToString().find("weft-agent cleanup"), std::string::npos) << opened.status();
}

TEST_F(EnrollmentTest, EveryKernelCheckSucceedsWhereTheseTestsRun) {
  for (const KernelCheck& check : check_kernel({.pin_root = pin_root(), .cgroup = cgroup_})) {
    EXPECT_NE(check.result, KernelCheck::Result::kError)
        << check.id << " " << check.description << ": " << check.error;
  }
}

}  // namespace
}  // namespace weft::agent
