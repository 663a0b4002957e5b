// Enrolment as a diff: manifest pods and CLI pods, pending pods and their retries, adoption after restarts.
#include "agent/pods/pod_table.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/agent/fake_dataplane.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PodTableTest : public ::testing::Test {
 protected:
  PodTableTest()
      : table_(
            dataplane_, feed_, [this](const std::string& path) { return probe(path); },
            PodTable::Callbacks{
                [](const std::string&) { return 7u; },
                [](const std::string& ns, const std::string& name) { return ns + "." + name; }}) {}

  absl::StatusOr<NetnsIdentity> probe(const std::string& path) {
    if (!paths_.contains(path)) return absl::NotFoundError("no such file");
    return NetnsIdentity{1, paths_[path]};
  }
  static control_plane::LocalPod pod(const char* name, const char* path) {
    return {.uid = std::string("uid-") + name,
            .ns = "shop",
            .name = name,
            .netns_path = path,
            .wants_capture = true};
  }

  FakeDataplane dataplane_;
  FakeFeed feed_;
  std::map<std::string, uint64_t> paths_;
  PodTable table_;
  MonotonicNs now_ = kNsPerSecond;
};

TEST_F(PodTableTest, ManifestPodIsCapturedWithItsExclusionsAndAnnounced) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  web.exclude_ports = {22};
  web.exclude_cidrs = {"10.0.0.0/8", "rubbish"};
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_EQ(table_.captured(), 1u);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web"));
  EXPECT_EQ(dataplane_.plans["/ns/web"].workload_id, 7u);
  EXPECT_THAT(dataplane_.plans["/ns/web"].exclude_ports, ElementsAre(22));
  ASSERT_EQ(dataplane_.plans["/ns/web"].exclude_cidrs.size(), 1u);
  EXPECT_EQ(dataplane_.plans["/ns/web"].exclude_cidrs[0].prefix_length, 8u);
}

TEST_F(PodTableTest, WhetherItMayReachDeclaredDestinationsOnlyIsAnnouncedAndAnnouncedAgain) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  web.confined = true;
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web confined"));
  table_.set_manifest({web});
  web.confined = false;
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web confined", "add uid-web"));
}

TEST_F(PodTableTest, AProxyThatHoldsAPodWithOtherRightsGetsItAnew) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  web.confined = true;
  table_.set_manifest({web});
  table_.reconcile(now_);
  const uint64_t cookie = table_.find("shop/web")->netns_cookie;
  const auto held = [cookie](bool confined) {
    auto fds = std::make_shared<NamespaceFds>();
    fds->listeners.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    std::vector<HeldNamespace> out;
    out.push_back({.netns_cookie = cookie, .workload_uid = "uid-web", .fds = fds, .confined = confined});
    return out;
  };
  feed_.log.clear();
  table_.proxy_ready(1, held(true));
  EXPECT_THAT(feed_.log, ElementsAre("keep " + std::to_string(cookie), "end"));
  feed_.log.clear();
  table_.proxy_ready(2, held(false));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web confined", "end"));
}

TEST_F(PodTableTest, PodThatLeavesTheManifestIsReleasedInTheKernelFirst) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  table_.set_manifest({});
  table_.reconcile(now_);
  EXPECT_THAT(dataplane_.calls, ElementsAre("enroll /ns/web", "stop 101", "unenroll /ns/web"));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web", "remove 101"));
  EXPECT_THAT(table_.pods(), IsEmpty());
}

TEST_F(PodTableTest, ReleaseWaitsForTheLastCapturedConnection) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.captured_counts = {{101, 2}};
  table_.set_manifest({});
  table_.reconcile(now_);
  EXPECT_THAT(table_.pods(), IsEmpty());
  EXPECT_TRUE(table_.is_leaving("/ns/web"));
  EXPECT_EQ(table_.captured_namespaces().size(), 1u) << "a new agent must know what is left to remove";
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web"));
  dataplane_.captured_counts.clear();
  now_ = table_.next_deadline(now_);
  table_.reconcile(now_);
  EXPECT_THAT(dataplane_.calls, ElementsAre("enroll /ns/web", "stop 101", "unenroll /ns/web"));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web", "remove 101"));
  EXPECT_FALSE(table_.is_leaving("/ns/web"));
}

