// weft install, upgrade, uninstall and check --cluster: what Helm is told, what is asked of the cluster, what
// is printed when it says no.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/base/scratch_folder.h"
#include "tools/weft/cli.h"
#include "tools/weft/output.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ClusterCliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("WEFT_HELM");
    ::unsetenv("WEFT_CHART");
    ::unsetenv("KUBECONFIG");
    ::setenv("HOME", folder_.path().c_str(), 1);
    std::filesystem::create_directory(chart_);
    std::ofstream(chart_ + "/Chart.yaml") << "name: weft\n";
  }
  int run(const std::vector<std::string>& args) {
    std::ostringstream out, err;
    Environment env{.out = out,
                    .err = err,
                    .check_kernel = {},
                    .analyze = {},
                    .check_cluster =
                        [this](const ClusterAsk& ask) {
                          asked_.push_back(ask);
                          return rows_;
                        },
                    .count_pods = [this](const ClusterAsk&) -> absl::StatusOr<size_t> {
                      if (pods_.empty()) return absl::UnavailableError("away");
                      const size_t now = pods_.back();
                      pods_.pop_back();
                      return now;
                    },
                    .run_program =
                        [this](const std::vector<std::string>& argv) {
                          commands_.push_back(argv);
                          return helm_code_;
                        }};
    const int code = cli::run(args, env);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  const test::ScratchFolder folder_;
  const std::string chart_ = folder_.file("chart");
  std::vector<CheckRow> rows_ = {{"cluster", "P-01", "it answers", "success", "", ""}};
  std::vector<size_t> pods_ = {0};  // the last one is told first
  int helm_code_ = 0;
  std::vector<std::vector<std::string>> commands_;
  std::vector<ClusterAsk> asked_;
  std::string out_, err_;
};

TEST_F(ClusterCliTest, InstallChecksFirstAndTellsHelmWhere) {
  EXPECT_EQ(run({"install", "--chart", chart_, "--values", "a.yaml", "--set", "logLevel=debug",
                 "--kubeconfig", "/k", "--context", "c"}),
            kOk);
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_TRUE(asked_[0].before);
  EXPECT_EQ(asked_[0].ns, "weft-system");
  ASSERT_EQ(commands_.size(), 1u);
  EXPECT_THAT(commands_[0],
              ElementsAre("helm", "install", "weft", chart_, "--namespace", "weft-system",
                          "--create-namespace", "--wait", "--timeout", "5m", "--kubeconfig", "/k",
                          "--kube-context", "c", "--values", "a.yaml", "--set", "logLevel=debug"));
}

TEST_F(ClusterCliTest, AClusterThatDoesNotFitIsLeftAlone) {
  rows_.push_back({"cluster", "P-03", "you may install", "error", "you may not create x", "ask somebody"});
  rows_.push_back({"cluster", "P-04", "definitions", "warning", "missing: y", "install them"});
  EXPECT_EQ(run({"install", "--chart", chart_}), kFindings);
  EXPECT_THAT(commands_, IsEmpty());
  EXPECT_EQ(err_, "error: P-03 you may install: you may not create x\nnext: ask somebody\n");
  EXPECT_EQ(run({"install", "--chart", chart_, "--skip-checks"}), kOk);
  EXPECT_EQ(commands_.size(), 1u);
}

TEST_F(ClusterCliTest, AMissingChartAndAMissingHelmSayWhatToDo) {
  EXPECT_EQ(run({"install", "--chart", folder_.file("nowhere")}), kBadInput);
  EXPECT_THAT(err_, HasSubstr("next: --chart DIR"));
  EXPECT_THAT(commands_, IsEmpty());
  helm_code_ = 127;
  EXPECT_EQ(run({"upgrade", "--chart", chart_}), kRuntimeError);
  EXPECT_EQ(err_, "error: helm cannot be run\nnext: install Helm 3.14 or newer, or name one in WEFT_HELM\n");
  helm_code_ = 1;
  EXPECT_EQ(run({"upgrade", "--chart", chart_, "-n", "mesh"}), kRuntimeError);
  EXPECT_EQ(err_, "error: helm upgrade ended with 1\nnext: weft check --cluster -n mesh\n");
}

