// What the agent says of routes and of the proxy's counts: `weft trace`, `weft get routes --explain`, and
// what `weft canary` watches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <thread>

#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "proto/weft/proxy/v1/telemetry.grpc.pb.h"
#include "tests/unit/agent/agent_world.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

using TraceTest = AgentWorld;

// Where the server runs, and what lets its clients in.
struct Server {
  std::string node = "n1";
  bool tunnel = false;
  istio::workload::AppProtocol protocol = istio::workload::HTTP11;
  // Of the namespace that its policy allows.
  std::string allowed = "other";
  bool v6 = false;
};

// shop/cart on 10.0.0.1:80 with one pod at 10.1.0.1:8080, its client shop/web, which is captured, a route,
// and a policy that lets others only in.
control_plane::Change small_mesh(const Server& of = {}) {
  istio::workload::Address service, server, client;
  service.mutable_service()->set_name("cart");
  service.mutable_service()->set_namespace_("shop");
  service.mutable_service()->set_hostname("cart.shop.svc.cluster.local");
  service.mutable_service()->add_addresses()->set_address(IpAddress::parse("10.0.0.1")->packed());
  auto* port = service.mutable_service()->add_ports();
  port->set_service_port(80);
  port->set_target_port(8080);
  port->set_app_protocol(of.protocol);
  server.mutable_workload()->set_uid("server");
  server.mutable_workload()->set_name("cart-1");
  server.mutable_workload()->set_namespace_("shop");
  server.mutable_workload()->add_addresses(IpAddress::parse(of.v6 ? "fd00::1" : "10.1.0.1")->packed());
  server.mutable_workload()->set_node(of.node);
  if (of.tunnel) server.mutable_workload()->set_tunnel_protocol(istio::workload::HBONE);
  (*server.mutable_workload()->mutable_services())["shop/cart.shop.svc.cluster.local"];
  client.mutable_workload()->set_uid("client");
  client.mutable_workload()->set_name("web");
  client.mutable_workload()->set_namespace_("shop");
  client.mutable_workload()->set_node("n1");
  client.mutable_workload()->add_addresses(IpAddress::parse("10.1.0.9")->packed());
  client.mutable_workload()->add_addresses(IpAddress::parse("fd00::9")->packed());
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
  auto* match = policy.add_rules()->add_clauses()->add_matches();
  if (of.v6) {
    match->add_source_ips()->set_address(IpAddress::parse("fd00::9")->packed());
    match->mutable_source_ips(0)->set_length(128);
  } else {
    match->add_namespaces()->set_exact(of.allowed);
  }
  control_plane::Change out;
  out.generation = 2;
  out.local_pods = {
      {.uid = "client", .ns = "shop", .name = "web", .netns_path = "/ns/web", .wants_capture = true}};
  out.upserted = {
      {control_plane::kAddressType, "shop/cart.shop.svc.cluster.local", "1", service.SerializeAsString()},
      {control_plane::kAddressType, "server", "1", server.SerializeAsString()},
      {control_plane::kAddressType, "client", "1", client.SerializeAsString()},
      {control_plane::kRouteSetType, "shop/cart", "1", set.SerializeAsString()},
      {control_plane::kAuthorizationType, "shop/readers", "1", policy.SerializeAsString()}};
  return out;
}

