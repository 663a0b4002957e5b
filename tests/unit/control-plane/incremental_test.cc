// What a control plane tells change by change is what a compilation of all objects gives, whatever came, went
// and was altered in which order. The worlds are small, so that objects meet: addresses that several have,
// slices of Services that are not there, policies of pods that are not there yet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "base/strings.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/compile/workload_stage.h"
#include "control-plane/pipeline.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {
namespace {

class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {}

  // A few objects that come, go or are others.
  Store::Changes change() {
    Store::Changes out;
    for (size_t left = 1 + below(3); left > 0; --left) {
      const auto [kind, name] = pick_object();
      const std::string place = str_cat(kind, " ", name);
      if (below(4) == 0)
        out[place] = std::nullopt;
      else
        out[place] = parse_file(place, text(kind, name));
    }
    return out;
  }

  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }

 private:
  template <typename... T>
  std::string any(const T&... texts) {
    const std::vector<std::string> all = {texts...};
    return all[below(all.size())];
  }

  std::string ns() { return any("a", "a-b", "istio-system"); }
  std::string address() { return str_cat("10.0.0.", 1 + below(5)); }
  std::string labels() {
    return str_cat("{app: ", any("web", "db"), ", version: ", any("v1", "v2"), any("", ", tier: x"), "}");
  }
  std::string selector() { return any("{app: web}", "{app: db}", "{version: v1}", "{app: web, tier: x}"); }

  std::pair<std::string, std::string> pick_object() {
    // Most are what changes most.
    switch (below(26)) {
      case 0:
        return {"Namespace", ns()};
      case 1:
        return {"Node", any("node1", "node2")};
      case 2:
      case 3:
        return {"WorkloadEntry", str_cat(ns(), "/", any("m1", "m2"))};
      case 4:
      case 5:
        return {"ServiceEntry", str_cat(ns(), "/", any("e1", "e2"))};
      case 6:
        return {"AuthorizationPolicy", str_cat(ns(), "/", any("p1", "converted_peer_authentication_q1"))};
      case 7:
        return {"PeerAuthentication", str_cat(ns(), "/", any("q1", "q2"))};
      case 8:
        return {"Sidecar", str_cat(ns(), "/", any("s1", "s2"))};
      case 9:
        return {"DestinationRule", str_cat(ns(), "/d1")};
      case 10:
        return {"RequestAuthentication", str_cat(ns(), "/r1")};
      case 11:
        return {"ConfigMap", "istio-system/istio"};
      case 12:
      case 13:
        return {"Service", str_cat(ns(), "/", any("web", "db"))};
      case 20:
      case 21:
      case 22:
      case 23:
      case 24:
        return {"VirtualService", str_cat(ns(), "/", any("v1", "v2"))};
      case 25:
        return {"Gateway", str_cat(ns(), "/g1")};
      case 14:
      case 15:
      case 16:
        return {"EndpointSlice", str_cat(ns(), "/", any("l1", "l2"))};
      default:
        return {"Pod", str_cat(ns(), "/", any("x", "y", "z"))};
    }
  }

  std::string text(const std::string& kind, const std::string& name) {
    const size_t slash = name.find('/');
    const std::string meta = slash == std::string::npos
                                 ? str_cat("metadata: {name: ", name, ", labels: ")
                                 : str_cat("metadata: {namespace: ", name.substr(0, slash),
                                           ", name: ", name.substr(slash + 1), ", labels: ");
    return kind == "Pod" || kind == "Service" || kind == "EndpointSlice" || kind == "Node" ||
                   kind == "Namespace" || kind == "ConfigMap"
               ? core(kind, meta)
               : istio(kind, meta);
  }

  std::string core(const std::string& kind, const std::string& meta) {
    const std::string head = str_cat("apiVersion: v1\nkind: ", kind, "\n", meta);
    if (kind == "Namespace") return str_cat(head, any("{}", "{istio.io/dataplane-mode: ambient}"), "}\n");
    if (kind == "Node")
      return str_cat(head, "{topology.kubernetes.io/zone: ", any("z1", "z2"), ", other: ", any("x", "y"),
                     "}}\n");
    if (kind == "ConfigMap")
      return str_cat(head,
                     "{}}\ndata: {mesh: \"outboundTrafficPolicy: {mode: ", any("REGISTRY_ONLY", "ALLOW_ANY"),
                     "}\"}\n");
    if (kind == "Service")
      return str_cat(head, "{}}\nspec: {clusterIP: 10.1.0.", 1 + below(3),
                     any("", str_cat(", selector: ", selector())),
                     any("", ", type: ExternalName, externalName: x.example.net"),
                     ", ports: [{name: http, port: ", any("80", "81"), ", targetPort: ", any("8080", "web"),
                     "}", any("", ", {name: dns, port: 53, protocol: UDP, targetPort: dns}"), "]}\n");
    if (kind == "EndpointSlice") return slice(meta);
    return str_cat(head, labels(), ", annotations: ", any("{}", "{ambient.istio.io/redirection: enabled}"),
                   "}\nspec: {nodeName: ", any("node1", "node2"), any("", ", hostNetwork: true"),
                   ", containers: [{name: c, ports: [{name: web, containerPort: ", any("90", "91"),
                   "}, {name: dns, containerPort: ", any("53", "54"),
                   ", protocol: UDP}]}]}\nstatus: {phase: ", any("Running", "Running", "Succeeded"),
                   ", podIP: ", address(),
                   any("", ", conditions: [{type: Ready, status: \"True\"}]",
                       ", conditions: [{type: Ready, status: \"False\"}]"),
                   "}\n");
  }

  std::string slice(const std::string& meta) {
    std::string out = str_cat("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n", meta,
                              "{kubernetes.io/service-name: ", any("web", "db"), "}}\naddressType: IPv4\n",
                              "ports: [{name: http, port: ", any("70", "71"), "}]\nendpoints:\n");
    for (size_t left = 1 + below(3); left > 0; --left) {
      str_append(
          &out, "- {addresses: [", address(), "], conditions: {ready: ", any("true", "false"), "}",
          any("", str_cat(", targetRef: {kind: Pod, namespace: ", ns(), ", name: ", any("x", "y"), "}")),
          any("", ", zone: z1"), "}\n");
    }
    return out;
  }

  std::string istio(const std::string& kind, const std::string& meta) {
    const bool security = kind.ends_with("Policy") || kind.ends_with("Authentication");
    const std::string head = str_cat("apiVersion: ", security ? "security" : "networking",
                                     ".istio.io/v1\nkind: ", kind, "\n", meta);
    if (kind == "WorkloadEntry")
      return str_cat(head, labels(), "}\nspec: {address: ", any(address(), "m.example.net"),
                     ", ports: {http: ", any("60", "61"), "}}\n");
    if (kind == "ServiceEntry")
      return str_cat(head, "{}}\nspec: {hosts: [", any("e.example.net", "web.a.svc.cluster.local"),
                     any("", ", f.example.net"),
                     "], ports: [{name: http, number: 80, protocol: HTTP}], resolution: ", "STATIC, ",
                     any(str_cat("workloadSelector: {labels: ", selector(), "}"),
                         str_cat("endpoints: [{address: ", address(), ", labels: ", labels(), "}]")),
                     "}\n");
    if (kind == "AuthorizationPolicy")
      return str_cat(head, "{}}\nspec: {",
                     any("", str_cat("selector: {matchLabels: ", selector(), "}, "),
                         "targetRefs: [{kind: Service, group: \"\", name: web}], "),
                     "rules: [{to: [{operation: {ports: [\"", any("80", "81"), "\"]}}]}]}\n");
    if (kind == "PeerAuthentication")
      return str_cat(head, "{}}\nspec: {", any("", str_cat("selector: {matchLabels: ", selector(), "}, ")),
                     "mtls: {mode: ", any("STRICT", "PERMISSIVE", "UNSET"), "}",
                     any("", str_cat(", portLevelMtls: {90: {mode: ", any("STRICT", "DISABLE"), "}}")),
                     "}\n");
    if (kind == "Sidecar")
      return str_cat(head, "{}}\nspec: {", any("", str_cat("workloadSelector: {labels: ", selector(), "}, ")),
                     "outboundTrafficPolicy: {mode: ", any("REGISTRY_ONLY", "ALLOW_ANY"), "}}\n");
    if (kind == "VirtualService") return virtual_service(head);
    if (kind == "Gateway")
      return str_cat(head, "{}}\nspec: {selector: {app: web}, servers: [{port: {number: 80, name: http, ",
                     "protocol: HTTP}, hosts: [\"*\"]}]}\n");
    if (kind == "DestinationRule")
      return str_cat(head, "{}}\nspec: {host: ", any("web", "db"),
                     ", subsets: [{name: s, labels: ", selector(), "}]}\n");
    return str_cat(head, "{}}\nspec: {selector: {matchLabels: ", selector(),
                   "}, jwtRules: [{issuer: i, jwksUri: \"https://i.example.net/keys\"}]}\n");
  }

  // Most are of one host and differ in their routes.
  std::string virtual_service(const std::string& head) {
    if (below(12) == 0) return str_cat(head, "{}}\nspec: {http: [{route: [{destination: {host: db}}]}]}\n");
    const auto mostly = [this](const std::string& usual, const std::string& other) {
      return below(8) == 0 ? other : usual;
    };
    std::string out =
        str_cat(head, "{}", mostly("", ", creationTimestamp: 2020-01-01T00:00:00Z"), "}\nspec:\n  hosts: [",
                mostly("web", "db"), mostly("", ", x.example.net"), "]\n",
                mostly("", "  exportTo: [\".\"]\n"), mostly("", "  gateways: [mesh, g1]\n"),
                mostly("", "  tcp: [{route: [{destination: {host: web}}]}]\n"), "  http:\n");
    for (size_t left = 1 + below(3); left > 0; --left) {
      str_append(&out, "  - match: [{uri: {", any("prefix", "exact"), ": /", any("a", "b"), "}",
                 mostly("", ", gateways: [mesh]"), "}]\n");
      if (below(10) == 0)
        str_append(&out, "    delegate: {name: v2, namespace: a}\n");
      else
        str_append(&out, "    route: [{destination: {host: ", mostly("web", any("db", "nobody")),
                   mostly("", ", subset: s"), "}, weight: ", 1 + below(2),
                   "}, {destination: {host: web}, weight: ", 1 + below(3), "}]\n");
    }
    return out;
  }

  std::minstd_rand random_;
};

