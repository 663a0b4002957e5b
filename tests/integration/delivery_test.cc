// Progressive delivery with real servers: examples/progressive-delivery, five steps under load. A good
// version gets everything, a bad one nothing, and no request is lost by the shifts.
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class DeliveryTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    before_ = read("examples/progressive-delivery/routing.yaml");
    ASSERT_NE(before_, "") << "run from the root of the repository";
    mesh_->manifests().write("canary.yaml", before_);
    ASSERT_TRUE(cli_shows({"get", "routes"}, "v1 100%")) << mesh_->log();
    ASSERT_TRUE(cli_shows({"status"}, "current")) << mesh_->log();
  }
  std::string path() { return mesh_->manifests().path() + "/canary.yaml"; }
  std::vector<std::string> canary(const std::string& verb, std::vector<std::string> more = {}) {
    std::vector<std::string> out = {"canary", verb, "--file", path(), "--to", "v2"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
  // Steps of a second each, within bounds that only a failing version breaks.
  std::vector<std::string> run_flags() {
    return {"--steps", "5,25,50,75,100",   "--interval", "1s",        "--min-requests",
            "20",      "--max-error-rate", "1%",         "--max-p99", "5s"};
  }
  // Longer than a command usually takes: it watches its steps.
  CommandResult run_steps() {
    Spawn spawn;
    spawn.argv = {binary("weft"), "--run-dir", mesh_->run_dir()};
    for (const std::string& word : canary("run", run_flags())) spawn.argv.push_back(word);
    spawn.separate_errors = true;
    return harness::run(spawn, milliseconds(90'000));
  }
  void start_load(const std::string& path = "/") {
    auto running = Process::start(
        load_spawn(client_, {kProductV4, "-d", "120", "-c", "8", "--rate", "1000", "--path", path}));
    ASSERT_TRUE(running.ok()) << running.status();
    load_ = std::move(*running);
  }
  LoadResult end_load() {
    load_->signal(SIGINT);
    EXPECT_TRUE(load_->wait(milliseconds(10'000)).has_value());
    return parse_load(load_->output());
  }
  // The example with other weights.
  std::string with(const std::string& v1, const std::string& v2) {
    std::string out = before_;
    out.replace(out.find("weight: 0"), 9, "weight: " + v2);
    out.replace(out.find("weight: 100"), 11, "weight: " + v1);
    return out;
  }
  void fail_v2() {
    servers_[1].reset();
    auto server = start_peer(v2_, "counting", 8080);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_[1] = std::move(*server);
  }

  std::string before_;
  std::unique_ptr<Process> load_;
};

TEST_F(DeliveryTest, AGoodVersionGetsEverythingAndNoRequestIsLost) {
  start_load();
  const CommandResult run = run_steps();
  EXPECT_EQ(run.exit_code, 0) << run.output << run.errors << mesh_->log();
  EXPECT_THAT(run.output, AllOf(HasSubstr("promoted: v1 0, v2 100"), HasSubstr("passed")));
  for (const char* line : {"step 1/5: v2 takes 5 %", "step 5/5: v2 takes 100 %"})
    EXPECT_THAT(run.errors, HasSubstr(line));
  const LoadResult result = end_load();
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_EQ(result.retries, 0u) << "a shift must not end a connection: " << result.text;
  EXPECT_GT(result.versions.at("v2"), 0u) << result.text;
  EXPECT_EQ(read(path()), with("0", "100")) << "only the digits change";
  EXPECT_EQ(load(client_, {kProductV4, "-n", "500", "-c", "4"}).share("v2"), 1.0);
}

TEST_F(DeliveryTest, AVersionThatFailsIsRolledBack) {
  ASSERT_NO_FATAL_FAILURE(fail_v2());
  start_load("/503");
  const CommandResult run = run_steps();
  EXPECT_EQ(run.exit_code, 1) << run.output << run.errors;
  EXPECT_THAT(run.output, HasSubstr("rolled-back: v1 100, v2 0"));
  EXPECT_THAT(run.errors, HasSubstr("requests failed"));
  const LoadResult result = end_load();
  // Nothing but what v2 itself answered.
  EXPECT_EQ(result.failures.at("status"), result.failed) << result.text;
  EXPECT_EQ(result.retries, 0u) << result.text;
  EXPECT_LT(result.failed, result.requests / 5) << result.text;
  EXPECT_EQ(read(path()), before_);
  const LoadResult after = load(client_, {kProductV4, "-n", "500", "-c", "4", "--path", "/503"});
  EXPECT_EQ(after.failed, 0u) << after.text;
  EXPECT_EQ(after.share("v1"), 1.0) << after.text;
}

TEST_F(DeliveryTest, ADryRunWritesNothingAndStatusShowsBothVersions) {
  const CommandResult dry = mesh_->cli(canary("run", {"--dry-run"}));
  EXPECT_EQ(dry.exit_code, 0) << dry.errors;
  EXPECT_THAT(dry.output, AllOf(HasSubstr("v1 95, v2 5"), HasSubstr("v1 0, v2 100")));
  EXPECT_EQ(read(path()), before_);
  mesh_->manifests().write("canary.yaml", with("50", "50"));
  ASSERT_TRUE(cli_shows(canary("status"), "50%")) << mesh_->log();
  load(client_, {kProductV4, "-n", "400", "-c", "4"});
  const CommandResult status = mesh_->cli([&] {
    std::vector<std::string> out = canary("status");
    out.insert(out.begin(), {"-o", "json"});
    return out;
  }());
  const auto json = nlohmann::json::parse(status.output, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << status.output << status.errors;
  EXPECT_GT(json["destinations"][1]["requests"].get<uint64_t>(), 100u) << status.output;
  EXPECT_EQ(json["destinations"][1]["errors"], 0u) << status.output;
}

TEST_F(DeliveryTest, AnInterruptLeavesTheWeightsAndSaysHowToGoOn) {
  start_load();
  Spawn spawn;
  spawn.argv = {binary("weft"), "--run-dir", mesh_->run_dir()};
  for (const std::string& word : canary("run", {"--steps", "25,100", "--interval", "100s"}))
    spawn.argv.push_back(word);
  auto process = Process::start(spawn);
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return (*process)->output().find("takes 25 %") != std::string::npos;
  })) << (*process)->output();
  (*process)->signal(SIGINT);
  EXPECT_EQ((*process)->wait(milliseconds(10'000)), 1);
  EXPECT_THAT((*process)->output(),
              AllOf(HasSubstr("interrupted: v1 75, v2 25 stays in force"), HasSubstr("--steps 25,100"),
                    HasSubstr("weft canary rollback --file ")));
  EXPECT_EQ(read(path()), with("75", "25"));
  const CommandResult back = mesh_->cli(canary("rollback"));
  EXPECT_EQ(back.exit_code, 0) << back.errors;
  EXPECT_EQ(read(path()), before_);
  EXPECT_EQ(end_load().failed, 0u);
}

TEST_F(DeliveryTest, AFileThatSomebodyElseEditsIsLeftAlone) {
  start_load();
  Spawn spawn;
  spawn.argv = {binary("weft"), "--run-dir", mesh_->run_dir()};
  for (const std::string& word :
       canary("run", {"--steps", "25,100", "--interval", "2s", "--min-requests", "1"}))
    spawn.argv.push_back(word);
  auto process = Process::start(spawn);
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return (*process)->output().find("takes 25 %") != std::string::npos;
  })) << (*process)->output();
  const std::string theirs = with("90", "10") + "# of somebody else\n";
  mesh_->manifests().write("canary.yaml", theirs);
  EXPECT_EQ((*process)->wait(milliseconds(20'000)), 1) << (*process)->output();
  EXPECT_THAT((*process)->output(),
              AllOf(HasSubstr("was changed by somebody else"), Not(HasSubstr("takes 100"))));
  EXPECT_EQ(read(path()), theirs);
  EXPECT_EQ(end_load().failed, 0u);
}

}  // namespace
}  // namespace weft::harness
