// A whole agent over fakes for the kernel and the control plane: order of effects, admin answers, metrics,
// health, restart.
#include "agent/agent.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include "bpf/abi/constants.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tests/unit/agent/fake_dataplane.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// Shared with the test, which outlives the agent that owns the fakes.
struct Journal {
  std::mutex mutex;
  std::vector<std::string> lines;
  void add(const std::string& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(line);
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex);
    return lines;
  }
};

class JournalDataplane final : public FakeDataplane {
 public:
  explicit JournalDataplane(Journal& journal) : journal_(journal) {}
  absl::StatusOr<EnrolledNamespace> enroll(const NamespacePlan& plan) override {
    journal_.add("enroll " + plan.netns_path);
    return FakeDataplane::enroll(plan);
  }
  absl::Status unenroll(uint64_t cookie, const std::string& path) override {
    journal_.add("unenroll " + path);
    return FakeDataplane::unenroll(cookie, path);
  }
  absl::Status apply(const KernelChange& change) override {
    journal_.add("destinations");
    return FakeDataplane::apply(change);
  }

 private:
  Journal& journal_;
};

class JournalAds final : public control_plane::AdsService {
 public:
  explicit JournalAds(Journal& journal) : journal_(journal) {}
  grpc::Service* service() override { return &service_; }
  void apply(const control_plane::Change& change) override {
    journal_.add("publish +" + std::to_string(change.upserted.size()) + " -" +
                 std::to_string(change.removed.size()));
  }
  std::vector<control_plane::ClientState> clients() const override { return {}; }
  void shutdown() override {}

 private:
  Journal& journal_;
  envoy::service::discovery::v3::AggregatedDiscoveryService::Service service_;
};

class NoControlPlane final : public control_plane::ControlPlane {};

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    first_.generation = 1;
    start();
  }
  void TearDown() override { agent_.reset(); }
  void start() {
    Agent::Options options{.node_name = "n1", .config_source = "memory", .run_dir = folder_.path()};
    options.metrics_address = *SocketAddress::parse("127.0.0.1:0");
    options.health_address = options.metrics_address;
    Agent::Parts parts;
    auto dataplane = std::make_unique<JournalDataplane>(journal_);
    dataplane_ = dataplane.get();
    parts.dataplane = std::move(dataplane);
    parts.ads = std::make_unique<JournalAds>(journal_);
    parts.start_control_plane = [this](control_plane::ControlPlane::Subscriber subscriber)
        -> absl::StatusOr<std::unique_ptr<control_plane::ControlPlane>> {
      subscriber_ = std::move(subscriber);
      subscriber_(first_);
      return std::make_unique<NoControlPlane>();
    };
    parts.probe = [](const std::string& path) -> absl::StatusOr<NetnsIdentity> {
      if (path == "/ns/missing") return absl::NotFoundError("no such file");
      return NetnsIdentity{1, std::hash<std::string>()(path)};
    };
    auto agent = Agent::start(std::move(options), std::move(parts));
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = std::move(*agent);
    stub_ = admin::v1::Admin::NewStub(
        grpc::CreateChannel("unix:" + folder_.file("agent.sock"), grpc::InsecureChannelCredentials()));
  }
  grpc::Status enroll(const std::string& workload, const std::string& path) {
    grpc::ClientContext context;
    admin::v1::EnrollRequest request;
    request.set_workload(workload);
    request.set_netns_path(path);
    admin::v1::EnrollResponse reply;
    return stub_->Enroll(&context, request, &reply);
  }
  grpc::Status unenroll(const std::string& workload) {
    grpc::ClientContext context;
    admin::v1::UnenrollRequest request;
    request.set_workload(workload);
    admin::v1::UnenrollResponse reply;
    return stub_->Unenroll(&context, request, &reply);
  }
  admin::v1::NodeStatus status() {
    grpc::ClientContext context;
    admin::v1::NodeStatus reply;
    EXPECT_TRUE(stub_->GetStatus(&context, {}, &reply).ok());
    return reply;
  }

  Journal journal_;
  const test::ScratchFolder folder_;
  control_plane::Change first_;
  control_plane::ControlPlane::Subscriber subscriber_;
  std::unique_ptr<Agent> agent_;
  FakeDataplane* dataplane_ = nullptr;  // owned by the agent
  std::unique_ptr<admin::v1::Admin::Stub> stub_;
};

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

