// Where pods are: what was found and what a CNI plugin told, joined with manifests; and what is counted of
// their starts.
#include "agent/pods/pod_sandboxes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/fake_dataplane.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;

class PodSandboxesTest : public ::testing::Test {
 protected:
  PodSandboxesTest()
      : probe_([this](const std::string& path) -> absl::StatusOr<NetnsIdentity> {
          if (!paths_.contains(path)) return absl::NotFoundError("no such file");
          return NetnsIdentity{1, paths_.at(path)};
        }),
        sandboxes_(true, probe_, kAgentStart),
        table_(dataplane_, feed_, probe_,
               PodTable::Callbacks{
                   [](const std::string&) { return 7u; },
                   [](const std::string& ns, const std::string& name) { return ns + "." + name; },
                   [this](const std::string& uid) { return sandboxes_.why_unknown(uid); }}) {}

  static control_plane::LocalPod pod(const char* name, bool wanted = true) {
    return {.uid = std::string("workload-") + name,
            .ns = "shop",
            .name = name,
            .kubelet_uid = std::string("uid-") + name,
            .netns_path = "/annotated",
            .wants_capture = wanted};
  }
  Sandbox sandbox(const char* path, uint64_t inode, MonotonicNs started) {
    paths_[path] = inode;
    return {.netns_path = path, .identity = {1, inode}, .started = started};
  }
  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& one : sandboxes_.located()) out.push_back(one.netns_path);
    return out;
  }
  void capture(MonotonicNs now) {
    table_.set_manifest(sandboxes_.located());
    table_.reconcile(now_ += 10 * kNsPerSecond);
    sandboxes_.count_starts(table_, now);
  }

  static constexpr MonotonicNs kAgentStart = 100 * kNsPerSecond;
  std::map<std::string, uint64_t> paths_;
  NetnsProbe probe_;
  FakeDataplane dataplane_;
  FakeFeed feed_;
  PodSandboxes sandboxes_;
  PodTable table_;
  MonotonicNs now_ = kNsPerSecond;
};

TEST_F(PodSandboxesTest, WhoAnnotatesAPodDoesNotChooseItsNamespace) {
  sandboxes_.set_pods({pod("web")});
  EXPECT_THAT(paths(), ElementsAre(""));
  ASSERT_TRUE(sandboxes_.found("uid-web", sandbox("/ns/web", 5, 0)));
  EXPECT_THAT(paths(), ElementsAre("/ns/web"));
  PodSandboxes by_annotation(false, probe_, kAgentStart);
  by_annotation.set_pods({pod("web")});
  EXPECT_EQ(by_annotation.located()[0].netns_path, "/annotated");
}

TEST_F(PodSandboxesTest, OnlyPodsOfTheMeshAreLookedFor) {
  sandboxes_.set_pods({pod("web"), pod("other", false)});
  EXPECT_THAT(sandboxes_.wanted(), ElementsAre("uid-web"));
}

TEST_F(PodSandboxesTest, AnotherPathToTheSameNamespaceIsNoChange) {
  sandboxes_.set_pods({pod("web")});
  ASSERT_TRUE(sandboxes_.found("uid-web", sandbox("/proc/42/ns/net", 5, 0)));
  EXPECT_FALSE(sandboxes_.found("uid-web", sandbox("/run/netns/cni-1", 5, 0)));
  EXPECT_THAT(paths(), ElementsAre("/proc/42/ns/net"));
}

TEST_F(PodSandboxesTest, ANamespaceThatLastsOutlivesItsProcesses) {
  sandboxes_.set_pods({pod("web")});
  ASSERT_TRUE(sandboxes_.found("uid-web", sandbox("/run/netns/cni-1", 5, 0)));
  EXPECT_FALSE(sandboxes_.found("uid-web", absl::NotFoundError("no process")));
  EXPECT_THAT(paths(), ElementsAre("/run/netns/cni-1"));
  paths_.clear();
  EXPECT_TRUE(sandboxes_.found("uid-web", absl::NotFoundError("no process, again")));
  EXPECT_THAT(paths(), ElementsAre(""));
}

TEST_F(PodSandboxesTest, ANewSandboxOfTheSamePodIsEnrolledAndTheOldOneReleased) {
  sandboxes_.set_pods({pod("web")});
  sandboxes_.found("uid-web", sandbox("/ns/1", 5, 0));
  capture(0);
  paths_.erase("/ns/1");
  sandboxes_.found("uid-web", sandbox("/ns/2", 6, 0));
  capture(0);
  EXPECT_EQ(table_.captured(), 1u);
  EXPECT_THAT(dataplane_.calls, ElementsAre("enroll /ns/1", "stop 101", "unenroll /ns/1", "enroll /ns/2"));
}

