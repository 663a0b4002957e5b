// Pods and EndpointSlices to workloads, and which pods of the node ask for capture.
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

constexpr char kCart[] = R"(
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: web}]}
---
)";
constexpr char kKey[] = "default/cart.default.svc.cluster.local";

std::string pod(const std::string& name, const std::string& more_meta, const std::string& status,
                const std::string& spec = "nodeName: node1") {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  labels: {app: cart, version: v1}\n" +
         more_meta + "spec:\n  " + spec +
         "\n  containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]\nstatus: {" + status +
         "}\n---\n";
}

TEST(WorkloadTest, APodBecomesAWorkloadOfItsServiceWithResolvedPorts) {
  const Compiled compiled =
      compile_text(kCart + pod("p", "", "podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]"));
  const auto w = workload(compiled, "Kubernetes//Pod/default/p");
  EXPECT_EQ(w.addresses_size(), 2);
  EXPECT_EQ(w.node(), "node1");
  EXPECT_EQ(w.status(), istio::workload::HEALTHY);
  ASSERT_EQ(w.services().count(kKey), 1U);
  EXPECT_EQ(w.services().at(kKey).ports(0).service_port(), 80U);
  EXPECT_EQ(w.services().at(kKey).ports(0).target_port(), 8080U);
  mesh::v1::WorkloadLabels labels;
  ASSERT_TRUE(w.extensions(0).config().UnpackTo(&labels));
  EXPECT_EQ(labels.labels().at("version"), "v1");
}

TEST(WorkloadTest, ReadinessComesFromTheReadyCondition) {
  const Compiled compiled =
      compile_text(pod("p", "", "podIP: 10.0.0.1, conditions: [{type: Ready, status: \"False\"}]"));
  EXPECT_EQ(workload(compiled, "Kubernetes//Pod/default/p").status(), istio::workload::UNHEALTHY);
}

TEST(WorkloadTest, ADeletedPodIsUnhealthyAndAnEndedOneGone) {
  const Compiled compiled =
      compile_text(pod("a", "  deletionTimestamp: \"2026-01-01T00:00:00Z\"\n", "podIP: 10.0.0.1") +
                   pod("b", "", "podIP: 10.0.0.2, phase: Succeeded"));
  EXPECT_EQ(workload(compiled, "Kubernetes//Pod/default/a").status(), istio::workload::UNHEALTHY);
  EXPECT_EQ(compiled.resources.size(), 1U);
  EXPECT_EQ(compiled.local_pods.size(), 1U);
}

std::string slice(const std::string& endpoints) {
  return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: "
         "{kubernetes.io/service-name: cart}}\n"
         "addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [" +
         endpoints + "]\n---\n";
}

TEST(WorkloadTest, ASliceAndASelectorGiveOneMembershipNotTwo) {
  const Compiled compiled = compile_text(kCart + pod("p", "", "podIP: 10.0.0.1") +
                                         slice("{addresses: [10.0.0.1], conditions: {ready: false}, "
                                               "targetRef: {kind: Pod, name: p, namespace: default}}"));
  EXPECT_EQ(compiled.resources.size(), 2U);
  const auto w = workload(compiled, "Kubernetes//Pod/default/p");
  EXPECT_EQ(w.addresses_size(), 1);
  EXPECT_EQ(w.services().at(kKey).ports_size(), 1);
  EXPECT_EQ(w.status(), istio::workload::UNHEALTHY);
}

TEST(WorkloadTest, AnEndpointWithoutAPodIsAWorkloadNamedByItsAddress) {
  const Compiled compiled = compile_text(kCart + slice("{addresses: [10.0.0.9], nodeName: node2}"));
  const auto w = workload(compiled, "Kubernetes//Endpoint/default/10.0.0.9");
  EXPECT_EQ(w.name(), "10.0.0.9");
  EXPECT_EQ(w.node(), "node2");
  EXPECT_EQ(w.services().at(kKey).ports(0).target_port(), 8080U);
}

TEST(LocalPodTest, OnlyPodsOfThisNodeOrOfNoNodeAreLocal) {
  const Compiled compiled = compile_text(pod("here", "", "podIP: 10.0.0.1") +
                                         pod("there", "", "podIP: 10.0.0.2", "nodeName: node2") +
                                         pod("anywhere", "", "podIP: 10.0.0.3", "hostname: x"));
  ASSERT_EQ(compiled.local_pods.size(), 2U);
  EXPECT_EQ(compiled.local_pods[0].name, "anywhere");
  EXPECT_EQ(compiled.local_pods[1].name, "here");
}

