// See control_cluster.h.
#include "tools/bench/control_cluster.h"

#include <utility>

#include "base/strings.h"

namespace weft::bench {
namespace {

constexpr char kPods[] = "/api/v1/pods";
constexpr char kServices[] = "/api/v1/services";
constexpr char kSlices[] = "/apis/discovery.k8s.io/v1/endpointslices";
constexpr char kNamespaces[] = "/api/v1/namespaces";
constexpr char kNodes[] = "/api/v1/nodes";

std::string uid_of(const std::string& ns, const std::string& name) {
  return str_cat("Kubernetes//Pod/", ns, "/", name);
}

// What nobody reads here is most of a pod: environment, volumes.
const std::string& unread_spec() {
  static const std::string text = [] {
    std::string variables;
    for (int i = 0; i < 12; ++i)
      str_append(&variables, i == 0 ? "" : ",", "{\"name\":\"VARIABLE_", i, "\",\"value\":\"some value\"}");
    return str_cat(",\"image\":\"registry.example.net/web:1\",\"env\":[", variables,
                   "],\"volumeMounts\":[{\"name\":\"token\",\"mountPath\":\"/var/run/secrets\"}]");
  }();
  return text;
}

}  // namespace

ControlCluster::ControlCluster(ObjectApi& api, const Size& size) : api_(api), size_(size) {
  put_namespaces_and_nodes();
  // What is in a namespace needs it. An error stays until the next flush.
  static_cast<void>(api_.flush());
  const uint32_t each = size_.endpoints / size_.services;
  for (uint32_t i = 0; i < size_.services; ++i) {
    Service service{.ns = str_cat("team-", i % size_.namespaces),
                    .name = str_cat("service-", i),
                    .number = i,
                    .pods = {}};
    put(service);
    for (uint32_t pod = 0; pod < each; ++pod) {
      service.pods.push_back(make_pod(service));
      put(service, service.pods.back(), Phase::kReady);
    }
    put_slice(service);
    services_.push_back(std::move(service));
  }
}

void ControlCluster::put_namespaces_and_nodes() {
  for (uint32_t i = 0; i < size_.namespaces; ++i)
    api_.put({.collection = kNamespaces,
              .name = str_cat("team-", i),
              .metadata = ",\"labels\":{\"istio.io/dataplane-mode\":\"ambient\"}"});
  for (uint32_t i = 0; i < size_.nodes; ++i)
    api_.put({.collection = kNodes,
              .name = str_cat("node-", i),
              .metadata = str_cat(",\"labels\":{\"topology.kubernetes.io/region\":\"r1\",",
                                  "\"topology.kubernetes.io/zone\":\"z", i % 3, "\"}")});
}

// Addresses are not used twice before 16 million pods were made.
ControlCluster::Pod ControlCluster::make_pod(const Service& service) {
  const uint32_t n = made_++;
  return {.name = str_cat(service.name, "-7d4b9c6f5-", n),
          .ip = str_cat("10.", (n >> 16) & 255, ".", (n >> 8) & 255, ".", n & 255),
          .node = n % size_.nodes};
}

void ControlCluster::put(const Service& service, ObjectApi::Begun begun) {
  // The first addresses of a range are a server's own.
  const uint32_t address = service.number + 16;
  api_.put({.collection = kServices,
            .ns = service.ns,
            .name = service.name,
            .fields = str_cat(",\"spec\":{\"clusterIP\":\"10.255.", address / 256 % 256, ".", address % 256,
                              "\",\"selector\":{\"app\":\"", service.name,
                              "\"},\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":", service.target,
                              "}]}")},
           std::move(begun));
}

void ControlCluster::put(const Service& service, const Pod& pod, Phase phase, ObjectApi::Begun begun) {
  const bool ready = phase == Phase::kReady;
  ApiObject out{.collection = kPods, .ns = service.ns, .name = pod.name, .ending = phase == Phase::kEnding};
  out.metadata = str_cat(
      ",\"labels\":{\"app\":\"", service.name, "\",\"pod-template-hash\":\"7d4b9c6f5\",\"version\":\"v1\"},",
      "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"", service.name,
      "-7d4b9c6f5\",\"uid\":\"r-", service.name, "\",\"controller\":true}]");
  out.fields =
      str_cat(",\"spec\":{\"nodeName\":\"node-", pod.node, "\",\"serviceAccountName\":\"", service.name,
              "\",\"volumes\":[{\"name\":\"token\",\"emptyDir\":{}}],\"containers\":[{\"name\":\"web\"",
              unread_spec(), ",\"ports\":[{\"name\":\"http\",\"containerPort\":8080}]}]}");
  out.status = str_cat("{\"phase\":\"", phase == Phase::kScheduled ? "Pending" : "Running", "\"");
  if (phase != Phase::kScheduled)
    str_append(&out.status, ",\"podIP\":\"", pod.ip, "\",\"podIPs\":[{\"ip\":\"", pod.ip, "\"}]");
  str_append(&out.status, ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"", ready ? "True" : "False",
             "\"}]}");
  api_.put(std::move(out), std::move(begun));
}

void ControlCluster::put_slice(const Service& service) {
  std::string fields =
      str_cat(",\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":", service.target,
              "}],\"endpoints\":[");
  for (size_t i = 0; i < service.pods.size(); ++i) {
    const Pod& pod = service.pods[i];
    str_append(&fields, i == 0 ? "" : ",", "{\"addresses\":[\"", pod.ip,
               "\"],\"conditions\":{\"ready\":true},\"nodeName\":\"node-", pod.node,
               "\",\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\"", service.ns, "\",\"name\":\"", pod.name,
               "\"}}");
  }
  api_.put({.collection = kSlices,
            .ns = service.ns,
            .name = service.name + "-abcde",
            .metadata = str_cat(",\"labels\":{\"kubernetes.io/service-name\":\"", service.name, "\"}"),
            .fields = fields + "]"});
}

ObjectApi::Begun ControlCluster::watched(ControlNode& node, ControlNode::Sight sight,
                                         const std::string& name) {
  node.expect(sight, name);
  return [&node, sight, name] { node.begin(sight, name); };
}

ControlCluster::Replacement ControlCluster::begin(ControlNode& node) {
  Service& service = services_[next_++ % services_.size()];
  Replacement out{.service = &service, .fresh = make_pod(service), .old = {}};
  put(service, out.fresh, Phase::kScheduled,
      watched(node, ControlNode::Sight::kNew, uid_of(service.ns, out.fresh.name)));
  return out;
}

void ControlCluster::join(const Replacement& replacement, ControlNode& node) {
  Service& service = *replacement.service;
  put(service, replacement.fresh, Phase::kReady,
      watched(node, ControlNode::Sight::kHealthy, uid_of(service.ns, replacement.fresh.name)));
  service.pods.push_back(replacement.fresh);
  put_slice(service);
  put(service, replacement.old, Phase::kEnding);
  std::erase_if(service.pods, [&](const Pod& pod) { return pod.name == replacement.old.name; });
  put_slice(service);
}

bool ControlCluster::replace_pods(ControlNode& node, size_t apart, bool begin_one) {
  if (begin_one) replacements_.push_back(begin(node));
  const size_t call = calls_++;
  // That which was begun so many calls ago.
  const auto begun = [&](size_t ago) -> Replacement* {
    return call < ago || call - ago >= replacements_.size() ? nullptr : &replacements_[call - ago];
  };
  if (const Replacement* one = begun(apart)) put(*one->service, one->fresh, Phase::kStarted);
  if (Replacement* one = begun(2 * apart)) {
    one->old = one->service->pods.front();
    join(*one, node);
  }
  if (const Replacement* one = begun(3 * apart)) {
    api_.remove({.collection = kPods, .ns = one->service->ns, .name = one->old.name},
                watched(node, ControlNode::Sight::kGone, uid_of(one->service->ns, one->old.name)));
  }
  return call < replacements_.size() + 3 * apart;
}

void ControlCluster::alter_service(ControlNode& node) {
  Service& service = services_[next_++ % services_.size()];
  service.target = service.target == 8080 ? 8081 : 8080;
  put(service, watched(node, ControlNode::Sight::kService,
                       str_cat(service.ns, "/", service.name, ".", service.ns, ".svc.cluster.local")));
}

}  // namespace weft::bench
