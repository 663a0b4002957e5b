// What `weft check --cluster` says about a cluster: one row for each question, and a next step for each that
// has no good answer.
#include "control-plane/kubernetes/cluster_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "control-plane/kubernetes/kinds.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Result = ClusterCheck::Result;

constexpr char kReviews[] = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

Json daemonset(const std::string& name, int wanted, int ready) {
  return {
      {"metadata",
       {{"name", name}, {"namespace", "weft-system"}, {"labels", {{"app.kubernetes.io/version", "0.1.0"}}}}},
      {"spec",
       {{"template", {{"spec", {{"volumes", {{{"name", "authority"}, {"hostPath", Json::object()}}}}}}}}}},
      {"status",
       {{"desiredNumberScheduled", wanted}, {"numberReady", ready}, {"updatedNumberScheduled", wanted}}}};
}

Json node(const std::string& name, const std::string& kernel, const std::string& system = "linux") {
  return {{"metadata", {{"name", name}}},
          {"status", {{"nodeInfo", {{"operatingSystem", system}, {"kernelVersion", kernel}}}}}};
}

// A cluster in which all is well; tests spoil one thing.
class ClusterCheckTest : public testing::Test {
 protected:
  void SetUp() override {
    answers_["/version"] = {{"gitVersion", "v1.34.4"}};
    answers_["/api/v1/namespaces/weft-system"] = {{"metadata", {{"name", "weft-system"}}}};
    answers_["/api/v1/namespaces"] = {
        {"items", {{{"metadata", {{"name", "shop"}, {"labels", {{"weft.dev/mesh", "enabled"}}}}}}}}};
    answers_["/api/v1/nodes"] = {{"items", {node("n1", "6.8.0-49-generic"), node("w1", "10.0", "windows")}}};
    answers_[kDaemonSets + "weft-agent"] = daemonset("weft-agent", 1, 1);
    answers_[kDaemonSets + "weft-proxy"] = daemonset("weft-proxy", 1, 1);
    Json rules = Json::array();
    for (const KubernetesKind& kind : kubernetes_kinds()) {
      rules.push_back(
          {{"apiGroups", {kind.group}}, {"resources", {kind.plural}}, {"verbs", {"list", "watch"}}});
      if (kind.may_be_missing)
        answers_["/apis/" + kind.api_version(0)]["resources"].push_back({{"name", kind.plural}});
    }
    rules.push_back({{"apiGroups", {""}},
                     {"resources", {"configmaps"}},
                     {"resourceNames", {"istio"}},
                     {"verbs", {"list", "watch"}}});
    answers_[kRole] = {{"rules", rules}};
    std::ofstream(folder_.file("config")) << "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: "
                                             "[{name: c, context: {cluster: c, user: u}}]\n"
                                             "clusters: [{name: c, cluster: {server: '"
                                          << server_.url() << "'}}]\nusers: [{name: u, user: {token: t}}]\n";
    server_.set_script([this](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
      if (request.path == kReviews) {
        const Json asked = Json::parse(request.body).at("spec").at("resourceAttributes");
        const bool allowed =
            asked.at("verb").get<std::string>() + " " + asked.at("resource").get<std::string>() != denied_;
        return FakeApiServer::Reply{.status = 201, .body = Json{{"status", {{"allowed", allowed}}}}.dump()};
      }
      const auto found = answers_.find(request.path);
      if (found == answers_.end()) return FakeApiServer::Reply{.status = 404, .body = "{}"};
      return FakeApiServer::Reply{.body = found->second.dump()};
    });
  }
  void TearDown() override { server_.stop(); }

