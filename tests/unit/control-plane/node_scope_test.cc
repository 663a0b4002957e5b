// What a node is told: AdsService for many nodes.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/strings.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/node_pods.h"
#include "control-plane/discovery/scope.h"
#include "proto/istio/security.pb.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/control-plane/node_ads.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;

Resource make(const char* type, const std::string& name, const google::protobuf::Message& message) {
  const std::string body = message.SerializeAsString();
  return {type, name, str_cat("v", std::hash<std::string>()(body)), body};
}

Resource service(const std::string& name, const std::string& export_to = "") {
  istio::workload::Address address;
  address.mutable_service()->set_name(name);
  if (!export_to.empty()) {
    mesh::v1::ServicePorts ports;
    ports.add_export_to(export_to);
    auto& extension = *address.mutable_service()->add_extensions();
    extension.set_name("weft.mesh.v1.ServicePorts");
    extension.mutable_config()->set_value(ports.SerializeAsString());
  }
  return make(kAddressType, name, address);
}

Resource policy(const std::string& ns, const std::string& name, istio::security::Scope scope) {
  istio::security::Authorization out;
  out.set_namespace_(ns);
  out.set_name(name);
  out.set_scope(scope);
  return make(kAuthorizationType, str_cat(ns, "/", name), out);
}

Resource authentication(const std::string& ns, bool every_namespace) {
  mesh::v1::RequestAuthentication out;
  out.set_namespace_(ns);
  out.set_name("tokens");
  out.set_every_namespace(every_namespace);
  return make(kAuthenticationType, str_cat(ns, "/tokens"), out);
}

LocalPod pod(const std::string& ns, const std::string& name, const std::string& node) {
  return {.uid = str_cat("Kubernetes//Pod/", ns, "/", name),
          .ns = ns,
          .name = name,
          .wants_capture = true,
          .node = node};
}

// The agent of a node; each read is bounded by the call's deadline.
class Node {
 public:
  Node(const std::string& address, const std::string& node, const std::string& says = "",
       bool gateway = false)
      : stub_(xds::AggregatedDiscoveryService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
    if (!node.empty()) context_.AddMetadata("node", node);
    stream_ = stub_->DeltaAggregatedResources(&context_);
    auto& metadata = *self_.mutable_metadata()->mutable_fields();
    metadata[kNodeNameKey].set_string_value(says.empty() ? node : says);
    if (gateway) metadata[kGatewayKey].set_string_value("true");
  }
  ~Node() { context_.TryCancel(); }

  void subscribe(const char* type, const std::map<std::string, std::string>& held = {}) {
    xds::DeltaDiscoveryRequest request;
    *request.mutable_node() = self_;
    request.set_type_url(type);
    for (const auto& [name, version] : held) (*request.mutable_initial_resource_versions())[name] = version;
    stream_->Write(request);
  }
  void say_gateway() { (*self_.mutable_metadata()->mutable_fields())[kGatewayKey].set_string_value("true"); }
  void subscribe_names(const char* type, int from, int many) {
    xds::DeltaDiscoveryRequest request;
    request.set_type_url(type);
    for (int i = from; i < from + many; ++i) request.add_resource_names_subscribe(str_cat(i));
    stream_->Write(request);
  }
  // "+added … -removed …", acknowledged.
  std::string next() {
    xds::DeltaDiscoveryResponse response;
    if (!stream_->Read(&response)) return "ended";
    std::string out;
    for (const auto& each : response.resources()) str_append(&out, "+", each.name(), " ");
    for (const auto& name : response.removed_resources()) str_append(&out, "-", name, " ");
    xds::DeltaDiscoveryRequest ack;
    ack.set_type_url(response.type_url());
    ack.set_response_nonce(response.nonce());
    stream_->Write(ack);
    return out;
  }
  grpc::Status finish() { return stream_->Finish(); }

 private:
  std::unique_ptr<xds::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse>> stream_;
  xds::Node self_;
};

