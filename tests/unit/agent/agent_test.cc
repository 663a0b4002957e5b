// A whole agent over fakes for the kernel and the control plane: order of effects, admin answers, metrics,
// health, restart.
#include "agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "agent/admin/checks.h"
#include "base/fd_passing.h"
#include "bpf/abi/constants.h"
#include "proto/weft/handover/v1/handover.pb.h"
#include "tests/unit/agent/agent_world.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

using AgentTest = AgentWorld;

TEST_F(AgentTest, AdditionsReachTheProxyBeforeTheKernelAndRemovalsAfterIt) {
  control_plane::Change change;
  change.generation = 2;
  change.upserted = {{control_plane::kRouteSetType, "a/b", "1", ""}};
  change.removed = {{control_plane::kRouteSetType, "a/c"}};
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true}};
  subscriber_(change);
  EXPECT_EQ(status().config_generation(), 2u);
  EXPECT_THAT(journal_.all(), ::testing::ElementsAre("publish +0 -0", "destinations", "publish +1 -0",
                                                     "destinations", "enroll /ns/web", "publish +0 -1"));
}

TEST_F(AgentTest, EnrolmentSurvivesARestartAndUnenrolmentIsForgotten) {
  ASSERT_TRUE(enroll("shop/web", "/ns/web").ok());
  EXPECT_EQ(status().pods_captured(), 1u);
  agent_.reset();
  start();
  EXPECT_EQ(status().pods_captured(), 1u);
  ASSERT_TRUE(unenroll("/ns/web").ok());
  EXPECT_THAT(journal_.all(), Contains("unenroll /ns/web"));
  agent_.reset();
  start();
  EXPECT_EQ(status().pods_eligible(), 0u);
}

TEST_F(AgentTest, FailedEnrolmentLeavesNothingBehindAndSaysWhatToDo) {
  const grpc::Status missing = enroll("shop/web", "/ns/missing");
  EXPECT_EQ(missing.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(missing.error_message(), HasSubstr("next: "));
  EXPECT_EQ(status().pods_eligible(), 0u);
  EXPECT_EQ(enroll("a/b/c", "/ns/web").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(unenroll("shop/nobody").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AgentTest, PodThatLeftTheManifestWhileNoAgentRanIsReleased) {
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true}};
  subscriber_(change);
  EXPECT_EQ(status().pods_captured(), 1u);
  agent_.reset();
  start();
  EXPECT_EQ(status().pods_captured(), 0u);
  EXPECT_THAT(journal_.all(), Contains("unenroll /ns/web"));
}

TEST_F(AgentTest, WhereTokensCountTheProxyReadsPlainConnectionsThoughNoPolicyAsks) {
  mesh::v1::RequestAuthentication rules;
  rules.set_namespace_("shop");
  rules.add_rules()->set_issuer("iss");
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true},
      {.uid = "v", .ns = "other", .name = "web", .netns_path = "/ns/other", .wants_capture = true}};
  change.upserted = {{control_plane::kAuthenticationType, "shop/r", "1", rules.SerializeAsString()}};
  subscriber_(change);
  EXPECT_EQ(status().pods_captured(), 2u);
  const auto seen = [this](const char* path) {
    const std::lock_guard lock(dataplane_->mutex);
    const InboundPolicy& policy = dataplane_->policies[dataplane_->cookies[path]];
    EXPECT_FALSE(policy.deny_all || policy.rules);
    const NamespacePlan& plan = dataplane_->plans[path];
    EXPECT_EQ(plan.inspected, policy.inspect) << "listeners and the kernel's flag";
    EXPECT_EQ(plan.fail_closed, policy.inspect) << "without a proxy nobody looks";
    return policy.inspect;
  };
  EXPECT_TRUE(seen("/ns/web"));
  EXPECT_FALSE(seen("/ns/other"));
  change.generation = 3;
  change.upserted = {};
  change.removed = {{control_plane::kAuthenticationType, "shop/r"}};
  subscriber_(change);
  EXPECT_EQ(status().config_generation(), 3u);
  EXPECT_FALSE(seen("/ns/web"));
}