TEST_F(PodSandboxesTest, ANamespaceThatTheNextPodGetsIsTheNextPods) {
  sandboxes_.set_pods({pod("web")});
  sandboxes_.found("uid-web", sandbox("/ns/1", 5, 0));
  capture(0);
  sandboxes_.set_pods({pod("api")});
  sandboxes_.found("uid-api", sandbox("/ns/1", 5, 0));
  capture(0);
  EXPECT_EQ(table_.find("shop/web"), nullptr);
  EXPECT_EQ(table_.find("shop/api")->state, Pod::State::kCaptured);
  EXPECT_THAT(feed_.log, ElementsAre("add workload-web", "remove 101", "add workload-api"));
}

TEST_F(PodSandboxesTest, ANamespaceThatTheRuntimeHandsToAPodIsNoOtherPodsAnyMore) {
  sandboxes_.set_pods({pod("api"), pod("web")});
  sandboxes_.found("uid-web", sandbox("/ns/1", 5, 0));
  capture(0);
  sandboxes_.given("uid-api", "/ns/1", {1, 5});
  EXPECT_THAT(paths(), ElementsAre("/ns/1", ""));
  capture(0);
  capture(0);
  EXPECT_EQ(table_.find("shop/api")->state, Pod::State::kCaptured);
  EXPECT_EQ(table_.find("shop/web")->state, Pod::State::kPending);
}

TEST_F(PodSandboxesTest, ANamespaceThatTheRuntimeTookAwayIsNotFoundAgain) {
  sandboxes_.set_pods({pod("web")});
  const Sandbox first = sandbox("/ns/1", 5, 0);
  sandboxes_.given("uid-web", "/ns/1", {1, 5});
  EXPECT_TRUE(sandboxes_.taken({1, 5}));
  EXPECT_FALSE(sandboxes_.taken({1, 5})) << "a DEL comes twice";
  EXPECT_FALSE(sandboxes_.found("uid-web", first)) << "its processes may still be there";
  EXPECT_THAT(paths(), ElementsAre(""));
  EXPECT_TRUE(sandboxes_.found("uid-web", sandbox("/ns/2", 6, 0)));
}

TEST_F(PodSandboxesTest, WhatTheRuntimeGaveIsNotReplacedByWhatWasFoundWhileItIsThere) {
  sandboxes_.set_pods({pod("web")});
  sandboxes_.given("uid-web", "/ns/1", {1, 5});
  paths_["/ns/1"] = 5;
  EXPECT_FALSE(sandboxes_.found("uid-web", sandbox("/ns/2", 6, 0)));
  EXPECT_THAT(paths(), ElementsAre("/ns/1"));
  paths_.erase("/ns/1");
  EXPECT_TRUE(sandboxes_.found("uid-web", sandbox("/ns/2", 6, 0)));
  EXPECT_THAT(paths(), ElementsAre("/ns/2"));
}

TEST_F(PodSandboxesTest, TheWindowRunsFromTheFirstProcessToTheCapture) {
  sandboxes_.set_pods({pod("web")});
  sandboxes_.found("uid-web", sandbox("/ns/1", 5, kAgentStart + kNsPerSecond));
  capture(kAgentStart + kNsPerSecond + 30 * kNsPerMs);
  capture(kAgentStart + 9 * kNsPerSecond);
  EXPECT_EQ(sandboxes_.starts().found(), 1u) << "once for each sandbox";
  EXPECT_EQ(sandboxes_.starts().window_longest, 30 * kNsPerMs);
  EXPECT_EQ(sandboxes_.starts().window[9], 1u) << "up to 50 ms";
  EXPECT_EQ(sandboxes_.starts().running, 0u);
}

TEST_F(PodSandboxesTest, APodThatRanBeforeItWasInTheMeshHasNoWindow) {
  sandboxes_.set_pods({pod("old"), pod("late", false), pod("held")});
  sandboxes_.found("uid-old", sandbox("/ns/old", 5, kAgentStart - 1));
  sandboxes_.given("uid-held", "/ns/held", {1, 7});
  paths_["/ns/held"] = 7;
  capture(kAgentStart + kNsPerSecond);
  sandboxes_.set_pods({pod("old"), pod("late"), pod("held")});
  sandboxes_.found("uid-late", sandbox("/ns/late", 6, kAgentStart + 1));
  capture(kAgentStart + 60 * kNsPerSecond);
  EXPECT_EQ(sandboxes_.starts().running, 2u);
  EXPECT_EQ(sandboxes_.starts().held, 1u);
  EXPECT_EQ(sandboxes_.starts().found(), 0u);
}

TEST_F(PodSandboxesTest, APendingPodSaysWhatItIsWaitingFor) {
  control_plane::LocalPod no_uid = pod("bare");
  no_uid.kubelet_uid.clear();
  sandboxes_.set_pods({pod("web"), no_uid});
  sandboxes_.found("uid-web", absl::NotFoundError("the kubelet has made no cgroup for it yet"));
  capture(0);
  EXPECT_EQ(table_.find("shop/web")->reason, "the kubelet has made no cgroup for it yet");
  EXPECT_THAT(table_.find("shop/bare")->reason, ::testing::HasSubstr("metadata.uid"));
}

}  // namespace
}  // namespace weft::agent