  std::vector<ClusterCheck> check(bool before = false) {
    return check_cluster(
        {.kubeconfig = folder_.file("config"), .context = "", .version = "0.1.3", .before = before});
  }
  // The only row that is no success.
  ClusterCheck problem(bool before = false) {
    std::vector<ClusterCheck> bad;
    for (ClusterCheck& row : check(before)) {
      EXPECT_EQ(row.result == Result::kSuccess, row.error.empty()) << row.id;
      EXPECT_EQ(row.hint.empty(), row.error.empty()) << row.id;
      if (!row.error.empty()) bad.push_back(std::move(row));
    }
    EXPECT_EQ(bad.size(), 1u) << testing::PrintToString(bad.size());
    return bad.empty() ? ClusterCheck() : bad.front();
  }
  static std::vector<std::string> ids(const std::vector<ClusterCheck>& rows) {
    std::vector<std::string> out;
    for (const ClusterCheck& row : rows) out.push_back(row.id + (row.error.empty() ? "" : " " + row.error));
    return out;
  }

  const std::string kDaemonSets = "/apis/apps/v1/namespaces/weft-system/daemonsets/";
  const std::string kRole = "/apis/rbac.authorization.k8s.io/v1/clusterroles/weft-agent";
  const ::weft::test::ScratchFolder folder_;
  std::map<std::string, Json> answers_;
  std::string denied_;
  FakeApiServer server_;
};

TEST_F(ClusterCheckTest, AWellClusterHasOnlyGoodRows) {
  EXPECT_THAT(ids(check()), testing::ElementsAre("P-01", "P-02", "P-04", "P-04", "P-05", "M-01", "M-02",
                                                 "M-03", "M-04", "M-05", "M-06"));
  EXPECT_THAT(ids(check(true)), testing::ElementsAre("P-01", "P-02", "P-03", "P-04", "P-04", "P-05", "P-06"));
}

TEST_F(ClusterCheckTest, AServerThatIsAwayIsTheOnlyRow) {
  server_.stop();
  const std::vector<ClusterCheck> rows = check();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].result, Result::kError);
  EXPECT_THAT(rows[0].hint, HasSubstr("kubectl get --raw /version"));
}

TEST_F(ClusterCheckTest, AKubeconfigThatIsNotThereAndANamespaceThatIsNoneAreToldAsSuch) {
  const auto none = check_cluster({.kubeconfig = "/nowhere", .context = "", .version = "0.1.0"});
  ASSERT_EQ(none.size(), 1u);
  EXPECT_THAT(none[0].error, HasSubstr("/nowhere"));
  const auto path = check_cluster(
      {.kubeconfig = folder_.file("config"), .context = "", .ns = "../secrets", .version = "0.1.0"});
  ASSERT_EQ(path.size(), 1u);
  EXPECT_THAT(path[0].error, HasSubstr("no name of a namespace"));
}

TEST_F(ClusterCheckTest, OldClustersAndOldKernelsAreNamed) {
  answers_["/version"] = {{"gitVersion", "v1.29.1"}};
  EXPECT_EQ(problem().id, "P-02");
  answers_["/version"] = {{"gitVersion", "v1.30.0-eks"}};
  answers_["/api/v1/nodes"]["items"].push_back(node("old", "5.10.0-32"));
  const ClusterCheck row = problem();
  EXPECT_EQ(row.id, "P-05");
  EXPECT_THAT(row.error, HasSubstr("old (5.10.0-32)"));
}

TEST_F(ClusterCheckTest, AllPagesOfNodesAreRead) {
  answers_["/api/v1/nodes"]["metadata"]["continue"] = "a/b+";
  // The second page is the first again, for ever: a server that does so is not believed beyond its word.
  size_t pages = 0;
  const auto answers = answers_;
  server_.set_script(
      [&pages, answers](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
        auto found = answers.find(request.path);
        if (found == answers.end()) return FakeApiServer::Reply{.status = 404, .body = "{}"};
        Json body = found->second;
        if (request.path == "/api/v1/nodes") {
          ++pages;
          if (request.value("continue") == "a/b+") body = {{"items", {node("old", "4.19.0")}}};
        }
        return FakeApiServer::Reply{.body = body.dump()};
      });
  EXPECT_THAT(problem().error, HasSubstr("old (4.19.0)"));
  EXPECT_EQ(pages, 2u);
}

