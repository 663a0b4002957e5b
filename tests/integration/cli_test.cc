// The operator's commands against a running node: what they print, and their exit codes (0 ok, 64 usage, 69
// agent unreachable, 79 findings).
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tests/bpf/foreign_program.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using CliTest = MeshTest;

TEST_F(CliTest, StatusNamesTheNodeAndItsProxy) {
  const CommandResult table = mesh_->cli({"status"});
  EXPECT_EQ(table.exit_code, 0) << table.errors;
  EXPECT_THAT(table.output, HasSubstr("node1"));
  const CommandResult json = mesh_->cli({"-o", "json", "status"});
  EXPECT_FALSE(nlohmann::json::parse(json.output, nullptr, false).is_discarded()) << json.output;
}

TEST_F(CliTest, CheckOfAHealthyNodeHasNoErrors) {
  const CommandResult check = mesh_->cli({"check"});
  EXPECT_EQ(check.exit_code, 0) << check.output << check.errors;
}

TEST_F(CliTest, CheckNamesAProgramOfOthersOnTheSameHooks) {
  agent::ForeignProgram neighbour(BPF_CGROUP_INET4_CONNECT, "cil_sock4_connect");
  ASSERT_TRUE(neighbour.link_to(sandbox_->cgroup()));
  const std::string named = str_cat("cgroup/connect4: cil_sock4_conne (id ", neighbour.id(), ", Cilium) at ",
                                    sandbox_->cgroup(), "\n");
  const CommandResult check = mesh_->cli({"check"});
  EXPECT_EQ(check.exit_code, 0) << check.output << check.errors;
  EXPECT_THAT(check.output,
              AllOf(HasSubstr("WARN  B-05  " + named), HasSubstr("socketLB.hostNamespaceOnly=true")));
  const CommandResult pre =
      mesh_->cli({"check", "--pre", "--cgroup", sandbox_->cgroup(), "--pin-root", sandbox_->pin_root()});
  EXPECT_EQ(pre.exit_code, 0) << pre.output << pre.errors;
  EXPECT_THAT(pre.output, AllOf(HasSubstr("WARN  K-07  " + named), Not(HasSubstr("mesh_connect4"))));
  const uint64_t before = neighbour.runs();
  EXPECT_TRUE(reachable(kProductV4));
  EXPECT_GT(neighbour.runs(), before);
}

TEST_F(CliTest, GetListsServicesEndpointsWorkloadsAndRoutes) {
  EXPECT_THAT(mesh_->cli({"get", "services"}).output,
              AllOf(HasSubstr("product-service"), HasSubstr(kProductIp4)));
  EXPECT_THAT(mesh_->cli({"get", "endpoints"}).output,
              AllOf(HasSubstr(v1_.v4(8080).to_string()), HasSubstr(v2_.v4(8080).to_string())));
  EXPECT_THAT(mesh_->cli({"get", "workloads"}).output, AllOf(HasSubstr("client"), HasSubstr("captured")));
  EXPECT_THAT(mesh_->cli({"get", "routes"}).output, AllOf(HasSubstr("95%"), HasSubstr("5%")));
}

TEST_F(CliTest, TraceNamesTheRuleItsLineAndTheEndpoints) {
  const CommandResult table = mesh_->cli({"trace", "default/client", "product-service", "--http", "GET /x"});
  EXPECT_EQ(table.exit_code, 0) << table.output << table.errors;
  EXPECT_THAT(table.output, AllOf(HasSubstr("VirtualService default/product-service http[0]"),
                                  HasSubstr("canary.yaml:9"), HasSubstr("matched"), HasSubstr("95%"),
                                  HasSubstr(v1_.v4(8080).to_string()), HasSubstr(v2_.v4(8080).to_string())));
  const CommandResult json =
      mesh_->cli({"-o", "json", "trace", "default/client", "product-service", "--http", "/x"});
  const auto report = nlohmann::json::parse(json.output, nullptr, false);
  ASSERT_FALSE(report.is_discarded()) << json.output;
  EXPECT_TRUE(report["arrives"].get<bool>()) << json.output;
  EXPECT_EQ(report["targets"][1]["subset"], "v2");
  EXPECT_EQ(report["configGeneration"], report["proxyGeneration"]);
  EXPECT_THAT(mesh_->cli({"get", "routes", "--explain"}).output,
              AllOf(HasSubstr("canary.yaml:9"), HasSubstr("v2 5% (1 endpoint)")));
  EXPECT_THAT(mesh_->cli({"trace", "default/client", "nobody", "--http", "GET /"}).errors,
              HasSubstr("weft get services -A"));
}

