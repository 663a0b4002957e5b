// Namespace, Service and EndpointSlice. Fields of Kubernetes that we do not read are tolerated: users paste
// what their cluster holds.
#include <algorithm>
#include <array>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 10> kServiceRead = {"selector",
                                                "ports",
                                                "clusterIP",
                                                "clusterIPs",
                                                "type",
                                                "sessionAffinity",
                                                "sessionAffinityConfig",
                                                "internalTrafficPolicy",
                                                "trafficDistribution",
                                                "publishNotReadyAddresses"};
constexpr std::array<Names, 1> kAffinityConfigRead = {"clientIP"};
constexpr std::array<Names, 1> kClientIpRead = {"timeoutSeconds"};
// What Kubernetes takes when the Service says nothing.
constexpr uint32_t kDefaultAffinitySeconds = 10800;
constexpr uint32_t kLongestAffinitySeconds = 86400;
constexpr std::array<Names, 10> kServiceKnown = {"externalIPs",
                                                 "externalName",
                                                 "externalTrafficPolicy",
                                                 "healthCheckNodePort",
                                                 "ipFamilies",
                                                 "ipFamilyPolicy",
                                                 "loadBalancerClass",
                                                 "loadBalancerIP",
                                                 "loadBalancerSourceRanges",
                                                 "allocateLoadBalancerNodePorts"};
constexpr std::array<Names, 5> kServicePortRead = {"name", "port", "targetPort", "appProtocol", "protocol"};
constexpr std::array<Names, 1> kServicePortKnown = {"nodePort"};
constexpr std::array<Names, 7> kSliceRead = {"apiVersion", "kind",  "metadata", "addressType",
                                             "endpoints",  "ports", "status"};
constexpr std::array<Names, 5> kEndpointRead = {"addresses", "conditions", "targetRef", "nodeName", "zone"};
constexpr std::array<Names, 3> kEndpointKnown = {"hostname", "hints", "deprecatedTopology"};
constexpr std::array<Names, 3> kConditionsRead = {"ready", "serving", "terminating"};
constexpr std::array<Names, 3> kSlicePortRead = {"name", "port", "protocol"};
constexpr std::array<Names, 1> kSlicePortKnown = {"appProtocol"};
constexpr std::array<Names, 3> kTargetRefRead = {"kind", "namespace", "name"};
constexpr std::array<Names, 4> kTargetRefKnown = {"apiVersion", "uid", "resourceVersion", "fieldPath"};
constexpr char kServiceNameLabel[] = "kubernetes.io/service-name";

std::string protocol_of(const FieldReader& port) {
  const std::string protocol = port.text("protocol").value_or("TCP");
  if (protocol != "TCP" && protocol != "UDP" && protocol != "SCTP") {
    port.error_at("protocol", kValueRejected, str_cat("\"", protocol.substr(0, 32), "\" is no protocol"),
                  "use TCP, UDP or SCTP");
  }
  return protocol;
}

TargetPort parse_target(const FieldReader& port, uint16_t fallback) {
  const auto target = port.child("targetPort");
  if (!target) return {.number = fallback};
  if (target->node().kind == YamlNode::Kind::kScalar && resolves_to_string(target->node())) {
    return {.name = target->node().scalar};
  }
  return {.number = static_cast<uint16_t>(target->as_integer(1, 65535).value_or(0))};
}

void parse_service_ports(const FieldReader& spec, Service& out) {
  for (const FieldReader& port : spec.items("ports")) {
    if (!port.expect_map({.read = kServicePortRead, .known = kServicePortKnown, .strict = false})) continue;
    if (!port.has("port")) {
      port.error_at("port", kFieldMissing, "the field is required", "give the port's number");
      continue;
    }
    const auto number = static_cast<uint16_t>(port.integer("port", 1, 65535).value_or(0));
    Service::Port parsed{.name = port.text("name").value_or(""),
                         .number = number,
                         .target = parse_target(port, number),
                         .app_protocol = port.text("appProtocol").value_or(""),
                         .line = port.line()};
    const std::string protocol = protocol_of(port);
    if (protocol != "TCP" && protocol != "UDP") continue;
    std::vector<Service::Port>& ports = protocol == "UDP" ? out.datagram_ports : out.ports;
    for (const Service::Port& other : ports) {
      if (other.number == number) {
        port.error_at("port", kValueRejected, str_cat("port ", number, " is given twice"),
                      "remove one of the two");
      } else if (other.name == parsed.name) {
        port.error_at("name", kValueRejected, "two ports have the same name", "give each port its own name");
      }
    }
    ports.push_back(std::move(parsed));
  }
}