TEST_F(ClusterCliTest, AnUpgradeThatFailsSaysOnWhichNodeAndTheWayBack) {
  rows_.push_back({"installation", "M-01", "agents run", "error", "1 of 2 are ready; weft-agent-x on n1",
                   "helm rollback weft -n mesh --wait; why: l"});
  rows_.push_back({"installation", "M-03", "one version", "warning", "1 of 2 nodes", "wait"});
  helm_code_ = 1;
  EXPECT_EQ(run({"upgrade", "--chart", chart_, "-n", "mesh"}), kRuntimeError);
  EXPECT_EQ(err_,
            "error: M-01 agents run: 1 of 2 are ready; weft-agent-x on n1\n"
            "next: helm rollback weft -n mesh --wait; why: l\n"
            "error: helm upgrade ended with 1\n"
            "next: helm rollback weft -n mesh --wait, to what was there before\n");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_FALSE(asked_[0].before);
  EXPECT_EQ(asked_[0].ns, "mesh");
  // What is wrong without a new version, as when Helm fails before there is one, is not mended by the last.
  rows_ = {{"installation", "M-01", "agents run", "error", "1 of 2 are ready", "kubectl describe"}};
  EXPECT_EQ(run({"upgrade", "--chart", chart_}), kRuntimeError);
  EXPECT_THAT(err_, HasSubstr("next: weft check --cluster -n weft-system\n"));
  // A server that cannot be asked is no reason to go back.
  rows_ = {{"cluster", "P-01", "it answers", "error", "away", "look"}};
  EXPECT_EQ(run({"upgrade", "--chart", chart_}), kRuntimeError);
  EXPECT_THAT(err_, HasSubstr("next: weft check --cluster -n weft-system\n"));
  asked_.clear();
  helm_code_ = 127;
  EXPECT_EQ(run({"upgrade", "--chart", chart_}), kRuntimeError);
  EXPECT_THAT(asked_, IsEmpty()) << "nothing was changed";
}

TEST_F(ClusterCliTest, UpgradeKeepsWhatWasSet) {
  ::setenv("WEFT_CHART", chart_.c_str(), 1);
  ::setenv("WEFT_HELM", "/opt/helm", 1);
  EXPECT_EQ(run({"upgrade", "-n", "mesh", "--timeout", "9m"}), kOk);
  EXPECT_THAT(commands_[0], ElementsAre("/opt/helm", "upgrade", "weft", chart_, "--namespace", "mesh",
                                        "--reset-then-reuse-values", "--wait", "--timeout", "9m"));
}

TEST_F(ClusterCliTest, DryRunsPrintManifestsAndAskNothing) {
  for (const char* verb : {"install", "upgrade"}) {
    commands_.clear();
    EXPECT_EQ(run({verb, "--chart", chart_, "--dry-run", "--set", "a=b"}), kOk);
    EXPECT_THAT(commands_[0], ElementsAre("helm", "template", "weft", chart_, "--namespace", "weft-system",
                                          "--set", "a=b"));
  }
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(ClusterCliTest, UninstallWaitsUntilNoPodIsLeft) {
  pods_ = {0, 3};
  EXPECT_EQ(run({"uninstall", "--kubeconfig", "/k"}), kOk);
  EXPECT_THAT(commands_[0], ElementsAre("helm", "uninstall", "weft", "--namespace", "weft-system", "--wait",
                                        "--timeout", "5m", "--kubeconfig", "/k"));
  EXPECT_THAT(pods_, IsEmpty());
  EXPECT_THAT(out_, HasSubstr("Weft is gone"));
}

TEST_F(ClusterCliTest, UninstallThatCannotSeeThePodsDoesNotClaimThatTheyAreGone) {
  pods_ = {};
  EXPECT_EQ(run({"uninstall"}), kUnavailable);
  EXPECT_EQ(err_, "error: away\nnext: kubectl -n weft-system get pods\n");
  EXPECT_THAT(out_, IsEmpty());
  EXPECT_EQ(run({"uninstall", "--dry-run"}), kOk);
  EXPECT_EQ(commands_.back().back(), "--dry-run");
}

TEST_F(ClusterCliTest, CheckOfAClusterHasRowsHeadingsAndAnExitCode) {
  rows_.push_back({"installation", "M-01", "it runs", "error", "1 of 2", "describe it"});
  EXPECT_EQ(run({"check", "--cluster"}), kRuntimeError);
  EXPECT_EQ(out_,
            "cluster\n  OK    P-01  it answers\ninstallation\n  FAIL  M-01  it runs\n              1 of 2\n"
            "              next: describe it\n");
  EXPECT_FALSE(asked_[0].before);
  rows_.pop_back();
  EXPECT_EQ(run({"check", "--pre", "--kubeconfig", "/k", "-o", "json"}), kOk);
  EXPECT_TRUE(asked_[1].before);
  EXPECT_EQ(asked_[1].kubeconfig, "/k");
  EXPECT_EQ(Json::parse(out_)["categories"][0]["checks"][0]["id"], "P-01");
}

TEST_F(ClusterCliTest, TheKubeconfigIsTheOneThatKubectlTakes) {
  run({"check", "--cluster"});
  EXPECT_EQ(asked_.back().kubeconfig, "") << "there is none: as a pod";
  std::filesystem::create_directory(folder_.file(".kube"));
  std::ofstream(folder_.file(".kube/config")) << "x";
  run({"check", "--cluster"});
  EXPECT_EQ(asked_.back().kubeconfig, folder_.file(".kube/config"));
  ::setenv("KUBECONFIG", "/other", 1);
  run({"check", "--cluster"});
  EXPECT_EQ(asked_.back().kubeconfig, "/other");
}

}  // namespace
}  // namespace weft::cli