TEST_F(ClusterCheckTest, MissingDefinitionsSayWhoseTheyAre) {
  answers_.erase("/apis/security.istio.io/v1");
  const ClusterCheck row = problem(true);
  EXPECT_EQ(row.id, "P-04");
  EXPECT_EQ(row.result, Result::kWarning);
  EXPECT_THAT(row.error,
              HasSubstr("authorizationpolicies.security.istio.io, peerauthentications.security.istio.io"));
  answers_["/apis/security.istio.io/v1beta1"]["resources"] = {{{"name", "authorizationpolicies"}},
                                                              {{"name", "peerauthentications"}},
                                                              {{"name", "requestauthentications"}}};
  EXPECT_THAT(ids(check(true)), testing::Each(testing::Not(HasSubstr(" "))));
}

TEST_F(ClusterCheckTest, ARightThatTheCallerLacksIsNamed) {
  denied_ = "create clusterroles";
  EXPECT_EQ(problem(true).error, "you may not create clusterroles.rbac.authorization.k8s.io");
  denied_ = "watch endpointslices";
  EXPECT_EQ(problem(true).error, "you may not watch endpointslices.discovery.k8s.io");
  denied_ = "watch configmaps";
  EXPECT_EQ(problem(true).error, "you may not watch configmaps") << "of the MeshConfig, in two namespaces";
}

TEST_F(ClusterCheckTest, WhoMayNotInstallWeftControlMayInstallTheRest) {
  for (const char* right : {"create deployments", "create tokenreviews", "patch virtualservices"}) {
    denied_ = right;
    const ClusterCheck row = problem(true);
    EXPECT_EQ(row.id, "P-03");
    EXPECT_EQ(row.result, Result::kWarning);
    EXPECT_THAT(
        row.error,
        HasSubstr(std::string("without weft-control (control.enabled), for which you may not ") + right));
  }
}

TEST_F(ClusterCheckTest, PodSecurityThatForbidsTheAgentIsFoundBeforeItDoes) {
  answers_["/api/v1/namespaces/weft-system"]["metadata"]["labels"] = {
      {"pod-security.kubernetes.io/enforce", "restricted"}};
  EXPECT_THAT(problem(true).hint, HasSubstr("pod-security.kubernetes.io/enforce=privileged"));
  answers_.erase("/api/v1/namespaces/weft-system");
  EXPECT_THAT(ids(check(true)), testing::Contains("P-06"));
}

TEST_F(ClusterCheckTest, PodsThatAreNotReadySayWhy) {
  answers_[kDaemonSets + "weft-agent"] = daemonset("weft-agent", 3, 2);
  answers_["/api/v1/namespaces/weft-system/pods"] = {
      {"items",
       {{{"metadata", {{"name", "weft-agent-abc"}}},
         {"spec", {{"nodeName", "n3"}}},
         {"status",
          {{"containerStatuses",
            {{{"ready", false},
              {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}}}}},
              {"lastState", {{"terminated", {{"message", "no bpffs\nmore"}}}}}}}}}}}}}};
  std::vector<std::string> rows = ids(check());
  EXPECT_THAT(rows,
              testing::Contains("M-01 2 of 3 are ready; weft-agent-abc on n3: CrashLoopBackOff: no bpffs"));
}

