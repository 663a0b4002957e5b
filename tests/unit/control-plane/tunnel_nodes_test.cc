// Which pods take tunnels where Weft's own pods show that their nodes capture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/strings.h"
#include "control-plane/control_plane.h"
#include "control-plane/pipeline.h"
#include "control-plane/resource/parse_file.h"
#include "proto/istio/workload.pb.h"

namespace weft::control_plane {
namespace {

constexpr char kReady[] = ", conditions: [{type: Ready, status: \"True\"}]";
constexpr char kNotReady[] = ", conditions: [{type: Ready, status: \"False\"}]";
constexpr char kStarted[] = ", containerStatuses: [{name: proxy, started: true, ready: false}]";
constexpr char kNotStarted[] = ", containerStatuses: [{name: proxy, started: false, ready: false}]";

class TunnelNodesTest : public testing::Test {
 protected:
  void put(const std::string& place, const std::string& text) {
    Store::Changes changes;
    changes.emplace(place, parse_file(place, text));
    pipeline_.update(std::move(changes));
  }
  void remove(const std::string& place) {
    Store::Changes changes;
    changes.emplace(place, std::nullopt);
    pipeline_.update(std::move(changes));
  }
  // In namespace shop, on the node; of the mesh.
  void web(const std::string& node, const std::string& annotations = "", const std::string& spec = "") {
    put(str_cat("web-", node),
        str_cat("apiVersion: v1\nkind: Pod\nmetadata: {name: web-", node,
                ", namespace: shop, labels: {app: web, weft.dev/mesh: enabled}, annotations: {", annotations,
                "}}\nspec: {nodeName: ", node, spec, ", containers: [{name: c}]}\n",
                "status: {phase: Running, podIP: 10.0.0.1}\n"));
  }
  void own(const std::string& component, const std::string& node, const std::string& status,
           const std::string& ns = "weft-system", const std::string& name = "a") {
    put(str_cat(component, node, ns, name),
        str_cat("apiVersion: v1\nkind: Pod\nmetadata: {name: weft-", component, "-", node, name,
                ", namespace: ", ns, ", labels: {app.kubernetes.io/name: weft, app.kubernetes.io/component: ",
                component, "}}\nspec: {nodeName: ", node, ", containers: [{name: c}]}\n",
                "status: {phase: Running, podIP: 10.9.0.1", status, "}\n"));
  }
  bool tunnels(const std::string& node) const {
    const auto found = workloads_.find(str_cat("Kubernetes//Pod/shop/web-", node));
    EXPECT_NE(found, workloads_.end());
    return found != workloads_.end() && found->second.tunnel_protocol() == istio::workload::HBONE;
  }
  void take(const Change& change) {
    for (const Resource& each : change.upserted) {
      istio::workload::Address address;
      if (each.type_url() != std::string_view(kAddressType) || !each.decode(&address)) continue;
      if (address.has_workload()) workloads_[std::string(each.name())] = address.workload();
    }
    ++changes_;
  }

  std::map<std::string, istio::workload::Workload> workloads_;
  int changes_ = 0;
  Pipeline pipeline_{kAllNodes, {}, [this](const Change& change) { take(change); }, {}, {"weft-system"}};
};

TEST_F(TunnelNodesTest, PodsOfTheMeshDoOnceTheirNodeCaptures) {
  web("n1");
  web("n2");
  EXPECT_FALSE(tunnels("n1"));
  own("agent", "n1", kNotReady);
  own("proxy", "n1", kNotStarted);
  EXPECT_FALSE(tunnels("n1")) << "an agent that never came so far captures nothing";
  own("agent", "n1", kReady);
  EXPECT_TRUE(tunnels("n1"));
  EXPECT_FALSE(tunnels("n2"));
}

TEST_F(TunnelNodesTest, AnAgentOrAProxyThatIsAwayChangesNothing) {
  web("n1");
  own("agent", "n1", kReady);
  own("proxy", "n1", str_cat(kReady, kStarted));
  ASSERT_TRUE(tunnels("n1"));
  const int before = changes_;
  // One version after the other: the agent is gone, then does not start; the proxy waits for it.
  remove("agentn1weft-systema");
  own("agent", "n1", kNotReady, "weft-system", "b");
  own("proxy", "n1", str_cat(kNotReady, kStarted));
  own("proxy", "n1", str_cat(kNotReady, kNotStarted), "weft-system", "b");
  EXPECT_TRUE(tunnels("n1"));
  own("agent", "n1", kReady, "weft-system", "b");
  // The proxy crashes.
  own("proxy", "n1", str_cat(kNotReady, kNotStarted));
  EXPECT_TRUE(tunnels("n1"));
  EXPECT_GT(changes_, before);
  remove("agentn1weft-systemb");
  EXPECT_FALSE(tunnels("n1")) << "nothing shows any more that it captures";
}

TEST_F(TunnelNodesTest, OthersDoNotCountNorDoPodsThatAreNotCaptured) {
  web("n1");
  own("agent", "n1", kReady, "shop");
  own("control", "n1", str_cat(kReady, kStarted));
  EXPECT_FALSE(tunnels("n1")) << "whoever may make pods elsewhere, and what captures nothing";
  own("agent", "n1", kReady);
  ASSERT_TRUE(tunnels("n1"));
  web("n1", "ambient.istio.io/redirection: disabled");
  EXPECT_FALSE(tunnels("n1"));
  web("n1", "", ", hostNetwork: true");
  EXPECT_FALSE(tunnels("n1"));
  web("n1", "ambient.istio.io/redirection: enabled");
  EXPECT_TRUE(tunnels("n1"));
}

TEST_F(TunnelNodesTest, TheNamespacesLabelCounts) {
  own("agent", "n1", kReady);
  const auto ns = [](const std::string& labels) {
    return str_cat("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {", labels, "}}\n");
  };
  put("ns", ns(""));
  put("web-n1",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: web-n1, namespace: shop}\nspec: {nodeName: n1, "
      "containers: "
      "[{name: c}]}\nstatus: {phase: Running, podIP: 10.0.0.1}\n");
  EXPECT_FALSE(tunnels("n1"));
  put("ns", ns("istio.io/dataplane-mode: ambient"));
  EXPECT_TRUE(tunnels("n1"));
  put("ns", ns(""));
  EXPECT_FALSE(tunnels("n1"));
}

TEST(AnnotatedTunnelsTest, WithoutNamespacesOfItsOwnPodsSayItThemselves) {
  int tunnels = 0;
  Pipeline pipeline(kAllNodes, {}, [&tunnels](const Change& change) {
    for (const Resource& each : change.upserted) {
      istio::workload::Address address;
      tunnels += each.decode(&address) && address.workload().tunnel_protocol() == istio::workload::HBONE;
    }
  });
  Store::Changes changes;
  changes.emplace("f", parse_file("f",
                                  "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: "
                                  "{weft.dev/mesh: enabled}}\nspec: {nodeName: n1, containers: [{name: c}]}\n"
                                  "---\napiVersion: v1\nkind: Pod\nmetadata: {name: weft-agent, namespace: "
                                  "weft-system, labels: {app.kubernetes.io/name: weft, "
                                  "app.kubernetes.io/component: agent}}\nspec: {nodeName: n1, containers: "
                                  "[{name: c}]}\nstatus: {conditions: [{type: Ready, status: \"True\"}]}\n"));
  pipeline.update(std::move(changes));
  EXPECT_EQ(tunnels, 0);
}

}  // namespace
}  // namespace weft::control_plane
