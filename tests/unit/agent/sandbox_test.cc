// Which cgroups are pods', whose namespace a pod's is, and that both are seen as they come and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "agent/pods/pod_cgroup.h"
#include "tests/unit/agent/fake_node.h"

namespace weft::agent {
namespace {

using ::testing::HasSubstr;

constexpr char kHash[] = "0123456789abcdef0123456789abcdef";
const std::string kPodA = std::string("/kubepods/besteffort/pod") + kUidA;

TEST(PodCgroupTest, UidIsReadFromNamesOfBothDrivers) {
  EXPECT_EQ(pod_uid_of_cgroup(std::string("pod") + kUidA), kUidA);
  EXPECT_EQ(pod_uid_of_cgroup(std::string("pod") + kHash), kHash);
  EXPECT_EQ(pod_uid_of_cgroup("kubepods-podaaaaaaaa_1111_2222_3333_444444444444.slice"), kUidA);
  EXPECT_EQ(pod_uid_of_cgroup("kubepods-burstable-podaaaaaaaa_1111_2222_3333_444444444444.slice"), kUidA);
  EXPECT_EQ(pod_uid_of_cgroup("kubelet-kubepods-besteffort-podaaaaaaaa_1111_2222_3333_444444444444.slice"),
            kUidA);
}

TEST(PodCgroupTest, OtherNamesAreNoPods) {
  for (const char* name :
       {"", "pod", "pods", "podman-1234", "pod../../../../../../../../../../../../..", "kubepods.slice",
        "kubepods-burstable.slice", "pod-aaaa.slice", "system.slice",
        "machine-podaaaaaaaa_1111_2222_3333_444444444444.slice", "podAAAAAAAA-1111-2222-3333-444444444444"}) {
    EXPECT_EQ(pod_uid_of_cgroup(name), std::nullopt) << name;
  }
}

TEST(PodCgroupTest, FoldersOfPodsAreKnownByTheirNames) {
  for (const char* name : {"kubepods", "burstable", "besteffort", "kubepods.slice", "kubelet-kubepods.slice",
                           "kubepods-burstable.slice", "kubelet-kubepods-besteffort.slice"}) {
    EXPECT_TRUE(holds_pods(name)) << name;
  }
  for (const char* name : {"", "system.slice", "notkubepods.slice", "kubepods-pod1.slice", "user.slice"})
    EXPECT_FALSE(holds_pods(name)) << name;
}

class SandboxTest : public ::testing::Test {
 protected:
  absl::StatusOr<Sandbox> find() { return find_sandbox(node_.cgroup(kPodA), node_.options().places); }
  FakeNode node_;
};

TEST_F(SandboxTest, TheOldestProcessSaysWhereAPodIs) {
  node_.add_group(kPodA);
  // Containers may make namespaces of their own; the sandbox was there before any of them.
  node_.start(41, kPodA, "app", "own", 900);
  node_.start(42, kPodA, "pause", "pod", 500);
  const auto found = find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->netns_path, node_.proc_netns(42));
  EXPECT_EQ(found->started, 5 * kNsPerSecond);
}

TEST_F(SandboxTest, AFileOfTheRuntimeIsPreferredToAProcessThatMayEnd) {
  node_.add_group(kPodA);
  const std::string file = node_.add_netns_file("pod", "cni-1234");
  node_.start(42, kPodA, "pause", "pod", 500);
  ASSERT_TRUE(find().ok());
  EXPECT_EQ(find()->netns_path, file);
}

TEST_F(SandboxTest, AMonitorInTheNodesNamespaceIsNotThePod) {
  node_.add_group(kPodA);
  EXPECT_EQ(find().status().code(), absl::StatusCode::kNotFound);
  node_.start(40, kPodA, "monitor", "host", 100);
  EXPECT_EQ(find().status().code(), absl::StatusCode::kUnavailable);
  node_.start(42, kPodA, "pause", "pod", 500);
  ASSERT_TRUE(find().ok());
  EXPECT_EQ(find()->netns_path, node_.proc_netns(42));
}

TEST_F(SandboxTest, AProcessOfAnotherCgroupWithARecycledNumberIsNotThePods) {
  node_.add_group(kPodA);
  node_.start(42, std::string("/kubepods/pod") + kUidB, "pause", "other", 500);
  node_.add_group(kPodA + "/pause");
  std::ofstream(node_.cgroup(kPodA + "/pause/cgroup.procs")) << "42\n";
  EXPECT_EQ(find().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SandboxTest, MissingRightsAreNamed) {
  node_.add_group(kPodA);
  std::ofstream(node_.cgroup(kPodA + "/cgroup.procs")) << "0\n";
  EXPECT_THAT(find().status().message(), HasSubstr("hostPID"));
  node_.start(42, kPodA, "pause", "pod", 500);
  SandboxPlaces places = node_.options().places;
  places.probe = [this](const std::string& path) -> absl::StatusOr<NetnsIdentity> {
    if (path == node_.proc_netns(42)) return absl::PermissionDeniedError(path);
    return FakeNode::probe(path);
  };
  EXPECT_THAT(find_sandbox(node_.cgroup(kPodA), places).status().message(), HasSubstr("SYS_PTRACE"));
}

class SandboxWatchTest : public SandboxTest {
 protected:
  void SetUp() override { start(node_.options()); }
  void start(SandboxWatch::Options options) {
    auto started =
        SandboxWatch::start(std::move(options), [this](const std::string& uid, const auto& sandbox) {
          const std::lock_guard lock(mutex_);
          news_.emplace_back(uid, sandbox);
          came_.notify_all();
        });
    ASSERT_TRUE(started.ok()) << started.status();
    watch_ = std::move(*started);
  }
  // The next that is a namespace, or the next that is none.
  std::pair<std::string, absl::StatusOr<Sandbox>> next(bool ok) {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!came_.wait_for(lock, std::chrono::seconds(30), [this] { return !news_.empty(); }))
        return {"nothing came", absl::DeadlineExceededError("")};
      auto first = std::move(news_.front());
      news_.pop_front();
      if (first.second.ok() == ok) return first;
    }
  }
  void want(std::set<std::string> uids) {
    watch_->want(std::move(uids));
    ASSERT_TRUE(watch_->wait_looked(std::chrono::seconds(30)));
  }

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::pair<std::string, absl::StatusOr<Sandbox>>> news_;
  std::unique_ptr<SandboxWatch> watch_;
};