void parse_affinity(const FieldReader& spec, Service& out) {
  const std::string affinity = spec.text("sessionAffinity").value_or("None");
  if (affinity == "None") return;
  if (affinity != "ClientIP") {
    spec.error_at("sessionAffinity", kValueRejected,
                  str_cat("\"", affinity.substr(0, 32), "\" is no affinity"), "use ClientIP or None");
    return;
  }
  out.affinity_seconds = kDefaultAffinitySeconds;
  const auto config = spec.child("sessionAffinityConfig");
  if (!config || !config->expect_map({.read = kAffinityConfigRead, .strict = false})) return;
  const auto client = config->child("clientIP");
  if (!client || !client->expect_map({.read = kClientIpRead, .strict = false})) return;
  out.affinity_seconds = static_cast<uint32_t>(
      client->integer("timeoutSeconds", 1, kLongestAffinitySeconds).value_or(kDefaultAffinitySeconds));
}

void parse_nearness(const FieldReader& spec, Service& out) {
  const std::string distribution = spec.text("trafficDistribution").value_or("");
  if (distribution == "PreferClose" || distribution == "PreferSameZone") {
    out.nearness = Service::Nearness::kPreferZone;
  } else if (distribution == "PreferSameNode") {
    out.nearness = Service::Nearness::kPreferNode;
  } else if (!distribution.empty()) {
    spec.error_at("trafficDistribution", kValueRejected,
                  str_cat("\"", distribution.substr(0, 32), "\" is no traffic distribution"),
                  "use PreferSameZone or PreferSameNode");
  }
  const std::string internal = spec.text("internalTrafficPolicy").value_or("Cluster");
  if (internal == "Local") {
    out.nearness = Service::Nearness::kNodeOnly;
  } else if (internal != "Cluster") {
    spec.error_at("internalTrafficPolicy", kValueRejected,
                  str_cat("\"", internal.substr(0, 32), "\" is no traffic policy"), "use Cluster or Local");
  }
}

void parse_cluster_ips(const FieldReader& spec, Service& out) {
  std::vector<FieldReader> readers = spec.items("clusterIPs");
  if (readers.empty()) {
    if (auto single = spec.child("clusterIP")) readers.push_back(std::move(*single));
  }
  for (const FieldReader& reader : readers) {
    const auto text = reader.as_text();
    if (!text || text->empty() || *text == "None") continue;
    if (!IpAddress::parse(*text)) {
      reader.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no IP address"),
                   "use an IPv4 or IPv6 address, or None");
      continue;
    }
    out.cluster_ips.push_back(*text);
  }
}

void parse_conditions(const FieldReader& endpoint, EndpointSlice::Endpoint& out) {
  const auto conditions = endpoint.child("conditions");
  if (!conditions || !conditions->expect_map({.read = kConditionsRead, .strict = false})) return;
  // Kubernetes: a missing "ready" means true.
  out.ready = conditions->boolean("ready").value_or(true);
}

void parse_target_ref(const FieldReader& endpoint, const std::string& ns, EndpointSlice::Endpoint& out) {
  const auto ref = endpoint.child("targetRef");
  if (!ref || !ref->expect_map({.read = kTargetRefRead, .known = kTargetRefKnown, .strict = false})) return;
  if (ref->text("kind").value_or("") != "Pod") return;
  out.pod_ns = ref->text("namespace").value_or(ns);
  out.pod_name = ref->text("name").value_or("");
}

