// Edges from what the kernel and the proxy counted: who, to whom, by which way, and how it is secured.
#include "agent/admin/edge_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"

namespace weft::agent {
namespace {

using admin::v1::Edge;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// web is on n1, of cart one pod is there and one on n2.
constexpr char kMesh[] = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: n1, serviceAccountName: web}
status: {podIP: 10.0.0.2, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: shop, labels: {app: cart}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: n1}
status: {podIP: 10.0.0.3, phase: Running}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: shop, labels: {app: cart}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: n2}
status: {podIP: 10.0.1.3, phase: Running}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: cart}, ports: [{name: http, port: 80}]}
---
)";

// Its pods take tunnels of their own node too.
constexpr char kEncrypted[] = R"(
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop, annotations: {weft.dev/same-node: encrypt}}
spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}
---
)";

class EdgeListTest : public testing::Test {
 protected:
  explicit EdgeListTest(const std::string& text = kMesh) {
    namespace cp = control_plane;
    cp::Store store;
    store.update({{"f.yaml", cp::parse_file("f.yaml", text)}});
    cp::Change change;
    cp::diff({}, cp::compile(store.objects(), "n1"), change);
    model_.apply(change);
    for (const cp::Resource& resource : change.upserted) {
      if (resource.type_url() != cp::kAddressType) continue;
      istio::workload::Address address;
      EXPECT_TRUE(resource.decode(&address));
      const bool workload = address.has_workload();
      ids_[workload ? address.workload().name() : address.service().name()] =
          registry_.add(workload ? Subject::Kind::kWorkload : Subject::Kind::kService, resource);
    }
  }

  void flow(uint32_t source, uint32_t destination, uint32_t direction, uint64_t opened, uint64_t sent = 0,
            uint64_t received = 0) {
    FlowRow row;
    row.key = {source, destination, direction};
    row.total.opened = opened;
    row.total.sent_bytes = sent;
    row.total.received_bytes = received;
    flows_.push_back(row);
  }
  void requests(const std::string& workload, uint64_t count) {
    auto& series = *metrics_.add_requests();
    series.set_source_workload("web");
    series.set_source_namespace("shop");
    series.set_destination_service("cart");
    series.set_destination_namespace("shop");
    series.set_destination_workload(workload);
    series.set_requests(count);
  }
  std::vector<Edge> edges() const { return edges_of(flows_, metrics_, registry_, model_, "n1"); }
  uint32_t id(const std::string& name) const { return ids_.at(name); }

  MeshModel model_;
  IdRegistry registry_;
  std::map<std::string, uint32_t> ids_;
  std::vector<FlowRow> flows_;
  proxy::v1::Metrics metrics_;
};

TEST_F(EdgeListTest, RequestsThroughTheProxyAreOneEdgeWithTheirServiceAndItsBytes) {
  flow(id("web"), id("cart"), WEFT_DIRECTION_OUTBOUND, 3, 100, 2000);
  flow(id("web"), id("far"), WEFT_DIRECTION_PROXY, 1, 100, 2000);
  requests("far", 40);
  requests("far", 2);
  const std::vector<Edge> all = edges();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].source(), "shop/web");
  EXPECT_EQ(all[0].destination(), "shop/cart");
  EXPECT_EQ(all[0].path(), "proxy");
  EXPECT_EQ(all[0].requests(), 42u);
  EXPECT_EQ(all[0].connections(), 3u);
  EXPECT_EQ(all[0].sent_bytes(), 100u);
  EXPECT_EQ(all[0].received_bytes(), 2000u);
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::MUTUAL_TLS)) << "only the far one was reached";
  EXPECT_EQ(all[0].identity(), "cluster.local/ns/shop/sa/web");
}

TEST_F(EdgeListTest, EndpointsThatDifferAreBothSaid) {
  flow(id("web"), id("cart"), WEFT_DIRECTION_OUTBOUND, 3);
  flow(id("web"), id("far"), WEFT_DIRECTION_PROXY, 1);
  flow(id("web"), id("near"), WEFT_DIRECTION_PROXY, 1);
  ASSERT_THAT(edges(), SizeIs(1));
  EXPECT_THAT(edges()[0].security(), ElementsAre(Edge::MUTUAL_TLS, Edge::SAME_NODE));
}

TEST_F(EdgeListTest, WhatTheKernelConnectsIsPlainBetweenNodes) {
  flow(id("web"), id("far"), WEFT_DIRECTION_OUTBOUND, 1, 5, 6);
  flow(id("web"), id("near"), WEFT_DIRECTION_OUTBOUND, 1, 7, 8);
  const std::vector<Edge> all = edges();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].destination(), "shop/far");
  EXPECT_EQ(all[0].path(), "direct");
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::PLAIN));
  EXPECT_EQ(all[0].identity(), "") << "nothing proves it";
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::SAME_NODE));
  EXPECT_EQ(all[1].identity(), "cluster.local/ns/shop/sa/web");
}