// An image that does not start, while the rollout is at the first of three nodes.
TEST_F(ClusterCheckTest, ARolloutThatHasStoppedNamesTheNodeAndTheWayBack) {
  answers_[kDaemonSets + "weft-agent"] = daemonset("weft-agent", 3, 2);
  answers_[kDaemonSets + "weft-agent"]["status"]["updatedNumberScheduled"] = 1;
  answers_[kDaemonSets + "weft-proxy"] = daemonset("weft-proxy", 3, 2);
  const auto pod = [](const char* name, const char* node, const Json& state) {
    return Json{{"metadata", {{"name", name}}},
                {"spec", {{"nodeName", node}}},
                {"status", {{"containerStatuses", {{{"ready", false}, {"state", state}}}}}}};
  };
  const Json bad{{"waiting", {{"reason", "ErrImagePull"}, {"message", "no such image"}}}};
  const Json running{{"running", Json::object()}};
  answers_["/api/v1/namespaces/weft-system/pods"] = {
      {"items", {pod("weft-agent-a", "n1", running), pod("weft-agent-b", "n2", bad)}}};
  const auto error_of = [this](const std::string& id) {
    for (const ClusterCheck& each : check()) {
      if (each.id == id) return each.error;
    }
    return std::string();
  };
  const std::vector<ClusterCheck> rows = check();
  const auto row = [&rows](const std::string& id) {
    return *std::find_if(rows.begin(), rows.end(), [&](const ClusterCheck& each) { return each.id == id; });
  };
  EXPECT_EQ(
      row("M-01").error,
      "2 of 3 are ready; weft-agent-b on n2: ErrImagePull: no such image; the rollout has stopped there: "
      "2 nodes keep the version before, and what is captured is served on all");
  EXPECT_EQ(
      row("M-01").hint,
      "helm rollback weft -n weft-system --wait; why it does not start: kubectl -n weft-system describe "
      "pod weft-agent-b");
  // A proxy that waits for its agent is not what is to be mended.
  answers_["/api/v1/namespaces/weft-system/pods"]["items"][1] = pod("weft-agent-b", "n2", running);
  const std::vector<ClusterCheck> waiting = check();
  const auto proxy = std::find_if(waiting.begin(), waiting.end(),
                                  [](const ClusterCheck& each) { return each.id == "M-02"; });
  EXPECT_THAT(proxy->hint, HasSubstr("mend M-01 first"));
  const auto agent = std::find_if(waiting.begin(), waiting.end(),
                                  [](const ClusterCheck& each) { return each.id == "M-01"; });
  EXPECT_THAT(agent->hint, HasSubstr("kubectl -n weft-system describe pods")) << "it may become ready";
  // Also where it was started anew some time ago.
  Json& of_it = answers_["/api/v1/namespaces/weft-system/pods"]["items"][1]["status"]["containerStatuses"][0];
  of_it["lastState"] = {{"terminated", {{"exitCode", 1}}}};
  EXPECT_THAT(error_of("M-01"), Not(HasSubstr("the rollout has stopped")));
  of_it["state"] = {{"terminated", {{"exitCode", 1}}}};
  EXPECT_THAT(error_of("M-01"), HasSubstr("the rollout has stopped"));
}