class NodeScopeTest : public testing::Test {
 protected:
  // `pods`: all that there are.
  void apply(std::vector<Resource> upserted, std::vector<LocalPod> pods,
             std::vector<std::pair<std::string, std::string>> removed = {}) {
    Change change{
        .generation = ++generation_, .upserted = std::move(upserted), .removed = std::move(removed)};
    Change told;
    std::set<std::string> now;
    for (const LocalPod& pod : pods) now.insert(pod.uid);
    std::set_difference(known_.begin(), known_.end(), now.begin(), now.end(),
                        std::back_inserter(told.gone_pods));
    known_ = std::move(now);
    told.changed_pods = std::move(pods);
    pods_.update(told, change);
    ads_->apply(change);
  }

  test::NodeAds serving_{[](const std::string& node) { return node != "no-gateway"; }};
  AdsService* const ads_ = serving_.service();
  const std::string address_ = serving_.address();
  NodePods pods_;
  std::set<std::string> known_;  // uids of pods
  uint64_t generation_ = 0;
};

TEST_F(NodeScopeTest, ANodeIsToldOfItsOwnPodsAlone) {
  apply({}, {pod("shop", "web", "a"), pod("shop", "db", "b")});
  Node a(address_, "a"), c(address_, "c");
  a.subscribe(kPodType);
  EXPECT_EQ(a.next(), "+Kubernetes//Pod/shop/web ");
  c.subscribe(kPodType);
  EXPECT_EQ(c.next(), "");
  // Moved: gone here, there now.
  apply({}, {pod("shop", "web", "c"), pod("shop", "db", "b")});
  EXPECT_EQ(a.next(), "-Kubernetes//Pod/shop/web ");
  EXPECT_EQ(c.next(), "+Kubernetes//Pod/shop/web ");
}

TEST_F(NodeScopeTest, WhatIsExportedToNamespacesComesAndGoesWithTheirPods) {
  apply({service("all"), service("mine", "shop")}, {pod("bank", "till", "a")});
  Node a(address_, "a");
  a.subscribe(kAddressType);
  EXPECT_EQ(a.next(), "+all ");
  apply({}, {pod("bank", "till", "a"), pod("shop", "web", "a")});
  EXPECT_EQ(a.next(), "+mine ");
  // A second pod there changes nothing, and what changes elsewhere is heard: the next response has it alone.
  apply({}, {pod("bank", "till", "a"), pod("shop", "web", "a"), pod("shop", "web2", "a")});
  apply({service("new")}, {pod("bank", "till", "a"), pod("shop", "web", "a"), pod("shop", "web2", "a")});
  EXPECT_EQ(a.next(), "+new ");
  apply({}, {pod("bank", "till", "a")});
  EXPECT_EQ(a.next(), "-mine ");
}

TEST_F(NodeScopeTest, AuthorizationPoliciesGoWhereTheirPodsAreAndThoseOfTheMeshEverywhere) {
  apply({policy("shop", "p", istio::security::NAMESPACE),
         policy("bank", "q", istio::security::WORKLOAD_SELECTOR),
         policy("istio-system", "mesh", istio::security::GLOBAL),
         policy("istio-system", "named", istio::security::WORKLOAD_SELECTOR)},
        {pod("shop", "web", "a")});
  Node a(address_, "a");
  a.subscribe(kAuthorizationType);
  EXPECT_EQ(a.next(), "+istio-system/mesh +istio-system/named +shop/p ");
}

TEST_F(NodeScopeTest, RoutesOfGatewaysGoToGatewaysWhichSeeAllNamespaces) {
  mesh::v1::RouteSet edge;
  edge.mutable_gateway()->set_port(80);
  mesh::v1::RouteSet private_routes;
  private_routes.add_export_to("shop");
  apply({make(kRouteSetType, "gateway/80", edge), make(kRouteSetType, "shop/private", private_routes)}, {});
  Node plain(address_, "a"), gateway(address_, "b", "", true);
  plain.subscribe(kRouteSetType);
  EXPECT_EQ(plain.next(), "");
  gateway.subscribe(kRouteSetType);
  EXPECT_EQ(gateway.next(), "+gateway/80 +shop/private ");
}