TEST_F(PodTableTest, PodThatComesBackWhileItsConnectionsAreOpenIsCapturedAgain) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.captured_counts = {{101, 1}};
  table_.set_manifest({});
  table_.reconcile(now_);
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.captured_counts.clear();
  now_ += 10 * kNsPerSecond;
  table_.reconcile(now_);
  EXPECT_EQ(table_.captured(), 1u);
  EXPECT_FALSE(table_.is_leaving("/ns/web"));
  EXPECT_THAT(dataplane_.calls, ElementsAre("enroll /ns/web", "stop 101", "enroll /ns/web"));
}

TEST_F(PodTableTest, WhatIsNotCapturedOfACapturedPodIsSaidAndLookedAtSoon) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.health.missing = "IPv6 is not captured";
  now_ = table_.next_deadline(now_);
  table_.reconcile(now_);
  EXPECT_EQ(table_.find("shop/web")->problem, "IPv6 is not captured");
  EXPECT_LT(table_.next_deadline(now_), now_ + kNsPerSecond);
  dataplane_.health.missing.clear();
  now_ = table_.next_deadline(now_);
  table_.reconcile(now_);
  EXPECT_EQ(table_.find("shop/web")->problem, "");
}

TEST_F(PodTableTest, ListenersThatVanishAreOpenedAgainAndAnnounced) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.without_listener = {101};
  now_ = table_.next_deadline(now_);
  table_.reconcile(now_);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web", "add uid-web"));
}

TEST_F(PodTableTest, MissingNamespaceIsPendingWithAReasonAndCapturedWhenItAppears) {
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  EXPECT_THAT(table_.find("shop/web")->reason, HasSubstr("/ns/web"));
  EXPECT_THAT(dataplane_.calls, IsEmpty());
  const MonotonicNs next = table_.next_deadline(now_);
  EXPECT_EQ(next, now_ + 100 * kNsPerMs);
  paths_["/ns/web"] = 1;
  table_.reconcile(next - 1);
  EXPECT_EQ(table_.captured(), 0u);
  table_.reconcile(next);
  EXPECT_EQ(table_.captured(), 1u);
}

TEST_F(PodTableTest, RetriesBackOffToFiveSeconds) {
  dataplane_.fail_enroll = "broken";
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  MonotonicNs last = 0;
  for (int i = 0; i < 10; ++i) {
    table_.reconcile(now_);
    last = table_.next_deadline(now_) - now_;
    now_ += last;
  }
  EXPECT_EQ(last, 5 * kNsPerSecond);
  EXPECT_EQ(table_.find("shop/web")->reason, "broken");
  EXPECT_EQ(dataplane_.calls.size(), 10u);
}

TEST_F(PodTableTest, PodWithoutPathWaitsUntilTheCliNamesIt) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "")});
  table_.reconcile(now_);
  EXPECT_THAT(table_.find("shop/web")->reason, HasSubstr("weft enroll shop/web --netns"));
  table_.set_enrollments({{"shop", "web", "/ns/web"}});
  table_.reconcile(now_);
  EXPECT_EQ(table_.captured(), 1u);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web"));
}

TEST_F(PodTableTest, ReplacedNamespaceIsCapturedAnew) {
  paths_["/ns/web"] = 1;
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  paths_["/ns/web"] = 2;
  dataplane_.cookies["/ns/web"] = 555;
  table_.reconcile(now_ + 2 * kNsPerSecond);
  EXPECT_THAT(dataplane_.calls,
              ElementsAre("enroll /ns/web", "stop 101", "unenroll /ns/web", "enroll /ns/web"));
  EXPECT_EQ(table_.captured(), 1u);
}

