// Whether the agent's DaemonSet is gone: only when the server said so of one that was there.
#include "control-plane/kubernetes/own_daemonset.h"

#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "tests/harness/wait.h"
#include "tests/unit/kubernetes/source_fixture.h"

namespace weft::control_plane::test {
namespace {

constexpr char kNamespaces[] = "/api/v1/namespaces";
constexpr char kDaemonSets[] = "/apis/apps/v1/namespaces/weft-system/daemonsets";

Json daemonset() {
  return {{"apiVersion", "apps/v1"},
          {"kind", "DaemonSet"},
          {"metadata", {{"namespace", "weft-system"}, {"name", "weft-agent"}}},
          {"spec", {{"template", Json::object()}}}};
}

Json ns(const char* name, bool ending) {
  Json out{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}};
  if (ending) out["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  return out;
}

class OwnDaemonSetTest : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    server_.install(kDaemonSets);
    options_.own_namespace = "weft-system";
    options_.own_daemonset = "weft-agent";
  }
  // Started, and the DaemonSet was read.
  void start_there() {
    server_.put(kDaemonSets, daemonset());
    start_and_wait();
    ASSERT_TRUE(report_says([&](const SourceReport&) { return counts("DaemonSet").objects == 1; }));
  }
  bool becomes(bool uninstalled) {
    return report_says([&](const SourceReport&) { return source_->uninstalled() == uninstalled; });
  }
  bool is_answered() {
    return report_says([&](const SourceReport&) { return source_->answered(); });
  }
  // Lists of the collection are answered, watches of it hear nothing.
  void keep_quiet_of(std::string_view collection) {
    server_.set_streams_lists(false);
    server_.set_script([collection](const Request& request) -> std::optional<Reply> {
      if (request.path != collection || !request.is_watch() || request.streams_list()) return std::nullopt;
      return Reply{.body = "", .hang = true};
    });
  }
  // A Service that came after whatever happened to the DaemonSet: all watches have had their turn.
  void let_the_source_turn() {
    server_.put(kServices, service("later"));
    ASSERT_TRUE(holds("Service shop/later"));
  }
};

TEST_F(OwnDaemonSetTest, AskedForByItsNameInItsNamespaceAndNothingElse) {
  start_there();
  for (const Request& request : server_.requests(kDaemonSets))
    EXPECT_EQ(request.value("fieldSelector"), "metadata.name=weft-agent");
}

TEST_F(OwnDaemonSetTest, DeletedMeansUninstalledAndMadeAgainDoesNot) {
  start_there();
  EXPECT_FALSE(source_->uninstalled());
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  EXPECT_TRUE(becomes(true));
  server_.put(kDaemonSets, daemonset());
  EXPECT_TRUE(becomes(false));
}

// kubectl delete --cascade=foreground: the pods are told to end while it is still there.
TEST_F(OwnDaemonSetTest, OneThatIsBeingDeletedIsDeleted) {
  start_there();
  Json ending = daemonset();
  ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  server_.put(kDaemonSets, ending);
  EXPECT_TRUE(becomes(true));
  server_.put(kDaemonSets, daemonset());
  EXPECT_TRUE(becomes(false));
}

TEST_F(OwnDaemonSetTest, OneWhoseNamespaceIsBeingDeletedIsDeleted) {
  server_.put(kNamespaces, ns("weft-system", false));
  start_there();
  server_.put(kNamespaces, ns("shop", true));
  ASSERT_TRUE(holds("Namespace shop"));
  EXPECT_FALSE(source_->uninstalled()) << "another namespace";
  server_.put(kNamespaces, ns("weft-system", true));
  EXPECT_TRUE(becomes(true));
}

TEST_F(OwnDaemonSetTest, OneThatNobodySawIsNotDeleted) {
  start_and_wait();
  ASSERT_TRUE(report_says([&](const SourceReport&) { return counts("DaemonSet").lists == 1; }));
  EXPECT_FALSE(source_->uninstalled());
  server_.put(kDaemonSets, daemonset());
  ASSERT_TRUE(report_says([&](const SourceReport&) { return counts("DaemonSet").objects == 1; }));
  EXPECT_FALSE(source_->uninstalled());
}

TEST_F(OwnDaemonSetTest, AServerThatRefusesOrKnowsNoneOrIsAwayIsADoubt) {
  start_there();
  for (const int status : {403, 404, 500}) {
    server_.set_script([status](const Request& request) -> std::optional<Reply> {
      if (request.path != kDaemonSets) return std::nullopt;
      return Reply{.status = status, .body = "{}"};
    });
    const size_t before = server_.count(kDaemonSets, any);
    server_.end_watches();
    ASSERT_TRUE(server_.wait_for(kDaemonSets, before + 3, any)) << status;
    EXPECT_FALSE(source_->uninstalled()) << status;
    if (status == 500) continue;
    EXPECT_TRUE(report_says([](const SourceReport& report) {
      return !report.problems.empty() &&
             report.problems.back().find("an uninstall will not be noticed") != std::string::npos;
    })) << status;
  }
}

TEST_F(OwnDaemonSetTest, AskedAnewItStaysAsLongAsItIsThere) {
  start_there();
  EXPECT_FALSE(source_->answered());
  for (int i = 0; i < 2; ++i) {
    source_->ask_anew();
    EXPECT_TRUE(is_answered());
    EXPECT_FALSE(source_->uninstalled());
  }
}