TEST_F(SandboxWatchTest, APodThatRunsAlreadyIsFoundAtOnce) {
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  want({kUidA});
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(news_.size(), 1u) << "told before wait_looked() returned";
  ASSERT_TRUE(news_[0].second.ok());
  EXPECT_EQ(news_[0].second->netns_path, node_.proc_netns(42));
}

TEST_F(SandboxWatchTest, APodIsFoundWhenItsCgroupAndThenItsProcessCome) {
  want({kUidA});
  EXPECT_THAT(next(false).second.status().message(), HasSubstr("no cgroup"));
  node_.add_group("/kubepods");
  node_.add_group("/kubepods/besteffort");
  node_.add_group(kPodA);
  EXPECT_THAT(next(false).second.status().message(), HasSubstr("no process"));
  node_.start(42, kPodA, "pause", "pod", 500);
  const auto [uid, sandbox] = next(true);
  EXPECT_EQ(uid, kUidA);
  EXPECT_EQ(sandbox->netns_path, node_.proc_netns(42));
}

TEST_F(SandboxWatchTest, AContainerOnItsWayIntoTheSandboxIsWaitedFor) {
  node_.add_group(kPodA);
  want({kUidA});
  node_.start(42, kPodA, "pause", "host", 500);
  EXPECT_TRUE(absl::IsNotFound(next(false).second.status()));
  EXPECT_TRUE(absl::IsUnavailable(next(false).second.status()));
  node_.enter(42, "pod");  // no event tells of it
  EXPECT_TRUE(next(true).second.ok());
}

TEST_F(SandboxWatchTest, ASandboxThatIsRestartedIsFoundAgain) {
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "first", 500);
  want({kUidA});
  EXPECT_EQ(next(true).second->netns_path, node_.proc_netns(42));
  node_.end(42);
  EXPECT_FALSE(next(false).second.ok());
  node_.start(77, kPodA, "pause2", "second", 900);
  EXPECT_EQ(next(true).second->netns_path, node_.proc_netns(77));
}

TEST_F(SandboxWatchTest, AContainerThatEndsInALastingSandboxChangesNothing) {
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  want({kUidA});
  EXPECT_TRUE(next(true).second.ok());
  node_.start(43, kPodA, "init", "pod", 600);
  node_.end(43);
  node_.start(44, kPodA, "app", "pod", 700);
  // Another pod's news come after whatever there was of this one.
  const std::string other = std::string("/kubepods/pod") + kUidB;
  node_.add_group(other);
  node_.start(50, other, "pause", "other", 800);
  want({kUidA, kUidB});
  EXPECT_EQ(next(true).first, kUidB);
}

TEST_F(SandboxWatchTest, ACgroupOfAnotherUserIsNoPods) {
  SandboxWatch::Options options = node_.options();
  ++options.owner;
  watch_.reset();
  start(options);
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  want({kUidA});
  const auto [uid, sandbox] = next(false);
  EXPECT_EQ(uid, kUidA);
  EXPECT_THAT(sandbox.status().message(), HasSubstr("no cgroup"));
}

TEST_F(SandboxWatchTest, ASecondCgroupOfTheSameNameStandsInForNoPod) {
  const std::string copy = std::string("/user.slice/kubepods/pod") + kUidA;
  node_.add_group(kPodA);
  node_.add_group(copy);
  node_.start(42, kPodA, "pause", "pod", 500);
  node_.start(43, copy, "pause", "other", 400);
  want({kUidA});
  EXPECT_EQ(next(true).second->netns_path, node_.proc_netns(42));
}

TEST_F(SandboxWatchTest, PodsThatNobodyWantsAreNotTold) {
  node_.add_group(kPodA);
  node_.start(42, kPodA, "pause", "pod", 500);
  const std::string other = std::string("/kubepods/burstable/pod") + kUidB;
  node_.add_group(other);
  node_.start(50, other, "pause", "other", 800);
  want({kUidB});
  EXPECT_EQ(next(true).first, kUidB);
  want({});
  node_.end(50);
  want({kUidA});
  EXPECT_EQ(next(true).first, kUidA);
}

}  // namespace
}  // namespace weft::agent