TEST_F(AgentTest, APolicyThatHasNotComeRefusesNewConnectionsInTheKernelAndEndsNone) {
  const auto workload = [](const char* name) {
    istio::workload::Address address;
    address.mutable_workload()->set_uid(name);
    address.mutable_workload()->set_name(name);
    address.mutable_workload()->set_namespace_("shop");
    address.mutable_workload()->add_authorization_policies("shop/late");
    return control_plane::Resource(control_plane::kAddressType, name, "1", address.SerializeAsString());
  };
  using FailMode = control_plane::LocalPod::FailMode;
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "u", .netns_path = "/ns/web", .wants_capture = true},
      {.uid = "v", .ns = "shop", .name = "v", .netns_path = "/ns/other", .wants_capture = true}};
  change.local_pods[1].fail_mode = FailMode::kOpen;
  subscriber_(change);
  EXPECT_EQ(status().pods_captured(), 2u);
  {
    const std::lock_guard lock(dataplane_->mutex);
    const InboundConnection open{.local = *SocketAddress::parse("10.0.0.1:80"),
                                 .remote = *SocketAddress::parse("10.0.0.2:4000")};
    for (const auto& [path, cookie] : dataplane_->cookies) dataplane_->inbound[cookie] = {open};
  }
  change.generation = 3;
  change.upserted = {workload("u"), workload("v")};
  subscriber_(change);
  EXPECT_EQ(status().config_generation(), 3u);
  const auto policy = [this](const char* path) {
    const std::lock_guard lock(dataplane_->mutex);
    return dataplane_->policies[dataplane_->cookies[path]];
  };
  EXPECT_TRUE(policy("/ns/web").deny_all);
  EXPECT_FALSE(policy("/ns/other").deny_all) << "it declares that it fails open";
  {
    const std::lock_guard lock(dataplane_->mutex);
    EXPECT_TRUE(dataplane_->plans["/ns/web"].fail_closed);
    EXPECT_EQ(dataplane_->closed, 0u) << "nobody knows yet what the policy says of open connections";
  }
  grpc::ClientContext asked;
  admin::v1::CheckReport report;
  ASSERT_TRUE(stub_->Check(&asked, {}, &report).ok());
  EXPECT_THAT(report.DebugString(), HasSubstr("policy shop/late has not come"));
  istio::security::Authorization late;
  late.set_name("late");
  late.set_namespace_("shop");
  late.set_scope(istio::security::WORKLOAD_SELECTOR);
  late.set_action(istio::security::ALLOW);
  change.generation = 4;
  change.upserted = {{control_plane::kAuthorizationType, "shop/late", "1", late.SerializeAsString()}};
  subscriber_(change);
  EXPECT_EQ(status().config_generation(), 4u);
  EXPECT_FALSE(policy("/ns/web").deny_all);
  EXPECT_TRUE(policy("/ns/web").rules.has_value());
  const std::lock_guard lock(dataplane_->mutex);
  EXPECT_EQ(dataplane_->closed, 2u) << "it allows nobody";
}

// What another of its policies says counts meanwhile for the connections that stay.
TEST_F(AgentTest, WhileAPolicyIsMissingAChangeOfAnotherStillEndsWhatItForbids) {
  istio::workload::Address address;
  address.mutable_workload()->set_uid("u");
  address.mutable_workload()->set_name("u");
  address.mutable_workload()->set_namespace_("shop");
  for (const char* name : {"shop/known", "shop/late"})
    address.mutable_workload()->add_authorization_policies(name);
  istio::security::Authorization known;
  known.set_name("known");
  known.set_namespace_("shop");
  known.set_scope(istio::security::WORKLOAD_SELECTOR);
  known.add_rules();  // it allows everybody
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "u", .netns_path = "/ns/web", .wants_capture = true}};
  subscriber_(change);
  EXPECT_EQ(status().pods_captured(), 1u);
  {
    const std::lock_guard lock(dataplane_->mutex);
    dataplane_->inbound[dataplane_->cookies["/ns/web"]] = {
        {.local = *SocketAddress::parse("10.0.0.1:80"), .remote = *SocketAddress::parse("10.0.0.2:4000")}};
  }
  const auto closed_with = [&](uint64_t generation) {
    change.generation = generation;
    change.upserted = {{control_plane::kAddressType, "u", "1", address.SerializeAsString()},
                       {control_plane::kAuthorizationType, "shop/known", "1", known.SerializeAsString()}};
    subscriber_(change);
    EXPECT_EQ(status().config_generation(), generation);
    const std::lock_guard lock(dataplane_->mutex);
    EXPECT_TRUE(dataplane_->policies[dataplane_->cookies["/ns/web"]].deny_all) << "one is missing";
    return dataplane_->closed;
  };
  EXPECT_EQ(closed_with(3), 0u);
  known.set_action(istio::security::DENY);
  EXPECT_EQ(closed_with(4), 1u);
}