TEST_F(CliTest, TraceSaysWhatTheProxyDoes) {
  mesh_->manifests().write(
      "canary.yaml",
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: product-service}\nspec:\n"
      "  hosts: [product-service]\n  http:\n  - name: posts\n    match: [{method: {exact: POST}}]\n"
      "    directResponse: {status: 418}\n  - name: users\n    match: [{headers: {x-user: {prefix: a}}}]\n"
      "    directResponse: {status: 202}\n");
  ASSERT_TRUE(cli_shows({"get", "routes"}, "product-service/users"));
  ASSERT_TRUE(cli_shows({"status"}, "current"));
  const struct {
    const char* user;
    const char* status;
    const char* said;
    int exit_code;
  } cases[] = {{"anna", "202", "answers 202 by itself", 0}, {"ben", "404", "no_route", 79}};
  for (const auto& one : cases) {
    const std::string header = str_cat("x-user: ", one.user);
    EXPECT_EQ(curl(client_, {"-o", "/dev/null", "-w", "%{http_code}", "-H", header,
                             str_cat("http://", kProductV4, "/")})
                  .output,
              one.status);
    const CommandResult trace =
        mesh_->cli({"trace", "default/client", "product-service", "--http", "GET /", "--header", header});
    EXPECT_EQ(trace.exit_code, one.exit_code) << trace.output << trace.errors;
    EXPECT_THAT(trace.output, AllOf(HasSubstr(one.said), HasSubstr("method is \"GET\", not \"POST\"")));
  }
}

TEST_F(CliTest, ObserveFollowsExchangesAsTheyEnd) {
  Spawn spawn;
  spawn.argv = {binary("weft"), "--run-dir", mesh_->run_dir(), "observe", "-f"};
  auto observe = Process::start(spawn);
  ASSERT_TRUE(observe.ok()) << observe.status();
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] {
    curl(client_, {std::string("http://") + kProductV4 + "/observe-me"});
    return (*observe)->output().find("/observe-me") != std::string::npos;
  })) << (*observe)->output();
  (*observe)->signal(SIGINT);
  EXPECT_TRUE((*observe)->wait(milliseconds(5'000)).has_value());
}

TEST_F(CliTest, EnrollAndUnenrollWorkLive) {
  // A service address exists nowhere but in the mesh: only a captured pod gets an answer.
  const auto captured = [&] {
    return curl(v2_, {"--max-time", "1", std::string("http://") + kProductV4 + "/"}).exit_code == 0;
  };
  EXPECT_FALSE(captured());
  const CommandResult enroll = mesh_->cli({"enroll", "default/product-v2", "--netns", v2_.netns});
  ASSERT_EQ(enroll.exit_code, 0) << enroll.output << enroll.errors;
  EXPECT_TRUE(wait_until(milliseconds(10'000), captured)) << mesh_->log();
  const CommandResult unenroll = mesh_->cli({"unenroll", "default/product-v2"});
  ASSERT_EQ(unenroll.exit_code, 0) << unenroll.output << unenroll.errors;
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] { return !captured(); })) << "still captured";
  EXPECT_EQ(curl(v2_, {"http://" + v1_.v4(8080).to_string() + "/"}).output, "v1\n");
}

TEST_F(CliTest, EnrollTakesTheNamespaceFromTheManifestOrSaysHowToNameIt) {
  mesh_->manifests().write(
      "web.yaml",
      str_cat("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: default\n",
              "  annotations:\n    weft.dev/netns: ", v2_.netns, "\nspec: {}\nstatus:\n  phase: Running\n"));
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] {
    return mesh_->cli({"enroll", "default/web"}).exit_code == 0;
  })) << mesh_->cli({"enroll", "default/web"}).errors;
  EXPECT_EQ(mesh_->cli({"unenroll", "default/web"}).exit_code, 0);
  const CommandResult stranger = mesh_->cli({"enroll", "default/stranger"});
  EXPECT_NE(stranger.exit_code, 0);
  EXPECT_THAT(stranger.errors, HasSubstr("weft enroll default/stranger --netns"));
}