// shop/cart on 10.0.0.1:80 with one pod at 10.1.0.1:8080, its client shop/web, a route, and a policy that
// lets others only in.
control_plane::Change small_mesh() {
  istio::workload::Address service, server, client;
  service.mutable_service()->set_name("cart");
  service.mutable_service()->set_namespace_("shop");
  service.mutable_service()->set_hostname("cart.shop.svc.cluster.local");
  service.mutable_service()->add_addresses()->set_address(IpAddress::parse("10.0.0.1")->packed());
  auto* port = service.mutable_service()->add_ports();
  port->set_service_port(80);
  port->set_target_port(8080);
  port->set_app_protocol(istio::workload::HTTP11);
  server.mutable_workload()->set_uid("server");
  server.mutable_workload()->set_name("cart-1");
  server.mutable_workload()->set_namespace_("shop");
  server.mutable_workload()->add_addresses(IpAddress::parse("10.1.0.1")->packed());
  (*server.mutable_workload()->mutable_services())["shop/cart.shop.svc.cluster.local"];
  client.mutable_workload()->set_uid("client");
  client.mutable_workload()->set_name("web");
  client.mutable_workload()->set_namespace_("shop");
  client.mutable_workload()->add_addresses(IpAddress::parse("10.1.0.9")->packed());
  mesh::v1::RouteSet set;
  set.set_name("cart");
  set.set_namespace_("shop");
  set.add_hosts("cart.shop.svc.cluster.local");
  auto* api = set.add_http();
  api->add_matches()->mutable_uri()->set_prefix("/api");
  api->add_destinations()->set_host("cart.shop.svc.cluster.local");
  api->mutable_destinations(0)->set_weight(1);
  api->mutable_origin()->set_kind("VirtualService");
  api->mutable_origin()->set_file("cart.yaml");
  api->mutable_origin()->set_line(7);
  istio::security::Authorization policy;
  policy.set_name("readers");
  policy.set_namespace_("shop");
  policy.set_scope(istio::security::NAMESPACE);
  policy.set_action(istio::security::ALLOW);
  policy.add_rules()->add_clauses()->add_matches()->add_namespaces()->set_exact("other");
  control_plane::Change out;
  out.generation = 2;
  out.upserted = {
      {control_plane::kAddressType, "shop/cart.shop.svc.cluster.local", "1", service.SerializeAsString()},
      {control_plane::kAddressType, "server", "1", server.SerializeAsString()},
      {control_plane::kAddressType, "client", "1", client.SerializeAsString()},
      {control_plane::kRouteSetType, "shop/cart", "1", set.SerializeAsString()},
      {control_plane::kAuthorizationType, "shop/readers", "1", policy.SerializeAsString()}};
  return out;
}

TEST_F(AgentTest, ATraceNamesRuleLineEndpointAndVerdict) {
  subscriber_(small_mesh());
  grpc::ClientContext context;
  admin::v1::TraceRequest request;
  request.set_from("shop/web");
  request.set_to("cart");
  request.set_method("GET");
  request.set_target("/api/x");
  admin::v1::TraceReport report;
  const grpc::Status status = stub_->Trace(&context, request, &report);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(report.rules_size(), 1);
  EXPECT_EQ(report.rules(0).rule(), "VirtualService shop/cart http[0]");
  EXPECT_EQ(report.rules(0).match(), "prefix /api");
  EXPECT_EQ(report.rules(0).origin().line(), 7u);
  ASSERT_EQ(report.targets_size(), 1);
  ASSERT_EQ(report.targets(0).endpoints_size(), 1);
  EXPECT_EQ(report.targets(0).endpoints(0).address(), "10.1.0.1:8080");
  EXPECT_EQ(report.targets(0).endpoints(0).policy(), "denied: shop/readers allows others only");
  EXPECT_EQ(report.config_generation(), 2u);
  EXPECT_THAT(report.notes(), Contains(HasSubstr("no proxy is connected")));
}

TEST_F(AgentTest, ATraceOfNobodyKnownSaysSo) {
  subscriber_(small_mesh());
  grpc::ClientContext context, second;
  admin::v1::TraceRequest request;
  request.set_from("shop/stranger");
  request.set_to("cart.shop");
  admin::v1::TraceReport report;
  ASSERT_TRUE(stub_->Trace(&context, request, &report).ok());
  EXPECT_THAT(report.notes(), Contains(HasSubstr("knows no workload shop/stranger")));
  request.set_to("basket");
  EXPECT_EQ(stub_->Trace(&second, request, &report).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(AgentTest, RoutesAreExplainedWithTheirEndpoints) {
  subscriber_(small_mesh());
  grpc::ClientContext context;
  admin::v1::ListRequest request;
  request.set_explain(true);
  admin::v1::RouteList list;
  ASSERT_TRUE(stub_->ListRoutes(&context, request, &list).ok());
  ASSERT_EQ(list.routes_size(), 1);
  ASSERT_EQ(list.routes(0).targets_size(), 1);
  EXPECT_EQ(list.routes(0).targets(0).endpoints(0).workload(), "shop/cart-1");
}

TEST_F(AgentTest, WhoWatchesRequestsHearsThatNoProxyCounts) {
  grpc::ClientContext context;
  admin::v1::WatchRequestsRequest request;
  request.set_service("shop/cart");
  request.set_interval_ms(50);
  const auto reader = stub_->WatchRequests(&context, request);
  admin::v1::RequestCounts counts;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader->Read(&counts));
    EXPECT_FALSE(counts.proxy_answers());
    EXPECT_EQ(counts.config_generation(), 1u);
  }
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
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
