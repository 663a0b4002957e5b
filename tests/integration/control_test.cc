// A node whose agent is told by weft-control, which reads an API server: real programs, real traffic. What
// was captured under a folder of manifests goes on under weft-control, and under no weft-control at all.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"
#include "tests/harness/weft_control.h"
#include "tests/unit/kubernetes/manifest_json.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using ::weft::control_plane::test::FakeApiServer;
using ::weft::control_plane::test::Json;

constexpr char kReviews[] = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr milliseconds kLimit{30'000};

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

class ControlTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    folder_ = sandbox_->directory() + "/control";
    std::filesystem::create_directory(folder_);
    api_.set_script([](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
      if (request.path != kReviews) return std::nullopt;
      return review(Json::parse(request.body)["spec"]["token"]);
    });
    write(folder_ + "/kubeconfig", str_cat("current-context: c\n"
                                           "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                                           "clusters: [{name: c, cluster: {server: '",
                                           api_.url(), "'}}]\nusers: [{name: u, user: {token: t}}]\n"));
    write(folder_ + "/token", "agent@node1");
    for (const auto& entry : std::filesystem::directory_iterator(mesh_->manifests().path())) {
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      put(text.str());
    }
    start_control();
  }
  void TearDown() override {
    if (control_) EXPECT_EQ(control_->stop(kLimit), 0) << control_->output();
    MeshTest::TearDown();
  }

  // "agent@<node>": of that node's agent.
  static FakeApiServer::Reply review(const std::string& token) {
    Json status{{"authenticated", false}, {"error", "the token is not valid"}};
    if (token.starts_with("agent@")) {
      status = {{"authenticated", true},
                {"audiences", {"weft-control"}},
                {"user",
                 {{"username", "system:serviceaccount:weft-system:weft-agent"},
                  {"extra", {{"authentication.kubernetes.io/node-name", {token.substr(6)}}}}}}};
    }
    return {.status = 201, .body = Json{{"status", status}}.dump()};
  }
  void put(const std::string& manifests) {
    for (Json& object : control_plane::test::objects_of(manifests)) {
      const std::string collection = control_plane::test::collection_of(object);
      ASSERT_FALSE(collection.empty()) << object.dump();
      api_.put(collection, object);
    }
  }
  void start_control() {
    auto started = start_weft_control(folder_, port_.number(),
                                      {"--kubeconfig", folder_ + "/kubeconfig", "--make-authority"});
    ASSERT_TRUE(started.ok()) << started.status();
    control_ = *std::move(started);
  }
  void configure_by_control() {
    mesh_->configure_by({"--control-plane", str_cat("127.0.0.1:", port_.number()), "--control-ca",
                         folder_ + "/ca/ca.crt", "--control-token", folder_ + "/token", "--find-pods",
                         "annotation"});
  }
  // The agent of now ends, one that is told by weft-control comes.
  void switch_agent() {
    configure_by_control();
    ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
    const absl::Status started = mesh_->start_agent();
    ASSERT_TRUE(started.ok()) << started << control_->output();
  }

  FakeApiServer api_;
  const ReservedPort port_;
  std::string folder_;
  std::unique_ptr<Process> control_;
};

TEST_F(ControlTest, AWholeNodeIsToldByWeftControlSurvivesItAndFollowsItsSuccessor) {
  switch_agent();
  EXPECT_TRUE(cli_shows({"-o", "json", "status"}, "weft-control 127.0.0.1:"));
  EXPECT_TRUE(reachable(kProductV4)) << mesh_->log();
  EXPECT_TRUE(cli_shows({"get", "workloads"}, "product-v1"));
  EXPECT_THAT(mesh_->metrics(), HasSubstr("\nweft_control_connected 1\n"));

  // weft-control goes: the node goes on and says so.
  ASSERT_EQ(control_->stop(kLimit), 0) << control_->output();
  ASSERT_TRUE(wait_until(kLimit, [&] {
    return mesh_->metrics().find("\nweft_control_connected 0\n") != std::string::npos;
  })) << mesh_->log();
  EXPECT_TRUE(cli_shows({"status"}, "what it told last is in force"));
  EXPECT_TRUE(reachable(kProductV4)) << mesh_->log();

  // Written meanwhile, told by the next one: all requests to v2.
  put(canary_yaml(0, 100));
  start_control();
  EXPECT_TRUE(wait_until(kLimit, [&] {
    for (int i = 0; i < 20; ++i) {
      if (curl(client_, {"--max-time", "2", str_cat("http://", kProductV4, "/")}).output.find("v2") ==
          std::string::npos)
        return false;
    }
    return true;
  })) << mesh_->log();
  EXPECT_THAT(mesh_->metrics(), HasSubstr("\nweft_control_connected 1\n"));

  // A new proxy has no certificates, and this agent no authority: weft-control signs.
  ASSERT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok());
  EXPECT_TRUE(cli_shows({"cert", "list"}, "spiffe://cluster.local/ns/default/sa/default")) << mesh_->log();
  EXPECT_EQ(mesh_->cli({"cert", "rotate", "--all"}).exit_code, 0);
  const CommandResult root = mesh_->cli({"cert", "rotate", "--root"});
  EXPECT_NE(root.exit_code, 0);
  EXPECT_THAT(str_cat(root.output, root.errors), HasSubstr("the root is not this node's"));
}

TEST_F(ControlTest, AnAgentWithABadTokenDoesNotStartAndSaysWhyWhileTrafficGoesOn) {
  write(folder_ + "/token", "nobody");
  configure_by_control();
  ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  const absl::Status refused = mesh_->start_agent();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the token is not valid"));
  EXPECT_NE(mesh_->stop_agent(), 0) << "it never started";
  EXPECT_TRUE(reachable(kProductV4)) << "captured, and nobody tells";
}

}  // namespace
}  // namespace weft::harness