TEST_F(CliTest, OpenConnectionsOutliveUnenroll) {
  ASSERT_EQ(mesh_->cli({"enroll", "default/product-v2", "--netns", v2_.netns}).exit_code, 0);
  // One connection: a second, dialled after the end of capture, would rightly find nobody at the service
  // address.
  auto running = Process::start(load_spawn(v2_, {kProductV4, "-d", "60", "-c", "1", "--rate", "500"}, "0.1"));
  ASSERT_TRUE(running.ok()) << running.status();
  const auto more_than = [&](uint64_t count) {
    return wait_until(milliseconds(20'000), [&] { return requests_so_far((*running)->output()) > count; });
  };
  ASSERT_TRUE(more_than(100)) << mesh_->log();
  const CommandResult unenroll = mesh_->cli({"unenroll", "default/product-v2"});
  ASSERT_EQ(unenroll.exit_code, 0) << unenroll.errors;
  EXPECT_THAT(unenroll.output, HasSubstr("open connections go on"));
  EXPECT_TRUE(more_than(requests_so_far((*running)->output()) + 500)) << "the open connections hang";
  (*running)->signal(SIGINT);
  ASSERT_TRUE((*running)->wait(milliseconds(10'000)).has_value());
  const LoadResult result = parse_load((*running)->output());
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_EQ(result.retries, 0u) << result.text;
  EXPECT_TRUE(wait_until(
      milliseconds(10'000),
      [&] { return mesh_->log().find("namespace_released netns=" + v2_.netns) != std::string::npos; }))
      << "what capture needed is still there: " << mesh_->log();
}

TEST_F(CliTest, PodThatItsManifestEnrollsIsNotUnenrolledBehindTheManifestsBack) {
  const CommandResult unenroll = mesh_->cli({"unenroll", "default/client"});
  EXPECT_EQ(unenroll.exit_code, 1);
  EXPECT_THAT(unenroll.errors, AllOf(HasSubstr("enrolled by its manifest"), HasSubstr("weft.dev/mesh")));
  EXPECT_TRUE(reachable(kProductV4));
}

TEST_F(CliTest, AnalyzeNamesFileLineAndFieldAndExitsWith79) {
  const std::string path = sandbox_->directory() + "/broken.yaml";
  std::string broken = canary_yaml(95, 5);
  broken.replace(broken.find("weight"), 6, "wieght");
  std::ofstream(path) << broken;
  const CommandResult analyze = mesh_->cli({"analyze", path});
  EXPECT_EQ(analyze.exit_code, 79) << analyze.output;
  EXPECT_THAT(analyze.output + analyze.errors,
              AllOf(HasSubstr("broken.yaml:13"), HasSubstr("wieght"), HasSubstr("weight")));
  std::ofstream(path) << canary_yaml(95, 5);
  EXPECT_EQ(mesh_->cli({"analyze", mesh_->manifests().path()}).exit_code, 0);
}

TEST_F(CliTest, UnreachableAgentIsExitCode69WithTheNextCommand) {
  Spawn spawn;
  spawn.argv = {binary("weft"), "--run-dir", sandbox_->directory() + "/nowhere", "status"};
  const CommandResult status = run(spawn);
  EXPECT_EQ(status.exit_code, 69) << status.errors;
  EXPECT_THAT(status.errors, HasSubstr("weft"));
}

TEST_F(CliTest, UnknownCommandIsAUsageError) { EXPECT_EQ(mesh_->cli({"stauts"}).exit_code, 64); }

}  // namespace
}  // namespace weft::harness