TEST_F(TraceTest, ATraceNamesRuleLineEndpointAndVerdict) {
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

admin::v1::TraceReport trace_of(admin::v1::Admin::Stub& stub, const std::string& from = "shop/web",
                                const std::string& method = "GET") {
  grpc::ClientContext context;
  admin::v1::TraceRequest request;
  request.set_from(from);
  request.set_to("shop/cart");
  request.set_method(method);
  request.set_target(method.empty() ? "" : "/api/x");
  admin::v1::TraceReport report;
  const grpc::Status status = stub.Trace(&context, request, &report);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return report;
}

TEST_F(TraceTest, APolicyAboutRequestsIsAskedAboutTheRequest) {
  control_plane::Change change = small_mesh({.allowed = "shop"});
  istio::security::Authorization policy;
  policy.set_name("no-admin");
  policy.set_namespace_("shop");
  policy.set_scope(istio::security::NAMESPACE);
  policy.set_action(istio::security::DENY);
  mesh::v1::HttpTerms terms;
  terms.add_paths()->set_exact("/admin");
  auto& extension = *policy.add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name("weft.mesh.v1.HttpTerms");
  extension.mutable_config()->PackFrom(terms);
  change.upserted.emplace_back(control_plane::kAuthorizationType, "shop/no-admin", "1",
                               policy.SerializeAsString());
  subscriber_(change);
  const admin::v1::TraceReport request = trace_of(*stub_);
  ASSERT_EQ(request.targets_size(), 1);
  ASSERT_EQ(request.targets(0).endpoints_size(), 1);
  EXPECT_EQ(request.targets(0).endpoints(0).policy(), "allowed by shop/readers");
}

TEST_F(TraceTest, OnlyCapturedClientsAreAnswered) {
  subscriber_(small_mesh());
  EXPECT_TRUE(trace_of(*stub_).captured());
  const admin::v1::TraceReport other = trace_of(*stub_, "shop/cart-1");
  EXPECT_FALSE(other.captured());
  EXPECT_THAT(other.notes(), Contains("shop/cart-1 is not captured on this node: nothing of this holds"));
}

// What the server's node knows of a client decides, not what this one knows.
TEST_F(TraceTest, AnotherNodeKnowsAClientByItsTunnelOnly) {
  uint64_t generation = 1;
  const auto policy = [this, &generation](const Server& server) {
    control_plane::Change change = small_mesh(server);
    change.generation = ++generation;
    subscriber_(change);
    const admin::v1::TraceReport report = trace_of(*stub_);
    return report.targets_size() == 1 && report.targets(0).endpoints_size() == 1
               ? report.targets(0).endpoints(0).policy()
               : report.DebugString();
  };
  EXPECT_EQ(policy({.node = "n1", .allowed = "shop"}), "allowed by shop/readers");
  EXPECT_THAT(policy({.node = "n2", .allowed = "shop"}),
              HasSubstr("others only (from another node, without a tunnel, it is nobody)"));
  EXPECT_EQ(policy({.node = "n2", .tunnel = true, .allowed = "shop"}), "allowed by shop/readers");
  EXPECT_EQ(policy({.node = "n1", .v6 = true}), "allowed by shop/readers") << "the client's IPv6 address";
}

TEST_F(TraceTest, ThePathIsTheKernels) {
  subscriber_(small_mesh({.node = "n1", .protocol = istio::workload::TCP}));
  const admin::v1::TraceReport direct = trace_of(*stub_, "shop/web", "");
  EXPECT_EQ(direct.path(), "direct");
  ASSERT_EQ(direct.targets_size(), 1);
  ASSERT_EQ(direct.targets(0).endpoints_size(), 1);
  EXPECT_EQ(direct.targets(0).endpoints(0).address(), "10.1.0.1:8080");
  EXPECT_EQ(direct.targets(0).endpoints(0).workload(), "shop/cart-1");
  EXPECT_DOUBLE_EQ(direct.targets(0).endpoints(0).share_percent(), 100);
  // Only the proxy opens tunnels.
  control_plane::Change tunnelled =
      small_mesh({.node = "n2", .tunnel = true, .protocol = istio::workload::TCP});
  tunnelled.generation = 3;
  subscriber_(tunnelled);
  EXPECT_EQ(trace_of(*stub_, "shop/web", "").path(), "proxy");
}

TEST_F(TraceTest, AChangeOfTheMeshIsInTheNextAnswer) {
  subscriber_(small_mesh());
  EXPECT_EQ(trace_of(*stub_).rules(0).rule(), "VirtualService shop/cart http[0]");
  control_plane::Change without;
  without.generation = 3;
  without.removed = {{std::string(control_plane::kRouteSetType), "shop/cart"}};
  subscriber_(without);
  const admin::v1::TraceReport report = trace_of(*stub_);
  EXPECT_EQ(report.rules(0).rule(), "default route of shop/cart");
  EXPECT_EQ(report.config_generation(), 3u);
}

TEST_F(TraceTest, ATraceOfNobodyKnownSaysSo) {
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

TEST_F(TraceTest, RoutesAreExplainedWithTheirEndpoints) {
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

// One set is made of all of a Service's port, and is called as the Service.
TEST_F(TraceTest, RoutesAreFoundByTheNameOfTheirOwnObject) {
  control_plane::Change change = small_mesh();
  mesh::v1::RouteSet set;
  set.set_name("cart:80");
  set.set_namespace_("shop");
  set.add_hosts("cart.shop.svc.cluster.local");
  for (const char* name : {"checkout", "search"}) {
    auto* route = set.add_http();
    route->add_destinations()->set_host("cart.shop.svc.cluster.local");
    route->mutable_destinations(0)->set_weight(1);
    route->mutable_origin()->set_kind("HTTPRoute");
    route->mutable_origin()->set_namespace_("shop");
    route->mutable_origin()->set_name(name);
  }
  change.upserted.emplace_back(control_plane::kRouteSetType, "shop/cart:80", "1", set.SerializeAsString());
  subscriber_(change);
  const auto listed = [&](const std::string& name) {
    grpc::ClientContext context;
    admin::v1::ListRequest request;
    request.set_namespace_("shop");
    request.set_name(name);
    admin::v1::RouteList list;
    EXPECT_TRUE(stub_->ListRoutes(&context, request, &list).ok());
    return list.routes_size();
  };
  EXPECT_EQ(listed("checkout"), 2) << "all of the set, in their order";
  EXPECT_EQ(listed("basket"), 0);
}

TEST_F(TraceTest, WhoWatchesRequestsHearsThatNoProxyCounts) {
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

// A proxy that has introduced itself; answers each question for its counts with what is in `requests`.
class CountingProxy {
 public:
  CountingProxy(const std::string& socket, uint32_t pid)
      : stub_(proxy::v1::ProxyTelemetry::NewStub(
            grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()))),
        stream_(stub_->Report(&context_)) {
    proxy::v1::ProxyReport report;
    report.mutable_hello()->set_pid(pid);
    stream_->Write(report);
  }
  ~CountingProxy() {
    context_.TryCancel();
    if (thread_.joinable()) thread_.join();
    stream_->Finish();
  }
  void add(const std::string& workload, const std::string& code, uint64_t requests,
           uint64_t own_answers = 0) {
    proxy::v1::RequestSeries* row = requests_.add_requests();
    row->set_destination_service("cart");
    row->set_destination_namespace("shop");
    row->set_destination_workload(workload);
    row->set_code_class(code);
    row->set_requests(requests);
    row->set_own_answers(own_answers);
  }
  void answer(std::function<void()> before = [] {}) {
    thread_ = std::thread([this, before] {
      proxy::v1::ReportRequest asked;
      while (stream_->Read(&asked)) {
        if (asked.metrics_id() == 0) continue;
        before();
        proxy::v1::ProxyReport report;
        *report.mutable_metrics() = requests_;
        report.mutable_metrics()->set_id(asked.metrics_id());
        stream_->Write(report);
      }
    });
  }

 private:
  grpc::ClientContext context_;
  proxy::v1::Metrics requests_;
  std::unique_ptr<proxy::v1::ProxyTelemetry::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<proxy::v1::ProxyReport, proxy::v1::ReportRequest>> stream_;
  std::thread thread_;
};

TEST_F(TraceTest, RequestsThatReachedNoEndpointAreNobodysAndInjectedAbortsAreNone) {
  CountingProxy proxy(folder_.file("xds.sock"), 7);
  proxy.add("cart-1", "2xx", 5);
  proxy.add("unknown", "5xx", 10, 7);
  proxy.add("unknown", "4xx", 20, 20);
  proxy.answer();
  grpc::ClientContext context;
  admin::v1::WatchRequestsRequest request;
  request.set_service("shop/cart");
  request.set_interval_ms(50);
  const auto reader = stub_->WatchRequests(&context, request);
  admin::v1::RequestCounts counts;
  do {
    ASSERT_TRUE(reader->Read(&counts));
  } while (!counts.proxy_answers());
  EXPECT_EQ(counts.proxy_pid(), 7u);
  ASSERT_EQ(counts.rows_size(), 2);
  EXPECT_EQ(counts.rows(0).workload(), "");
  EXPECT_EQ(counts.rows(0).requests(), 3u);
  EXPECT_EQ(counts.rows(0).errors(), 3u);
  EXPECT_EQ(counts.rows(1).workload(), "shop/cart-1");
  context.TryCancel();
  reader->Finish();
}

// One that takes over while the first is asked: its pid never goes with the counts of the first.
TEST_F(TraceTest, CountsOfOneProxyNeverGoUnderTheNameOfTheNext) {
  CountingProxy first(folder_.file("xds.sock"), 7);
  first.add("cart-1", "2xx", 5);
  std::unique_ptr<CountingProxy> second;
  std::promise<void> taken_over;
  first.answer([&] {
    if (second != nullptr) return;
    second = std::make_unique<CountingProxy>(folder_.file("xds.sock"), 8);
    second->add("cart-1", "2xx", 1);
    second->answer();
    while (status().proxy_pid() != 8) std::this_thread::yield();
    taken_over.set_value();
  });
  grpc::ClientContext context;
  admin::v1::WatchRequestsRequest request;
  request.set_service("shop/cart");
  request.set_interval_ms(50);
  const auto reader = stub_->WatchRequests(&context, request);
  admin::v1::RequestCounts counts;
  do {
    ASSERT_TRUE(reader->Read(&counts));
    if (counts.proxy_answers()) EXPECT_EQ(counts.rows(0).requests(), counts.proxy_pid() == 7 ? 5u : 1u);
  } while (!counts.proxy_answers() || counts.proxy_pid() != 8);
  // The second must not go before the first's thread has seen it.
  taken_over.get_future().wait();
  context.TryCancel();
  reader->Finish();
}

}  // namespace
}  // namespace weft::agent