TEST_F(ClusterCheckTest, ADaemonSetThatIsBeingDeletedIsTold) {
  answers_[kDaemonSets + "weft-agent"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  const ClusterCheck row = problem();
  EXPECT_EQ(row.id, "M-01");
  EXPECT_THAT(row.error, HasSubstr("it is being deleted"));
}

TEST_F(ClusterCheckTest, WhatIsNotInstalledIsNotCheckedFurther) {
  answers_.erase(kDaemonSets + "weft-proxy");
  const ClusterCheck row = problem();
  EXPECT_EQ(row.id, "M-02");
  EXPECT_THAT(row.hint, HasSubstr("weft install -n weft-system"));
}

TEST_F(ClusterCheckTest, VersionsThatDifferAndRolloutsUnderWayAreTold) {
  answers_[kDaemonSets + "weft-proxy"]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.2.0";
  EXPECT_EQ(problem().error, "agents 0.1.0, proxies 0.2.0");
  answers_[kDaemonSets + "weft-agent"]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.2.0";
  EXPECT_EQ(problem().error, "the cluster has 0.2.0, this is 0.1.3");
  SetUp();
  answers_[kDaemonSets + "weft-agent"]["status"]["updatedNumberScheduled"] = 0;
  EXPECT_EQ(problem().error, "weft-agent: 0 of 1 nodes have the newest version");
}

TEST_F(ClusterCheckTest, ARightThatTheAgentsLackIsNamed) {
  Json& named = answers_[kRole]["rules"].back()["resourceNames"];
  named = {"other"};
  EXPECT_EQ(problem().error, "ClusterRole weft-agent does not grant list configmaps, watch configmaps");
  named = {"istio"};
  answers_[kRole]["rules"].erase(2);  // pods
  EXPECT_EQ(problem().error, "ClusterRole weft-agent does not grant list pods, watch pods");
  answers_.erase(kRole);
  EXPECT_EQ(problem().hint, "weft upgrade");
}

TEST_F(ClusterCheckTest, NodesWithRootsOfTheirOwnAndAnEmptyMeshAreWarnings) {
  answers_[kDaemonSets + "weft-agent"] = daemonset("weft-agent", 2, 2);
  EXPECT_EQ(problem().id, "M-05");
  Json& volume = answers_[kDaemonSets + "weft-agent"]["spec"]["template"]["spec"]["volumes"][0];
  volume = {{"name", "authority"}, {"secret", {{"secretName", "weft-ca"}}}};
  answers_["/api/v1/namespaces"] = {{"items", Json::array()}};
  const ClusterCheck row = problem();
  EXPECT_EQ(row.id, "M-06");
  EXPECT_EQ(row.result, Result::kWarning);
}

TEST_F(ClusterCheckTest, AnswersOfAnyShapeEndInRows) {
  for (const Json& odd :
       {Json::object(), Json{{"items", 3}}, Json{{"items", {1, nullptr, "x"}}},
        Json{{"status", "x"}, {"rules", {1}}, {"resources", {1}}, {"metadata", 1}, {"spec", 2}}}) {
    for (auto& [path, answer] : answers_) {
      if (path != "/version") answer = odd;
    }
    for (const ClusterCheck& row : check()) EXPECT_EQ(row.error.empty(), row.hint.empty());
    EXPECT_FALSE(check(true).empty());
  }
}

// The same cluster with agents that ask weft-control.
class ControlledClusterTest : public ClusterCheckTest {
 protected:
  void SetUp() override {
    ClusterCheckTest::SetUp();
    answers_[kDaemonSets + "weft-agent"]["spec"]["template"]["spec"] = {
        {"containers", {{{"args", {"--control-plane=weft-control.weft-system.svc:15012"}}}}}};
    // Agents may read nothing; that is as it should be.
    answers_[kRoles + "weft-control"] = answers_[kRole];
    answers_[kRole] = {{"rules", Json::array()}};
    answers_[kControl] = {{"metadata", {{"labels", {{"app.kubernetes.io/version", "0.1.0"}}}}},
                          {"spec", {{"replicas", 2}}},
                          {"status", {{"readyReplicas", 2}}}};
  }
  const std::string kRoles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/";
  const std::string kControl = "/apis/apps/v1/namespaces/weft-system/deployments/weft-control";
};

TEST_F(ControlledClusterTest, IsWellWithAgentsThatMayReadNothing) {
  EXPECT_THAT(ids(check()), testing::ElementsAre("P-01", "P-02", "P-04", "P-04", "P-05", "M-01", "M-02",
                                                 "M-03", "M-04", "M-07", "M-06"));
}

TEST_F(ControlledClusterTest, OneReplicaIsEnoughAndNoneIsNot) {
  answers_[kControl]["status"]["readyReplicas"] = 1;
  EXPECT_EQ(problem().id, "M-07");
  EXPECT_EQ(problem().result, Result::kWarning);
  EXPECT_THAT(problem().error, HasSubstr("1 of 2 are ready"));
  answers_[kControl]["status"].clear();
  EXPECT_EQ(problem().result, Result::kError);
  EXPECT_THAT(problem().hint, HasSubstr("app.kubernetes.io/component=control"));
  answers_.erase(kControl);
  EXPECT_THAT(problem().error, HasSubstr("it is not there"));
  EXPECT_THAT(problem().hint, HasSubstr("--set control.enabled=true"));
}

TEST_F(ControlledClusterTest, AnOtherVersionAndARightThatIsMissingAreTold) {
  answers_[kControl]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.0.9";
  EXPECT_THAT(problem().error, HasSubstr("it is 0.0.9, agents 0.1.0"));
  answers_[kControl]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.1.0";
  answers_[kRoles + "weft-control"]["rules"].erase(0);
  EXPECT_EQ(problem().id, "M-04");
  EXPECT_THAT(problem().error, HasSubstr("ClusterRole weft-control does not grant list namespaces"));
}

}  // namespace
}  // namespace weft::control_plane::test
