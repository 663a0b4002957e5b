// A whole agent that finds its pods by their cgroups: as they start, restart and end, and when it comes late.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/unit/agent/agent_world.h"
#include "tests/unit/agent/fake_node.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kPodA = std::string("/kubepods/burstable/pod") + kUidA;

class FoundPodsTest : public AgentWorld {
 protected:
  void SetUp() override {
    find_pods_ = node_.options();
    probe_ = FakeNode::probe;
    node_.add_group("/kubepods");
    first_.generation = 1;
  }
  static control_plane::LocalPod pod(bool wanted = true) {
    return {.uid = "Kubernetes//Pod/shop/web",
            .ns = "shop",
            .name = "web",
            .kubelet_uid = kUidA,
            .wants_capture = wanted};
  }
  void apply(std::vector<control_plane::LocalPod> pods) {
    control_plane::Change change;
    change.generation = ++generation_;
    change.local_pods = std::move(pods);
    subscriber_(change);
  }
  int enrolments() {
    int out = 0;
    for (const std::string& line : journal_.all()) out += line.starts_with("enroll ") ? 1 : 0;
    return out;
  }

  static uint64_t ticks_now() { return boottime_now() / (10 * kNsPerMs) + 1; }
  std::string capture_row() {
    grpc::ClientContext context;
    admin::v1::CheckReport report;
    EXPECT_TRUE(stub_->Check(&context, {}, &report).ok());
    for (const auto& check : report.checks()) {
      if (check.id() == "C-01") return check.error();
    }
    return "no row C-01";
  }

  FakeNode node_;
  uint64_t generation_ = 1;
};

TEST_F(FoundPodsTest, APodIsCapturedWhenItsSandboxStarts) {
  start();
  apply({pod()});
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", ticks_now());
  EXPECT_TRUE(journal_.wait_for("enroll " + node_.proc_netns(42)));
  EXPECT_EQ(status().pods_captured(), 1u);
  grpc::ClientContext context;
  admin::v1::CheckReport report;
  ASSERT_TRUE(stub_->Check(&context, {}, &report).ok());
  EXPECT_THAT(report.DebugString(), HasSubstr("by their cgroup: 1, "));
}

TEST_F(FoundPodsTest, InitContainersThatComeAndGoChangeNothing) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  start();
  EXPECT_EQ(status().pods_captured(), 1u) << "found before start() returned";
  node_.start(43, kPodA, "init", "pod", 600);
  node_.end(43);
  node_.start(44, kPodA, "app", "pod", 700);
  // The watch tells in order: when the next sandbox is known, whatever was before is too.
  node_.end(44);
  node_.end(42);
  node_.start(77, kPodA, "pause2", "second", 900);
  EXPECT_TRUE(journal_.wait_for("enroll " + node_.proc_netns(77)));
  EXPECT_EQ(enrolments(), 2);
}

TEST_F(FoundPodsTest, ASandboxThatRestartsIsReleasedAndTheNewOneCaptured) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "first", 500);
  start();
  node_.end(42);
  EXPECT_TRUE(journal_.wait_for("unenroll " + node_.proc_netns(42)));
  node_.start(77, kPodA, "pause2", "second", 900);
  EXPECT_TRUE(journal_.wait_for("enroll " + node_.proc_netns(77)));
  EXPECT_EQ(status().pods_captured(), 1u);
}

TEST_F(FoundPodsTest, APodThatStartedWhileNoAgentRanIsCapturedBeforeTheProxyIsServed) {
  start();
  agent_.reset();
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", ticks_now());
  first_.local_pods = {pod()};
  start();
  EXPECT_EQ(status().pods_captured(), 1u);
}

TEST_F(FoundPodsTest, ARestartedAgentGoesOnWithItsPodsAndReleasesNone) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  start();
  agent_.reset();
  start();
  EXPECT_EQ(status().pods_captured(), 1u);
  EXPECT_THAT(journal_.all(), Not(Contains("unenroll " + node_.proc_netns(42))));
}