Resource secret(const std::string& name, const std::string& version = "1") {
  return {kSecretType, name, version, str_cat("key ", version)};
}

Resource edge_with(const std::string& certificate, const std::string& roots = "") {
  mesh::v1::RouteSet out;
  out.mutable_gateway()->set_port(443);
  mesh::v1::TlsServer& server = *out.mutable_gateway()->add_servers();
  if (!certificate.empty()) server.add_certificates(certificate);
  server.set_client_roots(roots);
  return make(kRouteSetType, "gateway/443", out);
}

// Of namespace shop.
Resource rule(const std::string& host, const std::string& credential, const std::string& export_to = "") {
  mesh::v1::DestinationPolicy out;
  out.set_namespace_("shop");
  out.set_host(host);
  if (!export_to.empty()) out.add_export_to(export_to);
  out.add_subsets()->mutable_traffic_policy()->mutable_tls()->set_credential_name(credential);
  return make(kDestinationPolicyType, "shop/rule", out);
}

TEST_F(NodeScopeTest, KeysThatNobodyNamesGoToNoNode) {
  apply({secret("shop/cert"), service("all")}, {pod("shop", "web", "a")});
  Node gateway(address_, "a", "", true);
  gateway.subscribe(kSecretType);
  EXPECT_EQ(gateway.next(), "");
}

TEST_F(NodeScopeTest, KeysOfGatewaysGoToGatewaysAndChangesAndDeletionsAreFollowed) {
  apply({secret("shop/cert"), secret("shop/roots"), edge_with("shop/cert", "shop/roots")},
        {pod("shop", "web", "a")});
  Node plain(address_, "a"), gateway(address_, "b", "", true);
  plain.subscribe(kSecretType);
  EXPECT_EQ(plain.next(), "") << "though pods of the namespace are on it";
  gateway.subscribe(kSecretType);
  EXPECT_EQ(gateway.next(), "+shop/cert +shop/roots ");
  // Another version of the one, and the other is named no more.
  apply({secret("shop/cert", "2"), edge_with("shop/cert")}, {pod("shop", "web", "a")});
  EXPECT_EQ(gateway.next(), "+shop/cert -shop/roots ");
  apply({}, {pod("shop", "web", "a")}, {{kSecretType, "shop/cert"}});
  EXPECT_EQ(gateway.next(), "-shop/cert ");
  apply({secret("shop/cert", "3")}, {pod("shop", "web", "a")});
  EXPECT_EQ(gateway.next(), "+shop/cert ");
  apply({}, {pod("shop", "web", "a")}, {{kRouteSetType, "gateway/443"}});
  EXPECT_EQ(gateway.next(), "-shop/cert ");
  // None of it was for the other: the next that it hears of is what comes then.
  apply({rule("partner.example", "client"), secret("shop/client")}, {pod("shop", "web", "a")});
  EXPECT_EQ(plain.next(), "+shop/client ");
}

