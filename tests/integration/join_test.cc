// A machine without Kubernetes: weft-control with a folder of manifests, a token that `weft join-token`
// prints, and an agent that becomes a node by it. Real programs, real traffic.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"
#include "tests/harness/weft_control.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kLimit{30'000};

class JoinTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    folder_ = sandbox_->directory() + "/control";
    std::filesystem::create_directory(folder_);
    start_control();
  }
  void TearDown() override {
    if (control_) EXPECT_EQ(control_->stop(kLimit), 0) << control_->output();
    EXPECT_THAT(mesh_->log(), Not(HasSubstr("weft-join.")));
    MeshTest::TearDown();
  }

  void start_control() {
    auto started =
        start_weft_control(folder_, port_.number(),
                           {"--config-dir", mesh_->manifests().path(), "--join-dir", folder_ + "/join"});
    ASSERT_TRUE(started.ok()) << started.status();
    control_ = *std::move(started);
  }
  CommandResult join_token(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "join-token");
    arguments.insert(arguments.end(), {"--join-dir", folder_ + "/join"});
    return mesh_->cli(std::move(arguments));
  }
  std::string token_file(const std::string& node) {
    const CommandResult made = join_token({"create", "--node", node});
    EXPECT_EQ(made.exit_code, 0) << made.errors;
    const std::string file = folder_ + "/token-" + node;
    std::ofstream(file) << made.output.substr(0, made.output.find('\n') + 1);
    EXPECT_EQ(::chmod(file.c_str(), 0600), 0);
    return file;
  }
  void configure_by(const std::string& token_file) {
    mesh_->configure_by({"--control-plane", str_cat("127.0.0.1:", port_.number()), "--control-ca",
                         folder_ + "/ca/ca.crt", "--join-token-file", token_file, "--find-pods",
                         "annotation"});
  }

  const ReservedPort port_;
  std::string folder_;
  std::unique_ptr<Process> control_;
};

TEST_F(JoinTest, AMachineBecomesANodeStaysOneAndIsPutOut) {
  const std::string token = token_file("node1");
  configure_by(token);
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_agent().ok()) << mesh_->log() << control_->output();
  EXPECT_TRUE(cli_shows({"-o", "json", "status"}, "weft-control 127.0.0.1:"));
  EXPECT_TRUE(reachable(kProductV4)) << mesh_->log();
  EXPECT_THAT(join_token({"list"}).output, HasSubstr("joined"));
  EXPECT_THAT(join_token({"list"}).output, HasSubstr("used"));
  struct stat st{};
  ASSERT_EQ(::stat((mesh_->run_dir() + "/node/node.pem").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);

  // The next agent needs no token; a new proxy gets its certificates through it.
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  std::filesystem::remove(token);
  ASSERT_TRUE(mesh_->start_agent().ok()) << mesh_->log() << control_->output();
  ASSERT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  EXPECT_TRUE(cli_shows({"cert", "list"}, "spiffe://cluster.local/ns/default/sa/default")) << mesh_->log();
  EXPECT_TRUE(reachable(kProductV4)) << mesh_->log();

  // A node that is put out is told so; what it knows stays in force.
  ASSERT_EQ(join_token({"remove", "--node", "node1"}).exit_code, 0);
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  const absl::Status out = mesh_->start_agent();
  EXPECT_FALSE(out.ok());
  EXPECT_THAT(std::string(out.message()), HasSubstr("node node1 was removed"));
  EXPECT_NE(mesh_->stop_agent(), 0) << "it never started";
  EXPECT_TRUE(reachable(kProductV4)) << "captured, and nobody tells";
}

TEST_F(JoinTest, ATokenThatSomebodyElseUsedIsRefusedWithWhatToDo) {
  const std::string token = token_file("node1");
  configure_by(token);
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_agent().ok()) << mesh_->log() << control_->output();
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  // As on another machine: the token is there, the certificate is not.
  std::filesystem::remove_all(mesh_->run_dir() + "/node");
  const absl::Status replayed = mesh_->start_agent();
  EXPECT_FALSE(replayed.ok());
  EXPECT_THAT(std::string(replayed.message()), HasSubstr("the join token was used already, and counts once"));
  EXPECT_THAT(std::string(replayed.message()), HasSubstr("next:"));
  EXPECT_NE(mesh_->stop_agent(), 0) << "it never started";
  EXPECT_THAT(control_->output(), HasSubstr("join_refused"));
  EXPECT_THAT(control_->output(), Not(HasSubstr("weft-join.")));
}

TEST_F(JoinTest, WhereNobodyCouldBeANodeNothingIsServed) {
  const CommandResult none =
      run({.argv = {binary("weft-control"), "--config-dir", mesh_->manifests().path()}});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.output + none.errors,
              HasSubstr("next: --join-dir for machines that join by a token, or --client-ca"));
}

TEST_F(JoinTest, FilesBelongToWhomTheFolderBelongsAndNobodyElseMakesAny) {
  constexpr uid_t kNobody = 65534;
  // Others may see that the folder is there.
  ASSERT_EQ(::chmod(sandbox_->directory().c_str(), 0755), 0);
  const std::string others = folder_ + "/others";
  for (const char* part : {"", "/tokens", "/used", "/nodes"}) {
    ASSERT_TRUE(std::filesystem::create_directory(others + part));
    ASSERT_EQ(::chown((others + part).c_str(), kNobody, kNobody), 0);
  }
  const std::vector<std::string> create = {"join-token", "create", "--node", "n1", "--join-dir", others};
  const CommandResult made = mesh_->cli(create);
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  const std::filesystem::directory_iterator tokens(others + "/tokens");
  ASSERT_EQ(std::distance(begin(tokens), end(tokens)), 1);
  struct stat st{};
  ASSERT_EQ(::stat(std::filesystem::directory_iterator(others + "/tokens")->path().c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kNobody);
  EXPECT_EQ(st.st_mode & 0777, 0600u);

  Spawn somebody{.argv = {"setpriv", "--reuid=1", "--regid=1", "--clear-groups", binary("weft")}};
  somebody.argv.insert(somebody.argv.end(), create.begin(), create.end());
  const CommandResult refused = run(somebody);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.errors, HasSubstr("next: sudo weft join-token"));
}

}  // namespace
}  // namespace weft::harness