TEST_F(FoundPodsTest, APodThatEndedWhileNoAgentRanIsReleased) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  start();
  agent_.reset();
  first_.local_pods.clear();
  start();
  EXPECT_EQ(status().pods_captured(), 0u);
  EXPECT_THAT(journal_.all(), Contains("unenroll " + node_.proc_netns(42)));
}

TEST_F(FoundPodsTest, AJobThatEndedIsReleased) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  start();
  apply({});
  EXPECT_TRUE(journal_.wait_for("unenroll " + node_.proc_netns(42)));
  EXPECT_EQ(status().pods_eligible(), 0u);
}

TEST_F(FoundPodsTest, TheNodesOwnNamespaceIsNeverCaptured) {
  first_.local_pods = {pod()};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "app", "host", 500);
  start();
  EXPECT_THAT(capture_row(), HasSubstr("shop/web: its processes are in the node's network namespace"));
  EXPECT_EQ(enrolments(), 0);
}

TEST_F(FoundPodsTest, APodThatEntersTheMeshLaterIsFoundThen) {
  first_.local_pods = {pod(false)};
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", ticks_now());
  start();
  EXPECT_EQ(enrolments(), 0);
  apply({pod()});
  EXPECT_TRUE(journal_.wait_for("enroll " + node_.proc_netns(42)));
}

// A pod whose start waits, of which the source says nothing: perhaps because the pod is what brings it back.
TEST(AdmissionTest, APodThatNobodyToldOfIsNeitherLetInNorRefused) {
  Journal journal;
  JournalDataplane dataplane(journal);
  FakeFeed feed;
  const test::ScratchFolder folder;
  Reconciler reconciler({.store_path = folder.file("enrollments.json"),
                         .node_name = "n1",
                         .pods_by_cgroup = true,
                         .admission_deadline = std::chrono::milliseconds(1)},
                        {.dataplane = dataplane,
                         .feed = feed,
                         .publish = [](const control_plane::Change&) {},
                         .probe = FakeNode::probe});
  ASSERT_TRUE(reconciler.start().ok());
  control_plane::Change change;
  change.generation = 1;
  reconciler.apply(change);
  std::promise<CniAnswer> answer;
  reconciler.admit(
      {.command = "ADD", .ns = "kube-system", .name = "etcd", .uid = kUidA, .netns = "/run/netns/1"},
      [&answer](CniAnswer said) { answer.set_value(std::move(said)); });
  std::future<CniAnswer> said = answer.get_future();
  const bool came = said.wait_for(std::chrono::seconds(30)) == std::future_status::ready;
  reconciler.stop();
  ASSERT_TRUE(came);
  const CniAnswer verdict = said.get();
  EXPECT_EQ(verdict.verdict, CniAnswer::Verdict::kUnknown);
  EXPECT_THAT(verdict.error, HasSubstr("has not told of it"));
}

// containerd names namespaces by the node's link, which is not in the agent's image.
TEST(AdmissionTest, ANamespaceInVarRunIsFoundInRun) {
  Journal journal;
  JournalDataplane dataplane(journal);
  FakeFeed feed;
  const test::ScratchFolder folder;
  Reconciler reconciler(
      {.store_path = folder.file("enrollments.json"), .node_name = "n1", .pods_by_cgroup = true},
      {.dataplane = dataplane,
       .feed = feed,
       .publish = [](const control_plane::Change&) {},
       .probe = [](const std::string& path) -> absl::StatusOr<NetnsIdentity> {
         if (path == "/run/netns/cni-1") return NetnsIdentity{1, 2};
         return absl::NotFoundError(path);
       }});
  ASSERT_TRUE(reconciler.start().ok());
  control_plane::Change change;
  change.generation = 1;
  change.local_pods = {{.uid = "Kubernetes//Pod/shop/web",
                        .ns = "shop",
                        .name = "web",
                        .kubelet_uid = kUidA,
                        .wants_capture = true}};
  reconciler.apply(change);
  reconciler.admit(
      {.command = "ADD", .ns = "shop", .name = "web", .uid = kUidA, .netns = "/var/run/netns/cni-1"},
      [](CniAnswer) {});
  EXPECT_TRUE(journal.wait_for("enroll /run/netns/cni-1"));
  reconciler.stop();
}

}  // namespace
}  // namespace weft::agent