// All that was told, put together.
class Heard {
 public:
  void take(const Change& change) {
    for (const Resource& resource : change.upserted) {
      std::pair<std::string, std::string> key(resource.type_url(), resource.name());
      const auto known = resources.find(key);
      EXPECT_TRUE(known == resources.end() || known->second != resource.version())
          << resource.name() << " was told again as it was";
      resources[std::move(key)] = resource.version();
    }
    for (const auto& key : change.removed)
      EXPECT_EQ(resources.erase(key), 1U) << key.second << " was not there";
    for (const LocalPod& pod : change.changed_pods) pods[pod.uid] = pod;
    for (const std::string& uid : change.gone_pods) EXPECT_EQ(pods.erase(uid), 1U);
    if (!change.local_pods.empty() || !of_all_nodes) {
      pods.clear();
      for (const LocalPod& pod : change.local_pods) pods[pod.uid] = pod;
    }
    mesh_namespaces = change.mesh_namespaces;
    findings.clear();
    for (const Finding& finding : change.findings) findings.insert(to_string(finding));
  }

  bool of_all_nodes = false;
  std::map<std::pair<std::string, std::string>, std::string> resources;
  std::map<std::string, LocalPod> pods;
  std::vector<std::string> mesh_namespaces;
  std::multiset<std::string> findings;
};