TEST_F(PodTableTest, TwoNamesForOneNamespaceAreRefused) {
  paths_["/ns/web"] = 1;
  paths_["/proc/1/ns/net"] = 1;
  table_.set_enrollments({{"a", "one", "/ns/web"}, {"a", "two", "/proc/1/ns/net"}});
  table_.reconcile(now_);
  EXPECT_EQ(table_.captured(), 1u);
  EXPECT_THAT(table_.find("a/two")->reason, HasSubstr("already captured as a/one"));
}

TEST_F(PodTableTest, ChangedExclusionsReachTheKernelWithoutDisturbingTheProxy) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  table_.set_manifest({web});
  table_.reconcile(now_);
  web.exclude_ports = {5432};
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_THAT(dataplane_.plans["/ns/web"].exclude_ports, ElementsAre(5432));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web"));
}

TEST_F(PodTableTest, APodThatTakesTunnelsFailsClosedUnlessItSaysOtherwise) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].fail_closed);
  table_.set_tunnels(web.uid, true, false);
  table_.reconcile(now_);
  EXPECT_TRUE(dataplane_.plans["/ns/web"].tunnels);
  EXPECT_TRUE(dataplane_.plans["/ns/web"].fail_closed);
  web.fail_mode = control_plane::LocalPod::FailMode::kOpen;
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].fail_closed);
}

TEST_F(PodTableTest, APodThatAsksForTheShortcutIsEnrolledAgainForIt) {
  paths_["/ns/web"] = 1;
  control_plane::LocalPod web = pod("web", "/ns/web");
  for (const bool asks : {false, true, false}) {
    web.shortcut = asks;
    table_.set_manifest({web});
    table_.reconcile(now_);
    EXPECT_EQ(dataplane_.plans["/ns/web"].shortcut, asks);
  }
}

TEST_F(PodTableTest, APodThatSpeaksHboneItselfKeepsItsPort) {
  paths_["/ns/web"] = 1;
  const control_plane::LocalPod web = pod("web", "/ns/web");
  table_.set_manifest({web});
  table_.set_tunnels(web.uid, true, true);
  table_.reconcile(now_);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].tunnels);
  EXPECT_TRUE(dataplane_.plans["/ns/web"].native_tunnel);
  table_.set_tunnels(web.uid, true, false);
  table_.reconcile(now_);
  EXPECT_TRUE(dataplane_.plans["/ns/web"].tunnels);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].native_tunnel);
}

TEST_F(PodTableTest, APodWhosePlainConnectionsAreJudgedIsEnrolledAgainForIt) {
  paths_["/ns/web"] = 1;
  const control_plane::LocalPod web = pod("web", "/ns/web");
  table_.set_manifest({web});
  table_.reconcile(now_);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].inspected);
  table_.set_inspected(web.uid, true);
  table_.reconcile(now_);
  EXPECT_TRUE(dataplane_.plans["/ns/web"].inspected);
  table_.set_inspected(web.uid, false);
  table_.reconcile(now_);
  EXPECT_FALSE(dataplane_.plans["/ns/web"].inspected);
}

TEST_F(PodTableTest, HeldListenersAreAdoptedAndKeptAfterAnAgentRestart) {
  paths_["/ns/web"] = 1;
  paths_["/ns/db"] = 2;
  dataplane_.cookies = {{"/ns/web", 11}, {"/ns/db", 12}};
  dataplane_.held_by_proxy = {11, 12};
  table_.set_manifest({pod("web", "/ns/web"), pod("db", "/ns/db")});
  table_.reconcile(now_);
  EXPECT_THAT(feed_.log, IsEmpty());
  dataplane_.held_by_proxy = {11};
  std::vector<HeldNamespace> held(2);
  for (HeldNamespace& h : held) {
    h.fds = std::make_shared<NamespaceFds>();
    h.fds->listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
  }
  held[0].netns_cookie = 11;
  held[0].workload_uid = "uid-web";
  held[1].netns_cookie = 999;
  table_.proxy_ready(1, std::move(held));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-db", "keep 11", "end"));
  EXPECT_THAT(dataplane_.calls, Contains("adopt 11 x1"));
  EXPECT_EQ(table_.find("shop/web")->fds->listeners.size(), 1u);
}