void parse_endpoints(const FieldReader& root, EndpointSlice& out) {
  for (const FieldReader& item : root.items("endpoints")) {
    if (!item.expect_map({.read = kEndpointRead, .known = kEndpointKnown, .strict = false})) continue;
    EndpointSlice::Endpoint endpoint{.node = item.text("nodeName").value_or(""),
                                     .zone = item.text("zone").value_or("")};
    for (const FieldReader& address : item.items("addresses")) {
      const auto text = address.as_text();
      if (!text) continue;
      if (const auto ip = IpAddress::parse(*text)) {
        endpoint.addresses.push_back(ip->to_string());
      } else {
        address.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no IP address"),
                      "use an IPv4 or IPv6 address");
      }
    }
    if (!item.has("addresses")) {
      item.error_at("addresses", kFieldMissing, "the field is required", "list the endpoint's addresses");
    }
    parse_conditions(item, endpoint);
    parse_target_ref(item, out.meta.ns, endpoint);
    out.endpoints.push_back(std::move(endpoint));
  }
}

}  // namespace

Namespace parse_namespace(const FieldReader& root, ObjectMeta meta) {
  if (!is_dns_label(meta.name)) {
    root.error_at("metadata", kValueRejected, "not a namespace name",
                  "use lower-case letters, digits and '-'");
  }
  return {.meta = std::move(meta)};
}

Service parse_service(const FieldReader& root, ObjectMeta meta) {
  Service out{.meta = std::move(meta)};
  if (!is_dns_label(out.meta.name)) {
    root.child("metadata")
        ->error_at("name", kValueRejected, "not a service name",
                   "use lower-case letters, digits and '-', at most 63");
  }
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give the ports and the selector");
    return out;
  }
  if (!spec->expect_map({.read = kServiceRead, .known = kServiceKnown, .strict = false})) return out;
  out.selector = spec->text_map("selector");
  const std::string type = spec->text("type").value_or("ClusterIP");
  out.external_name = type == "ExternalName";
  if (out.external_name) {
    spec->child("type")->warning(kAnnotationIgnored, "ExternalName Services are not in the mesh yet",
                                 "its traffic passes through unchanged");
  } else if (type != "ClusterIP" && type != "NodePort" && type != "LoadBalancer") {
    spec->error_at("type", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no Service type"),
                   "use ClusterIP, NodePort, LoadBalancer or ExternalName");
  }
  parse_service_ports(*spec, out);
  parse_cluster_ips(*spec, out);
  parse_affinity(*spec, out);
  parse_nearness(*spec, out);
  out.publish_not_ready = spec->boolean("publishNotReadyAddresses").value_or(false);
  return out;
}

EndpointSlice parse_endpoint_slice(const FieldReader& root, ObjectMeta meta) {
  EndpointSlice out{.meta = std::move(meta)};
  if (!root.expect_map({.read = kSliceRead, .strict = false})) return out;
  const auto label = out.meta.labels.find(kServiceNameLabel);
  if (label == out.meta.labels.end()) {
    root.error_at("metadata", kFieldMissing, str_cat("label ", kServiceNameLabel, " is required"),
                  str_cat("add metadata.labels: {", kServiceNameLabel, ": NAME-OF-THE-SERVICE}"));
    return out;
  }
  out.service = label->second;
  const std::string type = root.required_text("addressType", "IPv4 or IPv6");
  if (type == "FQDN") {
    root.error_at("addressType", kNotSupportedYet, "endpoints that are names are not supported yet",
                  "use IPv4 or IPv6");
    return out;
  }
  if (!type.empty() && type != "IPv4" && type != "IPv6") {
    root.error_at("addressType", kValueRejected, str_cat("\"", type.substr(0, 32), "\" is no address type"),
                  "use IPv4 or IPv6");
  }
  parse_endpoints(root, out);
  for (const FieldReader& port : root.items("ports")) {
    if (!port.expect_map({.read = kSlicePortRead, .known = kSlicePortKnown, .strict = false})) continue;
    EndpointSlice::Port parsed{.name = port.text("name").value_or(""),
                               .number = static_cast<uint16_t>(port.integer("port", 1, 65535).value_or(0))};
    if (protocol_of(port) == "TCP" && parsed.number != 0) out.ports.push_back(std::move(parsed));
  }
  return out;
}

}  // namespace weft::control_plane
