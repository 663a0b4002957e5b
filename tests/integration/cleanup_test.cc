// After `weft-agent cleanup` the machine is as before: bpftool, ip and /proc list what is left, and there
// must be nothing.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRulePriority[] = "5700";

class CleanupTest : public MeshTest {
 protected:
  std::string list(std::vector<std::string> argv, const Pod* pod = nullptr) {
    Spawn spawn;
    spawn.argv = std::move(argv);
    if (pod != nullptr) spawn.netns = pod->netns;
    const CommandResult result = run(spawn);
    return result.output;
  }

  // Programs attached below our cgroup: whatever bpftool shows there is ours.
  std::string attached() { return list({"bpftool", "cgroup", "tree", sandbox_->cgroup()}); }

  // Descriptors of any process that name the client's namespace.
  std::string namespace_holders() {
    const std::string wanted = str_cat("net:[", inode_of(client_.netns), "]");
    std::string out;
    std::error_code ignored;
    for (const auto& process : fs::directory_iterator("/proc", ignored)) {
      const std::string fds = process.path().string() + "/fd";
      for (const auto& fd : fs::directory_iterator(fds, ignored)) {
        if (fs::read_symlink(fd.path(), ignored).string() == wanted)
          str_append(&out, fd.path().string(), "\n");
      }
    }
    return out;
  }

  static uint64_t inode_of(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
  }

  void expect_nothing_left() {
    EXPECT_THAT(attached(), Not(HasSubstr("mesh_")));
    EXPECT_THAT(list({"bpftool", "link", "show"}),
                Not(HasSubstr(str_cat("netns_ino ", inode_of(client_.netns)))));
    EXPECT_FALSE(fs::exists(sandbox_->pin_root())) << list({"find", sandbox_->bpffs()});
    EXPECT_THAT(list({"ip", "rule"}, &client_), Not(HasSubstr(kRulePriority)));
    EXPECT_THAT(list({"ip", "-6", "rule"}, &client_), Not(HasSubstr(kRulePriority)));
    EXPECT_EQ(list({"ip", "route", "show", "table", kRulePriority}, &client_), "");
    EXPECT_EQ(list({"ip", "-6", "route", "show", "table", kRulePriority}, &client_), "");
    EXPECT_EQ(list({"ss", "-Htln", "sport = :15001"}, &client_), "");
    EXPECT_EQ(namespace_holders(), "");
  }
};

TEST_F(CleanupTest, CaptureIsVisibleToTheToolsThatTheOtherTestsListWith) {
  // Guards the tests below: if these names changed, they would look for nothing.
  EXPECT_THAT(attached(), HasSubstr("mesh_"));
  EXPECT_TRUE(fs::exists(sandbox_->pin_root()));
  EXPECT_THAT(list({"ip", "rule"}, &client_), HasSubstr(kRulePriority));
  EXPECT_THAT(list({"ip", "-6", "rule"}, &client_), HasSubstr(kRulePriority));
  EXPECT_NE(list({"ip", "route", "show", "table", kRulePriority}, &client_), "");
  EXPECT_NE(list({"ss", "-Htln", "sport = :15001"}, &client_), "");
}

TEST_F(CleanupTest, CleanupAfterACleanStopLeavesNothingAndMayRunTwice) {
  EXPECT_EQ(mesh_->stop_proxy(), 0);
  EXPECT_EQ(mesh_->stop_agent(), 0);
  const CommandResult first = mesh_->cleanup();
  EXPECT_EQ(first.exit_code, 0) << first.errors;
  expect_nothing_left();
  const CommandResult second = mesh_->cleanup();
  EXPECT_EQ(second.exit_code, 0) << second.errors;
}

TEST_F(CleanupTest, CleanupAfterBothWereKilledLeavesNothing) {
  mesh_->kill_agent();
  mesh_->kill_proxy();
  const CommandResult cleanup = mesh_->cleanup();
  EXPECT_EQ(cleanup.exit_code, 0) << cleanup.errors;
  expect_nothing_left();
}

TEST_F(CleanupTest, PodThatWasEnrolledReachesItsPeersDirectlyAfterwards) {
  EXPECT_EQ(mesh_->stop_proxy(), 0);
  EXPECT_EQ(mesh_->stop_agent(), 0);
  ASSERT_EQ(mesh_->cleanup().exit_code, 0);
  EXPECT_EQ(curl(client_, {"http://" + v1_.v4(8080).to_string() + "/"}).output, "v1\n");
}

}  // namespace
}  // namespace weft::harness