TEST_F(PodTableTest, ListenersHeldUnderAFormerNameAreAnnouncedUnderTheNewOne) {
  paths_["/ns/web"] = 1;
  dataplane_.cookies = {{"/ns/web", 11}};
  dataplane_.held_by_proxy = {11};
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  std::vector<HeldNamespace> held(1);
  held[0].fds = std::make_shared<NamespaceFds>();
  held[0].fds->listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
  held[0].netns_cookie = 11;
  held[0].workload_uid = "uid-former";
  table_.proxy_ready(1, std::move(held));
  EXPECT_THAT(dataplane_.calls, Contains("adopt 11 x1"));
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web", "end"));
}

TEST_F(PodTableTest, ListenersThatDiedWithTheProxyAreMadeAgain) {
  paths_["/ns/web"] = 1;
  dataplane_.cookies = {{"/ns/web", 11}};
  dataplane_.held_by_proxy = {11};
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  dataplane_.held_by_proxy.clear();
  dataplane_.without_listener = {11};
  table_.proxy_gone();
  EXPECT_EQ(table_.find("shop/web")->fds->listeners.size(), 1u);
}

TEST_F(PodTableTest, ListenersThatOnlyAProxyWhoNeverCameBackHeldAreMadeAgainSoon) {
  paths_["/ns/web"] = 1;
  dataplane_.cookies = {{"/ns/web", 11}};
  dataplane_.held_by_proxy = {11};
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  const MonotonicNs next = table_.next_deadline(now_);
  EXPECT_LE(next, now_ + 200 * kNsPerMs);
  dataplane_.held_by_proxy.clear();
  dataplane_.without_listener = {11};
  table_.reconcile(next);
  EXPECT_EQ(table_.find("shop/web")->fds->listeners.size(), 1u);
  EXPECT_THAT(feed_.log, ElementsAre("add uid-web"));
  EXPECT_GT(table_.next_deadline(next), next + 200 * kNsPerMs) << "held twice again: no hurry";
}

TEST_F(PodTableTest, LeftoversOfAnEarlierAgentAreReleasedUnlessWanted) {
  paths_["/ns/web"] = 1;
  dataplane_.cookies = {{"/ns/web", 11}};
  table_.set_manifest({pod("web", "/ns/web")});
  table_.reconcile(now_);
  table_.release_leftovers({{11, "/ns/web"}, {12, "/ns/old"}}, now_);
  EXPECT_THAT(dataplane_.calls, ElementsAre("enroll /ns/web", "stop 12", "unenroll /ns/old"));
}

TEST(EnrollmentStoreTest, WhatWasSavedIsLoadedAndRubbishIsRefusedWithTheNextStep) {
  const test::ScratchFolder folder;
  const EnrollmentStore store(folder.file("enrollments.json"));
  EXPECT_EQ(*store.load(), StoredPods{});
  const StoredPods pods{{{"shop", "web", "/run/netns/web"}}, {{11, "/run/netns/web"}}};
  ASSERT_TRUE(store.save(pods).ok());
  EXPECT_EQ(*store.load(), pods);
  EXPECT_FALSE(std::filesystem::exists(folder.file(".enrollments.json.new")));
  std::ofstream(folder.file("enrollments.json")) << "{ broken";
  EXPECT_THAT(std::string(store.load().status().message()), HasSubstr("next: "));
}

}  // namespace
}  // namespace weft::agent