std::string labelled(const std::string& name, const std::string& labels, const std::string& spec = "{}") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop, labels: {" + labels +
         "}, annotations: {weft.dev/netns: /run/netns/" + name +
         ", traffic.sidecar.istio.io/excludeOutboundPorts: \"25, 587\", "
         "traffic.sidecar.istio.io/excludeOutboundIPRanges: \"10.0.0.0/8\"}}\nspec: " +
         spec + "\n---\n";
}

TEST(LocalPodTest, ThePodsOwnLabelBeatsItsNamespace) {
  const std::string ns =
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: "
      "ambient}}\n---\n";
  const Compiled compiled =
      compile_text(ns + labelled("a", "") + labelled("b", "istio.io/dataplane-mode: none") +
                   labelled("c", "weft.dev/mesh: disabled") + labelled("d", "app: x", "{hostNetwork: true}"));
  ASSERT_EQ(compiled.local_pods.size(), 4U);
  EXPECT_TRUE(compiled.local_pods[0].wants_capture);
  EXPECT_FALSE(compiled.local_pods[1].wants_capture);
  EXPECT_FALSE(compiled.local_pods[2].wants_capture);
  EXPECT_FALSE(compiled.local_pods[3].wants_capture) << "capturing a host-network pod would capture the node";
  EXPECT_EQ(compiled.local_pods[0].netns_path, "/run/netns/a");
  EXPECT_EQ(compiled.local_pods[0].exclude_ports, (std::vector<uint16_t>{25, 587}));
  EXPECT_EQ(compiled.local_pods[0].exclude_cidrs, (std::vector<std::string>{"10.0.0.0/8"}));
}

TEST(LocalPodTest, TheKubeletsUidIsTheObjectsAndOfAStaticPodItsConfigHash) {
  const Compiled compiled = compile_text(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, uid: 11-22}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop, uid: 33-44, annotations: "
      "{kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef, "
      "kubernetes.io/config.mirror: 0123456789abcdef0123456789abcdef}}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: shop}\n---\n");
  ASSERT_EQ(compiled.local_pods.size(), 3U);
  EXPECT_EQ(compiled.local_pods[0].kubelet_uid, "11-22");
  EXPECT_EQ(compiled.local_pods[1].kubelet_uid, "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(compiled.local_pods[2].kubelet_uid, "");
}

TEST(LocalPodTest, AnAnnotationGivesNoPodTheUidOfAnother) {
  const auto uid_with = [](const std::string& annotations) {
    const Compiled compiled = compile_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, uid: 11-22, annotations: {" +
        annotations + "}}\n");
    return compiled.local_pods.size() == 1 ? compiled.local_pods[0].kubelet_uid : "no pod";
  };
  const std::string others = "kubernetes.io/config.hash: 6a6c7f0e-3a52-4bb0-9d6b-0c3f2a1d9e77";
  EXPECT_EQ(uid_with(others), "11-22");
  EXPECT_EQ(uid_with(others + ", kubernetes.io/config.mirror: x"), "11-22");
  EXPECT_EQ(uid_with("kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef"), "11-22");
  EXPECT_EQ(uid_with("kubernetes.io/config.hash: 0123456789ABCDEF0123456789abcdeg, "
                     "kubernetes.io/config.mirror: x"),
            "11-22");
}

TEST(LocalPodTest, NamespacesOfTheMeshAreThoseWithTheLabelOrWithAPodThatHasIt) {
  const std::string labelled_ns =
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: empty, labels: {weft.dev/mesh: enabled}}\n---\n"
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---\n";
  EXPECT_EQ(compile_text(labelled_ns + labelled("a", "")).mesh_namespaces, std::vector<std::string>{"empty"});
  EXPECT_EQ(compile_text(labelled_ns + labelled("a", "weft.dev/mesh: enabled")).mesh_namespaces,
            (std::vector<std::string>{"empty", "shop"}));
  EXPECT_EQ(compile_text(labelled("a", "weft.dev/mesh: enabled", "{hostNetwork: true}")).mesh_namespaces,
            std::vector<std::string>());
}

TEST(LocalPodTest, APodCanAskAloneInAnUnlabelledNamespace) {
  const Compiled compiled = compile_text(labelled("a", "weft.dev/mesh: enabled") + labelled("b", ""));
  ASSERT_EQ(compiled.local_pods.size(), 2U);
  EXPECT_TRUE(compiled.local_pods[0].wants_capture);
  EXPECT_FALSE(compiled.local_pods[1].wants_capture);
}

}  // namespace
}  // namespace weft::control_plane