Heard whole(const Store& store, const std::string& node) {
  const Compiled compiled = compile(store.objects(), node);
  Heard out;
  for (const auto& [key, resource] : compiled.resources)
    out.resources[{std::string(key.first), std::string(key.second)}] = resource.version();
  for (const LocalPod& pod : compiled.local_pods) out.pods[pod.uid] = pod;
  out.mesh_namespaces = compiled.mesh_namespaces;
  for (const Finding& finding : all_findings(store, compiled)) out.findings.insert(to_string(finding));
  return out;
}

class IncrementalTest : public testing::TestWithParam<const char*> {};

TEST_P(IncrementalTest, AnySequenceOfChangesGivesWhatItsObjectsGiveAtOnce) {
  const std::string node = GetParam();
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    World world(seed);
    Store store;
    Heard heard{.of_all_nodes = node == kAllNodes};
    Pipeline pipeline(node, {}, [&heard](const Change& change) { heard.take(change); });
    for (int step = 0; step < 100; ++step) {
      const Store::Changes changes = world.change();
      store.update(changes);
      pipeline.update(changes);
      const Heard expected = whole(store, node);
      SCOPED_TRACE(str_cat("seed ", seed, ", step ", step, ": ", changes.begin()->first));
      ASSERT_EQ(heard.resources, expected.resources);
      ASSERT_EQ(heard.pods, expected.pods);
      ASSERT_EQ(heard.mesh_namespaces, expected.mesh_namespaces);
      ASSERT_EQ(heard.findings, expected.findings);
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

Store::Changes one(const std::string& place, const std::string& text) {
  Store::Changes out;
  out.emplace(place, parse_file(place, text));
  return out;
}

std::string pod(const std::string& name, const std::string& ip) {
  return str_cat("apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: ", name,
                 ", labels: {app: web}}\nspec: {nodeName: n, containers: [{name: c}]}\n",
                 "status: {phase: Running, podIP: ", ip, "}\n");
}

TEST(WorkloadStageTest, AChangeOfOnePodCompilesAndTellsThatPodAlone) {
  std::vector<Change> told;
  Pipeline pipeline(kAllNodes, {}, [&told](const Change& change) { told.push_back(change); });
  pipeline.update(one("s",
                      "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\n"
                      "spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{port: 80}]}\n"));
  pipeline.update(one("a", pod("a", "10.0.0.1")));
  pipeline.update(one("b", pod("b", "10.0.0.2")));
  pipeline.update(one("b", pod("b", "10.0.0.3")));
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[1].findings.size(), told[0].findings.size() - 1) << "the Service has an endpoint now";
  ASSERT_EQ(told[3].upserted.size(), 1U);
  EXPECT_EQ(told[3].upserted[0].name(), "Kubernetes//Pod/shop/b");
  EXPECT_THAT(told[3].changed_pods, testing::IsEmpty()) << "enrolment does not care about addresses";
  pipeline.update(one("b", pod("b", "10.0.0.3")));
  EXPECT_EQ(told.size(), 4U) << "nothing is told that is as it was";
  Store::Changes gone;
  gone.emplace("a", std::nullopt);
  pipeline.update(std::move(gone));
  ASSERT_EQ(told.size(), 5U);
  EXPECT_THAT(told[4].removed,
              testing::ElementsAre(testing::Pair(kAddressType, std::string("Kubernetes//Pod/shop/a"))));
  EXPECT_THAT(told[4].gone_pods, testing::ElementsAre("Kubernetes//Pod/shop/a"));
  EXPECT_THAT(told[4].upserted, testing::IsEmpty());
}

TEST(WorkloadStageTest, AddressesOfNamesAreFollowed) {
  Store store;
  store.update(
      one("e",
          "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {namespace: shop, name: e}\n"
          "spec: {hosts: [e.example.net], ports: [{name: http, number: 80, protocol: HTTP}], "
          "resolution: DNS}\n"));
  WorkloadStage stage(store.objects(), kAllNodes);
  std::vector<ObjectChange> all;
  for (const auto& [key, object] : store.objects()) all.push_back({key, nullptr, object});
  Change out;
  stage.apply(all, {{"e.example.net", {"192.0.2.1"}}}, &out);
  ASSERT_EQ(out.upserted.size(), 1U);
  EXPECT_EQ(out.upserted[0].name(), "Kubernetes//ServiceEntry/shop/192.0.2.1");
  out = {};
  stage.apply({}, {{"e.example.net", {"192.0.2.1"}}}, &out);
  EXPECT_THAT(out.upserted, testing::IsEmpty());
  stage.apply({}, {{"e.example.net", {"192.0.2.2"}}}, &out);
  ASSERT_EQ(out.upserted.size(), 1U);
  EXPECT_EQ(out.upserted[0].name(), "Kubernetes//ServiceEntry/shop/192.0.2.2");
  EXPECT_THAT(out.removed, testing::ElementsAre(testing::Pair(
                               kAddressType, std::string("Kubernetes//ServiceEntry/shop/192.0.2.1"))));
}

INSTANTIATE_TEST_SUITE_P(Nodes, IncrementalTest, testing::Values(kAllNodes, "node1"),
                         [](const auto& info) { return info.index == 0 ? "all" : "one"; });

}  // namespace
}  // namespace weft::control_plane