// The order to end overtook the watch's news.
TEST_F(OwnDaemonSetTest, AskedAnewItIsGoneWhateverTheWatchHasNotSaidYet) {
  keep_quiet_of(kDaemonSets);
  start_there();
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  let_the_source_turn();
  EXPECT_FALSE(source_->uninstalled());
  source_->ask_anew();
  EXPECT_TRUE(is_answered());
  EXPECT_TRUE(source_->uninstalled());
}

TEST_F(OwnDaemonSetTest, AskedAnewItIsGoneWithItsNamespace) {
  keep_quiet_of(kNamespaces);
  server_.put(kNamespaces, ns("weft-system", false));
  start_there();
  server_.put(kNamespaces, ns("weft-system", true));
  let_the_source_turn();
  EXPECT_FALSE(source_->uninstalled());
  source_->ask_anew();
  EXPECT_TRUE(is_answered());
  EXPECT_TRUE(source_->uninstalled());
}

TEST_F(OwnDaemonSetTest, AskedAnewAServerThatIsAwayAnswersWhenItIsBack) {
  keep_quiet_of(kDaemonSets);
  start_there();
  server_.set_script([](const Request&) { return Reply{.status = 503, .body = "{}"}; });
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  const size_t before = server_.count(kDaemonSets, any);
  source_->ask_anew();
  ASSERT_TRUE(server_.wait_for(kDaemonSets, before + 2, any));
  EXPECT_FALSE(source_->answered());
  keep_quiet_of(kDaemonSets);
  EXPECT_TRUE(is_answered());
  EXPECT_TRUE(source_->uninstalled());
}

// The rights went with the DaemonSet: the watch that stands still tells.
TEST_F(OwnDaemonSetTest, AskedAnewAndRefusedIsNoAnswer) {
  start_there();
  server_.set_script([](const Request& request) -> std::optional<Reply> {
    if (request.path != kDaemonSets) return std::nullopt;
    return Reply{.status = 403, .body = "{}"};
  });
  const size_t before = server_.count(kDaemonSets, any);
  source_->ask_anew();
  ASSERT_TRUE(server_.wait_for(kDaemonSets, before + 3, any));
  EXPECT_FALSE(source_->answered());
  EXPECT_FALSE(source_->uninstalled());
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  EXPECT_TRUE(becomes(true));
}

TEST_F(OwnDaemonSetTest, IsAskedForSoonerThanOtherKindsAre) {
  options_.timing.longest_retry = std::chrono::hours(1);
  options_.own_longest_retry = std::chrono::milliseconds(20);
  start_there();
  server_.set_script([](const Request&) { return Reply{.status = 503, .body = "{}"}; });
  const size_t before = server_.count(kDaemonSets, any);
  server_.end_watches();
  // By doubling from five milliseconds it would take minutes.
  EXPECT_TRUE(server_.wait_for(kDaemonSets, before + 16, any));
}

TEST_F(OwnDaemonSetTest, WhatWasDeletedWhileTheServerWasAwayIsSeenAfterwards) {
  start_there();
  server_.stop();
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  server_.compact();
  server_.start();
  EXPECT_TRUE(becomes(true));
}

TEST_F(OwnDaemonSetTest, OtherSourcesAskForNone) {
  options_.own_daemonset.clear();
  start_and_wait();
  let_the_source_turn();
  EXPECT_EQ(server_.count(kDaemonSets, any), 0u);
  EXPECT_FALSE(source_->uninstalled());
}

// An agent whose configuration comes from weft-control reads this and nothing else.
class DaemonSetWatchTest : public OwnDaemonSetTest {
 protected:
  void SetUp() override {
    OwnDaemonSetTest::SetUp();
    server_.set_streams_lists(false);
    server_.put(kDaemonSets, daemonset());
    server_.put(kNamespaces, ns("weft-system", false));
    auto watch =
        watch_own_daemonset(ApiAccess{.server = server_.url(), .token = "t"}, "weft-system/weft-agent");
    ASSERT_TRUE(watch.ok()) << watch.status();
    watch_ = *std::move(watch);
  }
  std::unique_ptr<DaemonSetWatch> watch_;
};

TEST_F(DaemonSetWatchTest, SeesThatItIsDeletedAndAsksForNothingElse) {
  // The list has been read by then.
  ASSERT_TRUE(server_.wait_for(kDaemonSets, 1, is_plain_watch));
  EXPECT_FALSE(watch_->uninstalled());
  server_.remove(kDaemonSets, "weft-system", "weft-agent");
  EXPECT_TRUE(harness::wait_until(std::chrono::seconds(20), [&] { return watch_->uninstalled(); }));
  EXPECT_TRUE(watch_->problems().empty());
  for (const Request& request : server_.requests(kNamespaces))
    EXPECT_EQ(request.value("fieldSelector"), "metadata.name=weft-system");
  EXPECT_EQ(server_.count(kServices, any), 0U);
  EXPECT_EQ(server_.count("/api/v1/pods", any), 0U);
  for (const char* ns : {"istio-system", "weft-system"})
    EXPECT_EQ(server_.count(str_cat("/api/v1/namespaces/", ns, "/configmaps"), any), 0U) << ns;
}

TEST_F(DaemonSetWatchTest, ANameThatIsNoneIsRefused) {
  EXPECT_EQ(
      watch_own_daemonset(ApiAccess{.server = server_.url(), .token = "t"}, "weft-agent").status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace weft::control_plane::test