TEST_F(EdgeListTest, WhatComesInCountsOnlyFromElsewhere) {
  flow(id("web"), id("near"), WEFT_DIRECTION_INBOUND, 9);
  flow(id("far"), id("web"), WEFT_DIRECTION_INBOUND, 2);
  flow(WEFT_ID_UNKNOWN, id("web"), WEFT_DIRECTION_INBOUND, 1);
  const std::vector<Edge> all = edges();
  ASSERT_THAT(all, SizeIs(2)) << "web's own row has the first";
  EXPECT_EQ(all[0].source(), "shop/far");
  EXPECT_EQ(all[0].path(), "inbound");
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::MUTUAL_TLS));
  EXPECT_EQ(all[1].source(), "unknown");
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::PLAIN));
  EXPECT_EQ(all[1].identity(), "");
}

class EncryptedEdgeListTest : public EdgeListTest {
 protected:
  EncryptedEdgeListTest() : EdgeListTest(str_cat(kMesh, kEncrypted)) {}
};

TEST_F(EncryptedEdgeListTest, WithinANodeWhatIsEncryptedIsSaid) {
  flow(id("web"), id("cart"), WEFT_DIRECTION_OUTBOUND, 3);
  flow(id("web"), id("near"), WEFT_DIRECTION_PROXY, 1);
  // No tunnel leads back.
  flow(id("near"), id("web"), WEFT_DIRECTION_OUTBOUND, 1);
  flow(id("near"), id("web"), WEFT_DIRECTION_PROXY, 1);
  const std::vector<Edge> all = edges();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].source(), "shop/near");
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::SAME_NODE)) << "web asks for none";
  EXPECT_EQ(all[1].destination(), "shop/cart");
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::MUTUAL_TLS));
  EXPECT_EQ(all[1].identity(), "cluster.local/ns/shop/sa/web");
}

TEST_F(EncryptedEdgeListTest, WithinANodeTheKernelEncryptsNothing) {
  flow(id("web"), id("near"), WEFT_DIRECTION_OUTBOUND, 1);
  flow(id("near"), id("near"), WEFT_DIRECTION_OUTBOUND, 1);
  flow(id("near"), id("near"), WEFT_DIRECTION_PROXY, 1);
  for (const Edge& edge : edges())
    EXPECT_THAT(edge.security(), ElementsAre(Edge::SAME_NODE)) << edge.source();
  EXPECT_THAT(edges(), SizeIs(2));
}

// What a policy asks about requests is judged at a tunnel's end, so there is one; a trial of it makes none.
std::string judged(const std::string& annotations = "") {
  return str_cat(R"(
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: shop, annotations: {)",
                 annotations, R"(}}
spec: {selector: {matchLabels: {app: cart}}, action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}]}
---
)");
}
constexpr char kTokens[] = R"(
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: https://issuer.example, jwksUri: https://issuer.example/keys}]
---
)";

class JudgedEdgeListTest : public EdgeListTest {
 protected:
  JudgedEdgeListTest() : JudgedEdgeListTest(judged()) {}
  explicit JudgedEdgeListTest(const std::string& more) : EdgeListTest(str_cat(kMesh, more)) {}
  // By their sources: near to web, which nothing judges, and web to the near one of cart.
  std::vector<Edge> both_ways() {
    flow(id("web"), id("cart"), WEFT_DIRECTION_OUTBOUND, 3);
    flow(id("web"), id("near"), WEFT_DIRECTION_PROXY, 1);
    flow(id("near"), id("web"), WEFT_DIRECTION_OUTBOUND, 1);
    flow(id("near"), id("web"), WEFT_DIRECTION_PROXY, 1);
    return edges();
  }
};

TEST_F(JudgedEdgeListTest, WithinANodePoliciesOfRequestsMakeMutualTls) {
  const std::vector<Edge> all = both_ways();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].source(), "shop/near");
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::SAME_NODE));
  EXPECT_EQ(all[1].destination(), "shop/cart");
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::MUTUAL_TLS));
}

class TokenEdgeListTest : public JudgedEdgeListTest {
 protected:
  TokenEdgeListTest() : JudgedEdgeListTest(kTokens) {}
};

TEST_F(TokenEdgeListTest, AndSoDoRulesOfTokens) {
  const std::vector<Edge> all = both_ways();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_THAT(all[0].security(), ElementsAre(Edge::SAME_NODE));
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::MUTUAL_TLS));
}

class TrialEdgeListTest : public JudgedEdgeListTest {
 protected:
  TrialEdgeListTest() : JudgedEdgeListTest(judged("istio.io/dry-run: 'true'")) {}
};

TEST_F(TrialEdgeListTest, ATrialOfAPolicyMakesNone) {
  const std::vector<Edge> all = both_ways();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_THAT(all[1].security(), ElementsAre(Edge::SAME_NODE));
}

TEST_F(EdgeListTest, RowsOfNobodyAndEmptyRowsAreNoEdges) {
  flow(id("web"), id("cart"), WEFT_DIRECTION_OUTBOUND, 0);
  EXPECT_THAT(edges(), IsEmpty());
  flow(WEFT_ID_OVERFLOW, WEFT_ID_OVERFLOW, WEFT_DIRECTION_OUTBOUND, 4);
  ASSERT_THAT(edges(), SizeIs(1));
  EXPECT_EQ(edges()[0].source(), "overflow");
}

}  // namespace
}  // namespace weft::agent