TEST_F(NodeScopeTest, KeysOfARuleGoWhereACapturedPodCanUseThem) {
  LocalPod outside = pod("shop", "batch", "c");
  outside.wants_capture = false;
  const std::vector<LocalPod> pods = {pod("shop", "web", "a"), pod("bank", "till", "b"), outside};
  const auto with = [&](LocalPod more) {
    std::vector<LocalPod> out = pods;
    out.push_back(std::move(more));
    return out;
  };
  apply({secret("shop/client"), secret("shop/client-cacert"), rule("partner.example", "client", "shop")},
        pods);
  Node a(address_, "a"), b(address_, "b"), c(address_, "c");
  for (Node* each : {&a, &b, &c}) each->subscribe(kSecretType);
  EXPECT_EQ(a.next(), "+shop/client +shop/client-cacert ");
  EXPECT_EQ(b.next(), "") << "no pod of the namespace";
  EXPECT_EQ(c.next(), "") << "a pod that is not of the mesh";
  // The first captured pod of the namespace brings them, its end takes them.
  apply({}, with(pod("shop", "web2", "b")));
  EXPECT_EQ(b.next(), "+shop/client +shop/client-cacert ");
  apply({}, pods);
  EXPECT_EQ(b.next(), "-shop/client -shop/client-cacert ");
  // Exported to all: whoever captures some pod.
  apply({rule("partner.example", "client")}, pods);
  EXPECT_EQ(b.next(), "+shop/client +shop/client-cacert ");
  // For a Service of another namespace a rule holds for clients of its own, whatever it is exported to.
  apply({rule("vault.bank.svc.cluster.local", "client")}, pods);
  EXPECT_EQ(b.next(), "-shop/client -shop/client-cacert ");
  apply({rule("cart.shop.svc.cluster.local", "other")}, pods);
  EXPECT_EQ(a.next(), "-shop/client -shop/client-cacert ");
  // The pod that was there all the time is of the mesh now.
  apply({rule("partner.example", "client", "shop")}, {pods[0], pods[1], pod("shop", "batch", "c")});
  EXPECT_EQ(c.next(), "+shop/client +shop/client-cacert ");
  apply({}, pods);
  EXPECT_EQ(c.next(), "-shop/client -shop/client-cacert ");
}

TEST_F(NodeScopeTest, ANamespaceHasTheKeysOfItsOwnRuleWhateverThatExports) {
  apply({secret("shop/client"), rule("vault.bank.svc.cluster.local", "client", "bank")},
        {pod("shop", "web", "a"), pod("bank", "till", "b")});
  Node a(address_, "a"), b(address_, "b"), gateway(address_, "d", "", true);
  for (Node* each : {&a, &b, &gateway}) {
    each->subscribe(kDestinationPolicyType);
    EXPECT_EQ(each->next(), "+shop/rule ");
    each->subscribe(kSecretType);
  }
  EXPECT_EQ(a.next(), "+shop/client ");
  EXPECT_EQ(b.next(), "") << "its clients do not use the rule";
  EXPECT_EQ(gateway.next(), "+shop/client ");
}

// A ServiceEntry makes a host its namespace's service, however that is named: the rule is its owner's then.
TEST_F(NodeScopeTest, KeysForAServiceEntryNamedLikeAServiceOfAnotherNamespaceGoToAllItsUsers) {
  const std::string host = "vault.bank.svc.cluster.local";
  const std::vector<LocalPod> pods = {pod("shop", "web", "a"), pod("bank", "till", "b")};
  apply({secret("shop/client"), rule(host, "client"), service(str_cat("bank/", host))}, pods);
  Node a(address_, "a"), b(address_, "b");
  for (Node* each : {&a, &b}) each->subscribe(kSecretType);
  EXPECT_EQ(a.next(), "+shop/client ");
  EXPECT_EQ(b.next(), "") << "the service's own: not for clients of other namespaces than the rule's";
  apply({service(str_cat("shop/", host))}, pods);
  EXPECT_EQ(b.next(), "+shop/client ");
  apply({}, pods, {{kAddressType, str_cat("shop/", host)}});
  EXPECT_EQ(b.next(), "-shop/client ");
  // The rule may come after the service, and be exported to some.
  apply({service(str_cat("shop/", host)), rule(host, "client", "bank")}, pods);
  EXPECT_EQ(b.next(), "+shop/client ");
  apply({rule(host, "client", "shop")}, pods);
  EXPECT_EQ(b.next(), "-shop/client ");
}

