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

std::string key_of(const std::string& ns, const std::string& name) { return str_cat(ns, "/", name); }

std::string uid_of(const std::string& ns, const std::string& name) {
  return str_cat("Kubernetes//Pod/", ns, "/", name);
}

// What nobody reads here is most of a pod: who wrote which field, environment, volumes.
const std::string& unread_metadata() {
  static const std::string text = [] {
    std::string fields;
    for (int i = 0; i < 40; ++i)
      str_append(&fields, i == 0 ? "" : ",", "\"f:field-with-a-long-name-", i, "\":{}");
    return str_cat(",\"managedFields\":[{\"manager\":\"kubelet\",\"fieldsV1\":{", fields, "}}]");
  }();
  return text;
}

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

ControlCluster::ControlCluster(StandInApi& api, const Size& size) : api_(api), size_(size) {
  put_namespaces_and_nodes();
  const uint32_t each = size_.endpoints / size_.services;
  for (uint32_t i = 0; i < size_.services; ++i) {
    Service service{.ns = str_cat("team-", i % size_.namespaces), .name = str_cat("service-", i), .pods = {}};
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
  for (uint32_t i = 0; i < size_.namespaces; ++i) {
    const std::string name = str_cat("team-", i);
    api_.put(kNamespaces, name,
             str_cat("\"name\":\"", name, "\",\"labels\":{\"istio.io/dataplane-mode\":\"ambient\"}}}"));
  }
  for (uint32_t i = 0; i < size_.nodes; ++i) {
    const std::string name = str_cat("node-", i);
    api_.put(kNodes, name,
             str_cat("\"name\":\"", name, "\",\"labels\":{\"topology.kubernetes.io/region\":\"r1\",",
                     "\"topology.kubernetes.io/zone\":\"z", i % 3, "\"}}}"));
  }
}

// Addresses are not used twice before 16 million pods were made.
ControlCluster::Pod ControlCluster::make_pod(const Service& service) {
  const uint32_t n = made_++;
  return {.name = str_cat(service.name, "-7d4b9c6f5-", n),
          .ip = str_cat("10.", (n >> 16) & 255, ".", (n >> 8) & 255, ".", n & 255),
          .node = n % size_.nodes};
}

void ControlCluster::put(const Service& service) {
  api_.put(kServices, key_of(service.ns, service.name),
           str_cat("\"namespace\":\"", service.ns, "\",\"name\":\"", service.name, "\",\"uid\":\"s-",
                   service.name, "\"},\"spec\":{\"clusterIP\":\"10.255.", services_.size() / 256 % 256, ".",
                   services_.size() % 256, "\",\"selector\":{\"app\":\"", service.name,
                   "\"},\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":", service.target, "}]}}"));
}

void ControlCluster::put(const Service& service, const Pod& pod, Phase phase) {
  const bool ready = phase == Phase::kReady;
  std::string body = str_cat("\"namespace\":\"", service.ns, "\",\"name\":\"", pod.name, "\",\"uid\":\"p-",
                             pod.name, "\",\"labels\":{\"app\":\"", service.name,
                             "\",\"pod-template-hash\":\"7d4b9c6f5\",\"version\":\"v1\"}");
  str_append(&body, ",\"ownerReferences\":[{\"kind\":\"ReplicaSet\",\"name\":\"", service.name,
             "-7d4b9c6f5\",\"controller\":true}]");
  if (phase == Phase::kEnding) str_append(&body, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"");
  str_append(&body, unread_metadata(), "},\"spec\":{\"nodeName\":\"node-", pod.node,
             "\",\"serviceAccountName\":\"", service.name, "\",\"containers\":[{\"name\":\"web\"",
             unread_spec(),
             ",\"ports\":[{\"name\":\"http\",\"containerPort\":8080}]}]},\"status\":{\"phase\":\"",
             phase == Phase::kScheduled ? "Pending" : "Running", "\"");
  if (phase != Phase::kScheduled)
    str_append(&body, ",\"podIP\":\"", pod.ip, "\",\"podIPs\":[{\"ip\":\"", pod.ip, "\"}]");
  str_append(&body, ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"", ready ? "True" : "False", "\"}]}}");
  api_.put(kPods, key_of(service.ns, pod.name), std::move(body));
}

void ControlCluster::put_slice(const Service& service) {
  std::string body =
      str_cat("\"namespace\":\"", service.ns, "\",\"name\":\"", service.name,
              "-abcde\",\"labels\":{\"kubernetes.io/service-name\":\"", service.name,
              "\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":", service.target,
              "}],\"endpoints\":[");
  for (size_t i = 0; i < service.pods.size(); ++i) {
    const Pod& pod = service.pods[i];
    str_append(&body, i == 0 ? "" : ",", "{\"addresses\":[\"", pod.ip,
               "\"],\"conditions\":{\"ready\":true},\"nodeName\":\"node-", pod.node,
               "\",\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\"", service.ns, "\",\"name\":\"", pod.name,
               "\"}}");
  }
  str_append(&body, "]}");
  api_.put(kSlices, key_of(service.ns, service.name), std::move(body));
}

ControlCluster::Replacement ControlCluster::begin(ControlNode& node) {
  Service& service = services_[next_++ % services_.size()];
  Replacement out{.service = &service, .fresh = make_pod(service), .old = {}};
  node.expect(ControlNode::Sight::kNew, uid_of(service.ns, out.fresh.name));
  put(service, out.fresh, Phase::kScheduled);
  return out;
}

void ControlCluster::join(const Replacement& replacement, ControlNode& node) {
  Service& service = *replacement.service;
  node.expect(ControlNode::Sight::kHealthy, uid_of(service.ns, replacement.fresh.name));
  put(service, replacement.fresh, Phase::kReady);
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
    node.expect(ControlNode::Sight::kGone, uid_of(one->service->ns, one->old.name));
    api_.remove(kPods, key_of(one->service->ns, one->old.name));
  }
  return call < replacements_.size() + 3 * apart;
}

void ControlCluster::alter_service(ControlNode& node) {
  Service& service = services_[next_++ % services_.size()];
  service.target = service.target == 8080 ? 8081 : 8080;
  node.expect(ControlNode::Sight::kService,
              str_cat(service.ns, "/", service.name, ".", service.ns, ".svc.cluster.local"));
  put(service);
}

}  // namespace weft::bench