TEST_F(AgentTest, OfAProxyThatCannotJudgePlainConnectionsNothingIsAsked) {
  mesh::v1::RequestAuthentication rules;
  rules.set_namespace_("shop");
  rules.add_rules()->set_issuer("iss");
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true}};
  change.upserted = {{control_plane::kAuthenticationType, "shop/r", "1", rules.SerializeAsString()}};
  subscriber_(change);
  EXPECT_EQ(status().pods_captured(), 1u);
  const auto inspected_after = [this](bool judges) {
    const UniqueFd proxy(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const timeval limit{30, 0};
    ::setsockopt(proxy.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_.file("handover.sock");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(::connect(proxy.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    handover::v1::ToAgent hello, end;
    hello.mutable_hello()->set_protocol(1);
    hello.mutable_hello()->set_judges_inbound(judges);
    end.mutable_held_end();
    EXPECT_TRUE(send_with_fds(proxy.get(), hello.SerializeAsString(), {}).ok());
    EXPECT_TRUE(send_with_fds(proxy.get(), end.SerializeAsString(), {}).ok());
    for (handover::v1::ToProxy packet; !packet.has_snapshot_end();) {
      auto got = receive_with_fds(proxy.get());
      EXPECT_TRUE(got.ok()) << got.status();
      if (!got.ok()) return false;
      EXPECT_TRUE(packet.ParseFromString(got->payload));
    }
    EXPECT_EQ(status().config_generation(), 2u);  // asked behind what the proxy's coming made
    const std::lock_guard lock(dataplane_->mutex);
    EXPECT_TRUE(dataplane_->plans["/ns/web"].fail_closed);
    return dataplane_->policies[dataplane_->cookies["/ns/web"]].inspect;
  };
  EXPECT_TRUE(inspected_after(true));
  EXPECT_FALSE(inspected_after(false));
  EXPECT_TRUE(inspected_after(true));
}

TEST_F(AgentTest, ChecksNameWhatIsMissingWithoutAProxy) {
  grpc::ClientContext context;
  admin::v1::CheckReport report;
  ASSERT_TRUE(stub_->Check(&context, {}, &report).ok());
  std::map<std::string, std::string> results;
  for (const auto& check : report.checks()) {
    results[check.id()] = check.result();
    EXPECT_EQ(check.result() == "success", check.hint().empty()) << check.id();
  }
  EXPECT_EQ(results["A-01"], "success");
  EXPECT_EQ(results["A-02"], "error");
  EXPECT_EQ(results["B-01"], "success");
  EXPECT_EQ(results["B-03"], "success");
}

TEST_F(AgentTest, ASourceThatDoesNotAnswerIsInStatusWithItsNextStepAndItsCountsAreMetrics) {
  agent_.reset();
  source_.problems = {"Kubernetes API https://api: Pod: Timeout was reached, for 42 s (next: look (there))"};
  source_.kinds = {{.kind = "Pod", .objects = 7, .lists = 1, .watches = 3, .relists = 2, .errors = 5}};
  start();
  EXPECT_THAT(
      status().problems(),
      ::testing::Contains(
          "A-06 Kubernetes API https://api: Pod: Timeout was reached, for 42 s (next: look (there))"));
  grpc::ClientContext context;
  admin::v1::CheckReport report;
  ASSERT_TRUE(stub_->Check(&context, {}, &report).ok());
  for (const auto& check : report.checks()) {
    if (check.id() != "A-06") continue;
    EXPECT_EQ(check.result(), "warning");
    EXPECT_EQ(check.hint(), "look (there)");
  }
  MetricsInput input;
  input.source_kinds = source_.kinds;
  const std::string text = render_metrics(input);
  EXPECT_THAT(text, ::testing::HasSubstr("weft_kubernetes_objects{kind=\"Pod\"} 7\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("weft_kubernetes_watches_total{kind=\"Pod\"} 3\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("weft_kubernetes_relists_total{kind=\"Pod\"} 2\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("weft_kubernetes_errors_total{kind=\"Pod\"} 5\n"));
}

TEST_F(AgentTest, CheckNamesRivalsAndOnlyThoseThatExcludeFail) {
  dataplane_->rival_rows = {{.hook = "cgroup/connect4",
                             .program = "cil_sock4_conne",
                             .id = 12,
                             .where = "/cg",
                             .owner = "Cilium",
                             .meaning = "both run",
                             .hint = "see its values"},
                            {.effect = Rival::Effect::kSilenced,
                             .hook = "sockops",
                             .program = "",
                             .id = 13,
                             .where = "/",
                             .meaning = "it does not run",
                             .hint = "bpftool prog show id 13"}};
  grpc::ClientContext context;
  admin::v1::CheckReport report;
  ASSERT_TRUE(stub_->Check(&context, {}, &report).ok());
  std::vector<std::string> rivals;
  for (const auto& check : report.checks()) {
    if (check.id() == "B-05")
      rivals.push_back(check.result() + " " + check.description() + ": " + check.error() + " " +
                       check.hint());
  }
  EXPECT_THAT(rivals,
              ::testing::ElementsAre(
                  "warning cgroup/connect4: cil_sock4_conne (id 12, Cilium) at /cg: both run see its values",
                  "error sockops: a program without name (id 13) at /: it does not run bpftool prog "
                  "show id 13"));
}

TEST(ChecksTest, APidNamespaceOfItsOwnIsAnErrorWithTheNextStep) {
  const auto row = [](const NodeFacts& facts) {
    const admin::v1::CheckReport report = run_checks(facts);
    for (const auto& check : report.checks()) {
      if (check.id() == "B-06") return check;
    }
    return admin::v1::CheckResult();
  };
  EXPECT_EQ(row({}).result(), "success");
  NodeFacts facts;
  facts.pid_problem = "it has a PID namespace of its own";
  EXPECT_EQ(row(facts).result(), "error");
  EXPECT_EQ(row(facts).error(), facts.pid_problem);
  EXPECT_THAT(row(facts).hint(), ::testing::HasSubstr("hostPID: true"));
}

TEST_F(AgentTest, DiffNamesWhatTheKernelSaysAndPodsThatAreNotCaptured) {
  ASSERT_TRUE(enroll("shop/web", "/ns/web").ok());
  control_plane::Change change;
  change.generation = 2;
  change.local_pods = {
      {.uid = "u", .ns = "shop", .name = "db", .netns_path = "/ns/missing", .wants_capture = true}};
  subscriber_(change);
  DriftRow namespaces{.scope = "namespaces", .desired = 1, .agent = 1, .kernel = 1};
  DriftRow services{.scope = "services", .desired = 1, .agent = 1};
  services.note("10.96.0.5:80/tcp", dataplane_->plans.at("/ns/web").workload_id, "missing in the kernel");
  dataplane_->drift_rows = {namespaces, services};
  grpc::ClientContext context;
  admin::v1::DiffReport report;
  ASSERT_TRUE(stub_->Diff(&context, {}, &report).ok());
  ASSERT_EQ(report.rows_size(), 3);
  EXPECT_EQ(report.rows(0).scope(), "configuration");
  EXPECT_EQ(report.rows(0).desired(), 2u);
  EXPECT_FALSE(report.rows(0).has_kernel());
  EXPECT_FALSE(report.rows(0).has_proxy()) << "none is connected";
  EXPECT_EQ(report.rows(1).desired(), 2u);
  EXPECT_EQ(report.rows(1).drift(), 1u);
  ASSERT_EQ(report.objects_size(), 2);
  EXPECT_EQ(report.objects(0).object(), "shop/db");
  EXPECT_THAT(report.objects(0).difference(), HasSubstr("not captured: waiting for /ns/missing"));
  EXPECT_EQ(report.objects(1).object(), "shop/web 10.96.0.5:80/tcp");
  EXPECT_EQ(report.rows(2).first(), "shop/web 10.96.0.5:80/tcp: missing in the kernel");
}

TEST_F(AgentTest, ConnectionsAreNamedFilteredAndCutWithACount) {
  ASSERT_TRUE(enroll("shop/web", "/ns/web").ok());
  ASSERT_TRUE(enroll("shop/db", "/ns/db").ok());
  const auto* fake = static_cast<const FakeDataplane*>(dataplane_);
  const uint64_t web = fake->cookies.at("/ns/web");
  const uint32_t web_id = fake->plans.at("/ns/web").workload_id;
  const uint32_t db_id = fake->plans.at("/ns/db").workload_id;
  const SocketAddress vip = *SocketAddress::parse("10.96.0.5:5432");
  const SocketAddress backend = *SocketAddress::parse("10.1.0.9:5432");
  dataplane_->owners[{backend.ip, 0}] = db_id;
  for (uint64_t age = 1; age <= 3; ++age) {
    dataplane_->connections[web].push_back({.path = OpenConnection::Path::kDirect,
                                            .state = 1,
                                            .local = *SocketAddress::parse("10.1.0.4:4000"),
                                            .remote = backend,
                                            .dialled = vip,
                                            .source = web_id,
                                            .started_ns = age});
  }
  dataplane_->connections[fake->cookies.at("/ns/db")].push_back({.path = OpenConnection::Path::kInbound,
                                                                 .state = 8,
                                                                 .local = backend,
                                                                 .remote = vip,
                                                                 .dialled = backend});

  const auto ask = [this](const std::string& workload, const std::string& from, const std::string& to,
                          uint32_t limit) {
    grpc::ClientContext context;
    admin::v1::ConnectionsRequest request;
    request.set_workload(workload);
    request.set_from(from);
    request.set_to(to);
    request.set_limit(limit);
    admin::v1::ConnectionList reply;
    EXPECT_TRUE(stub_->ListConnections(&context, request, &reply).ok());
    return reply;
  };
  const admin::v1::ConnectionList all = ask("", "", "", 0);
  ASSERT_EQ(all.connections_size(), 4);
  EXPECT_EQ(all.matched(), 4u);
  EXPECT_EQ(all.connections(0).pod(), "shop/db");
  EXPECT_EQ(all.connections(0).state(), "close-wait");
  EXPECT_FALSE(all.connections(0).has_age_seconds());
  EXPECT_EQ(all.connections(1).source(), "shop/web");
  EXPECT_EQ(all.connections(1).backend(), "shop/db");
  EXPECT_EQ(all.connections(1).destination(), "") << "nobody knows the address";
  EXPECT_EQ(all.connections(1).destination_address(), "10.96.0.5:5432");

  const admin::v1::ConnectionList cut = ask("shop/web", "shop/w", "shop/d", 2);
  EXPECT_EQ(cut.matched(), 3u);
  ASSERT_EQ(cut.connections_size(), 2);
  EXPECT_GT(cut.connections(0).age_seconds(), cut.connections(1).age_seconds()) << "the oldest first";
  EXPECT_EQ(ask("", "shop/x", "", 0).matched(), 0u);
}

TEST_F(AgentTest, ConnectionsOfAPodThatIsNotCapturedAreAnErrorWithTheNextCommand) {
  grpc::ClientContext context;
  admin::v1::ConnectionsRequest unknown;
  unknown.set_workload("shop/nobody");
  admin::v1::ConnectionList reply;
  const grpc::Status status = stub_->ListConnections(&context, unknown, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("next: weft get workloads"));
}

TEST_F(AgentTest, MapDumpNamesWhoAnIdIs) {
  ASSERT_TRUE(enroll("shop/web", "/ns/web").ok());
  const uint32_t web = dataplane_->plans.at("/ns/web").workload_id;
  const auto id = [](uint32_t value) { return MapCell{.is_subject = true, .subject = value}; };
  dataplane_->map_text = {.columns = {"OWNER", "ROWS"}, .total = 5};
  for (const uint32_t owner : {web, WEFT_ID_UNKNOWN, WEFT_ID_OVERFLOW, web + 1})
    dataplane_->map_text.rows.push_back({id(owner), {.text = "1"}});
  grpc::ClientContext context;
  admin::v1::DumpMapRequest request;
  request.set_name("m_dest");
  admin::v1::MapDump reply;
  ASSERT_TRUE(stub_->DumpMap(&context, request, &reply).ok());
  std::vector<std::string> owners;
  for (const auto& row : reply.rows()) owners.push_back(row.cells(0));
  EXPECT_THAT(owners, ::testing::ElementsAre("shop/web", "-", "(overflow)", "id " + std::to_string(web + 1)));
  EXPECT_EQ(reply.total(), 5u);
}

TEST_F(AgentTest, SecondAgentOnTheSamePortFailsAndTheFirstGoesOn) {
  Agent::Options options{.node_name = "n2", .run_dir = folder_.file("other")};
  options.metrics_address = agent_->metrics_address();
  options.health_address = *SocketAddress::parse("127.0.0.1:0");
  Agent::Parts parts;
  parts.dataplane = std::make_unique<JournalDataplane>(journal_);
  parts.ads = std::make_unique<JournalAds>(journal_);
  const auto second = Agent::start(std::move(options), std::move(parts));
  EXPECT_FALSE(second.ok());
  EXPECT_EQ(status().node(), "n1");
}

}  // namespace
}  // namespace weft::agent