TEST_F(NodeScopeTest, KeysComeBeforeWhatNamesThem) {
  apply({secret("shop/cert"), edge_with("shop/cert")}, {});
  Node gateway(address_, "b", "", true);
  gateway.subscribe(kSecretType);
  gateway.subscribe(kRouteSetType);
  EXPECT_EQ(gateway.next(), "+shop/cert ");
  EXPECT_EQ(gateway.next(), "+gateway/443 ");
  apply({secret("shop/new"), edge_with("shop/new")}, {});
  EXPECT_EQ(gateway.next(), "+shop/new ");
  EXPECT_EQ(gateway.next(), "+gateway/443 ");
  EXPECT_EQ(gateway.next(), "-shop/cert ");
}

TEST_F(NodeScopeTest, AStreamThatGoesOnIsSentOnlyWhatItLacks) {
  const Resource all = service("all"), mine = service("mine", "shop");
  apply({all, mine}, {pod("shop", "web", "a")});
  Node again(address_, "a");
  again.subscribe(kAddressType, {{"all", std::string(all.version())}, {"mine", "old"}, {"gone", "1"}});
  EXPECT_EQ(again.next(), "+mine -gone ");
  // What it may not see any more is taken back too.
  Node other(address_, "b");
  other.subscribe(kAddressType, {{"all", std::string(all.version())}, {"mine", std::string(mine.version())}});
  EXPECT_EQ(other.next(), "-mine ");
}

TEST_F(NodeScopeTest, WhoIsNotKnownIsRefusedWithTheReason) {
  Node nobody(address_, "");
  nobody.subscribe(kAddressType);
  EXPECT_EQ(nobody.next(), "ended");
  const grpc::Status status = nobody.finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(status.error_message(), "say who you are");
}

TEST_F(NodeScopeTest, AnAgentThatSaysItIsAnotherNodeIsRefusedAndToldHowToStart) {
  Node liar(address_, "a", "b");
  liar.subscribe(kAddressType);
  EXPECT_EQ(liar.next(), "ended");
  const grpc::Status status = liar.finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("--node-name a"), std::string::npos) << status.error_message();
}

TEST_F(NodeScopeTest, AnAgentThatSaysItServesGatewaysAndMayNotIsRefusedAndToldHowTo) {
  apply({secret("shop/cert"), edge_with("shop/cert")}, {});
  Node pretender(address_, "no-gateway", "", true);
  pretender.subscribe(kSecretType);
  EXPECT_EQ(pretender.next(), "ended");
  const grpc::Status status = pretender.finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("--gateway-node no-gateway"), std::string::npos)
      << status.error_message();
}

TEST_F(NodeScopeTest, WhatANodeIsCountsWhereItsStreamBegins) {
  mesh::v1::RouteSet edge;
  edge.mutable_gateway()->set_port(80);
  apply({make(kRouteSetType, "gateway/80", edge)}, {});
  Node plain(address_, "a");
  plain.subscribe(kRouteSetType);
  EXPECT_EQ(plain.next(), "");
  plain.say_gateway();
  plain.subscribe(kAddressType);
  EXPECT_EQ(plain.next(), "");
  apply({make(kRouteSetType, "shop/open", mesh::v1::RouteSet())}, {});
  EXPECT_EQ(plain.next(), "+shop/open ");
}

TEST_F(NodeScopeTest, ANodeHasAFewStreamsAndOthersHaveTheirs) {
  std::vector<std::unique_ptr<Node>> streams;
  for (size_t i = 0; i < kMaxStreamsOfNode; ++i) {
    streams.push_back(std::make_unique<Node>(address_, "a"));
    streams.back()->subscribe(kAddressType);
    EXPECT_EQ(streams.back()->next(), "");
  }
  Node more(address_, "a"), other(address_, "b");
  more.subscribe(kAddressType);
  EXPECT_EQ(more.next(), "ended");
  EXPECT_EQ(more.finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  other.subscribe(kAddressType);
  EXPECT_EQ(other.next(), "");
  // One that ends makes room.
  streams.pop_back();
  bool served = false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!served && std::chrono::steady_clock::now() < end) {
    Node again(address_, "a");
    again.subscribe(kAddressType);
    served = again.next().empty();
  }
  EXPECT_TRUE(served);
}

TEST_F(NodeScopeTest, NamesThatANodeSaysAreBoundedInNumberAndLength) {
  Node many(address_, "a");
  many.subscribe(kPodType);
  EXPECT_EQ(many.next(), "");
  many.subscribe_names(kPodType, 0, static_cast<int>(kMaxNames) - 1);
  EXPECT_THAT(many.next(), testing::StartsWith("-0 ")) << "what is not there is said not to be there";
  many.subscribe_names(kPodType, static_cast<int>(kMaxNames), 2);
  EXPECT_EQ(many.next(), "ended");
  const grpc::Status status = many.finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("next: start the agent anew"));

  Node longest(address_, "b");
  longest.subscribe(kPodType, {{std::string(kMaxNameBytes, 'n'), "1"}});
  EXPECT_EQ(longest.next(), str_cat("-", std::string(kMaxNameBytes, 'n'), " "));
  Node too_long(address_, "b");
  too_long.subscribe(kPodType, {{std::string(kMaxNameBytes + 1, 'n'), "1"}});
  EXPECT_EQ(too_long.next(), "ended");
  EXPECT_EQ(too_long.finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(NodePodsTest, APodIsTheSameAfterTheWayAndVersionsSayWhetherItIs) {
  LocalPod all = pod("shop", "web", "a");
  all.kubelet_uid = "11-22";
  all.netns_path = "/run/netns/web";
  all.exclude_ports = {22, 65535};
  all.exclude_cidrs = {"10.0.0.0/8"};
  all.fail_mode = LocalPod::FailMode::kClosed;
  all.confined = true;
  all.shortcut = true;
  const Resource resource = pod_resource(all);
  EXPECT_EQ(resource.name(), all.uid);
  const auto read = read_pod(std::string(resource.body()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, all);
  EXPECT_EQ(pod_resource(all).version(), resource.version());
  all.fail_mode = LocalPod::FailMode::kOpen;
  EXPECT_NE(pod_resource(all).version(), resource.version());
}

TEST(ScopeTest, ARequestAuthenticationIsForTheNodesOfItsNamespaceOrOfAll) {
  const NodeView shop{.node = "a", .gateway = false, .namespaces = {"shop"}};
  EXPECT_TRUE(shop.sees(scope_of(authentication("shop", false))));
  EXPECT_FALSE(shop.sees(scope_of(authentication("bank", false))));
  EXPECT_TRUE(shop.sees(scope_of(authentication("istio-system", true))));
}

TEST(NodePodsTest, NamespacesOfTheMeshAreToldOnceAndWhenTheyChange) {
  NodePods pods;
  const auto update = [&pods](std::vector<std::string> namespaces) {
    Change told, out;
    told.mesh_namespaces = std::move(namespaces);
    pods.update(told, out);
    return out.upserted;
  };
  EXPECT_EQ(update({}).size(), 1u) << "a node is told that there are none";
  EXPECT_THAT(update({}), testing::IsEmpty());
  const std::vector<Resource> changed = update({"bank", "shop"});
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(std::string_view(changed[0].type_url()), kMeshType);
  EXPECT_EQ(read_mesh(std::string(changed[0].body())).value(), (std::vector<std::string>{"bank", "shop"}));
  EXPECT_THAT(update({"bank", "shop"}), testing::IsEmpty());
  EXPECT_FALSE(read_mesh("\xff\xff").ok());
}

TEST(NodePodsTest, WhatIsNoPodIsRefused) {
  EXPECT_FALSE(read_pod("\xff\xff").ok());
  EXPECT_FALSE(read_pod("").ok()) << "a pod without uid";
}

}  // namespace
}  // namespace weft::control_plane
