// Pod: what the mesh needs of it (addresses, ports, labels, node, readiness, exclusions).
#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/address.h"
#include "base/ip_range.h"
#include "base/strings.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 5> kSpecRead = {"nodeName", "serviceAccountName", "hostNetwork", "containers",
                                            "initContainers"};
constexpr std::array<Names, 36> kSpecKnown = {"activeDeadlineSeconds",
                                              "affinity",
                                              "automountServiceAccountToken",
                                              "dnsConfig",
                                              "dnsPolicy",
                                              "enableServiceLinks",
                                              "ephemeralContainers",
                                              "hostAliases",
                                              "hostIPC",
                                              "hostPID",
                                              "hostUsers",
                                              "hostname",
                                              "imagePullSecrets",
                                              "nodeSelector",
                                              "os",
                                              "overhead",
                                              "preemptionPolicy",
                                              "priority",
                                              "priorityClassName",
                                              "readinessGates",
                                              "resourceClaims",
                                              "resources",
                                              "restartPolicy",
                                              "runtimeClassName",
                                              "schedulerName",
                                              "schedulingGates",
                                              "securityContext",
                                              "serviceAccount",
                                              "setHostnameAsFQDN",
                                              "shareProcessNamespace",
                                              "subdomain",
                                              "terminationGracePeriodSeconds",
                                              "tolerations",
                                              "topologySpreadConstraints",
                                              "volumes",
                                              "hostnameOverride"};
constexpr std::array<Names, 2> kContainerRead = {"name", "ports"};
constexpr std::array<Names, 22> kContainerKnown = {"args",
                                                   "command",
                                                   "env",
                                                   "envFrom",
                                                   "image",
                                                   "imagePullPolicy",
                                                   "lifecycle",
                                                   "livenessProbe",
                                                   "readinessProbe",
                                                   "resizePolicy",
                                                   "resources",
                                                   "restartPolicy",
                                                   "securityContext",
                                                   "startupProbe",
                                                   "stdin",
                                                   "stdinOnce",
                                                   "terminationMessagePath",
                                                   "terminationMessagePolicy",
                                                   "tty",
                                                   "volumeDevices",
                                                   "volumeMounts",
                                                   "workingDir"};
constexpr std::array<Names, 3> kPortRead = {"name", "containerPort", "protocol"};
constexpr std::array<Names, 2> kPortKnown = {"hostPort", "hostIP"};
constexpr std::array<Names, 5> kStatusRead = {"podIP", "podIPs", "phase", "conditions", "containerStatuses"};
constexpr std::array<Names, 13> kStatusKnown = {"ephemeralContainerStatuses",
                                                "hostIP",
                                                "hostIPs",
                                                "initContainerStatuses",
                                                "message",
                                                "nominatedNodeName",
                                                "observedGeneration",
                                                "qosClass",
                                                "reason",
                                                "resize",
                                                "resourceClaimStatuses",
                                                "startTime",
                                                "extendedResourceClaimStatus"};
constexpr std::array<Names, 1> kIpRead = {"ip"};
constexpr char kExcludePorts[] = "traffic.sidecar.istio.io/excludeOutboundPorts";
constexpr char kFailMode[] = "weft.dev/fail-mode";
constexpr char kConfigHash[] = "kubernetes.io/config.hash";
constexpr char kConfigMirror[] = "kubernetes.io/config.mirror";
constexpr size_t kConfigHashDigits = 32;
constexpr char kExcludeRanges[] = "traffic.sidecar.istio.io/excludeOutboundIPRanges";

void parse_ports(const FieldReader& container, Pod& out) {
  for (const FieldReader& port : container.items("ports")) {
    if (!port.expect_map({.read = kPortRead, .known = kPortKnown, .strict = false})) continue;
    Pod::Port parsed{.name = port.text("name").value_or(""),
                     .number = static_cast<uint16_t>(port.integer("containerPort", 1, 65535).value_or(0))};
    const std::string protocol = port.text("protocol").value_or("TCP");
    if (parsed.number == 0) {
      port.error_at("containerPort", kFieldMissing, "the field is required", "give the port's number");
    } else if (protocol == "TCP") {
      out.ports.push_back(std::move(parsed));
    } else if (protocol == "UDP") {
      out.datagram_ports.push_back(std::move(parsed));
    }
  }
}

void parse_spec(const FieldReader& spec, Pod& out) {
  if (!spec.expect_map({.read = kSpecRead, .known = kSpecKnown, .strict = false})) return;
  out.node = spec.text("nodeName").value_or("");
  out.service_account = spec.text("serviceAccountName").value_or("");
  out.host_network = spec.boolean("hostNetwork").value_or(false);
  // Init containers first would shadow nothing: port names are unique in a pod.
  for (const char* list : {"containers", "initContainers"}) {
    for (const FieldReader& container : spec.items(list)) {
      if (container.expect_map({.read = kContainerRead, .known = kContainerKnown, .strict = false})) {
        parse_ports(container, out);
      }
    }
  }
}

void add_ip(const FieldReader& reader, Pod& out) {
  const auto text = reader.as_text();
  if (!text || text->empty()) return;
  const auto ip = IpAddress::parse(*text);
  if (!ip) {
    reader.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no IP address"),
                 "use an IPv4 or IPv6 address");
    return;
  }
  const std::string normal = ip->to_string();
  if (std::find(out.ips.begin(), out.ips.end(), normal) == out.ips.end()) out.ips.push_back(normal);
}

void parse_status(const FieldReader& status, Pod& out) {
  if (!status.expect_map({.read = kStatusRead, .known = kStatusKnown, .strict = false})) return;
  if (const auto ip = status.child("podIP")) add_ip(*ip, out);
  for (const FieldReader& item : status.items("podIPs")) {
    if (!item.expect_map({.read = kIpRead, .strict = false})) continue;
    if (const auto ip = item.child("ip")) add_ip(*ip, out);
  }
  out.phase = status.text("phase").value_or("");
  for (const FieldReader& condition : status.items("conditions")) {
    if (condition.text("type").value_or("") == "Ready")
      out.ready = condition.text("status").value_or("") == "True";
  }
  const std::vector<FieldReader> containers = status.items("containerStatuses");
  out.started = !containers.empty() && std::all_of(containers.begin(), containers.end(), [](const auto& one) {
    return one.boolean("started").value_or(false);
  });
}

void parse_owner(const FieldReader& meta, Pod& out) {
  for (const FieldReader& owner : meta.items("ownerReferences")) {
    if (!owner.boolean("controller").value_or(false)) continue;
    out.owner_kind = owner.text("kind").value_or("");
    out.owner_name = owner.text("name").value_or("");
  }
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string item(absl::StripAsciiWhitespace(to_absl(text.substr(0, comma))));
    if (!item.empty()) out.push_back(item);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return out;
}

bool is_cidr(std::string_view text) {
  return text.find('/') != std::string_view::npos && IpRange::parse(text).has_value();
}

void parse_exclusions(const FieldReader& annotations, Pod& out) {
  for (const YamlField& f : annotations.node().fields) {
    if (!f.name.starts_with("traffic.sidecar.istio.io/")) continue;
    if (f.name != kExcludePorts && f.name != kExcludeRanges) {
      if (const auto value = annotations.child(f.name)) {
        value->warning(kAnnotationIgnored, "the annotation has no effect",
                       str_cat("remove it, or use ", kExcludePorts, " or ", kExcludeRanges));
      }
    }
  }
  for (const std::string& item : split_list(out.meta.annotations[kExcludePorts])) {
    const auto port = parse_integer<uint16_t>(item);
    if (port && *port != 0) {
      out.exclude_ports.push_back(*port);
    } else {
      annotations.error_at(kExcludePorts, kValueRejected, str_cat("\"", item.substr(0, 64), "\" is no port"),
                           "list port numbers with commas between them");
    }
  }
  for (const std::string& item : split_list(out.meta.annotations[kExcludeRanges])) {
    if (is_cidr(item)) {
      out.exclude_cidrs.push_back(item);
    } else {
      annotations.error_at(kExcludeRanges, kValueRejected,
                           str_cat("\"", item.substr(0, 64), "\" is no address range"),
                           "list ranges like 10.0.0.0/8 with commas between them");
    }
  }
}

// A static pod's object is a mirror with a uid of its own. Whoever makes a pod may annotate it: what could be
// the uid of another pod (36 characters) is no hash.
std::string kubelet_uid(const FieldReader& metadata, const std::map<std::string, std::string>& annotations) {
  const auto hash = annotations.find(kConfigHash);
  if (hash != annotations.end() && annotations.contains(kConfigMirror) &&
      hash->second.size() == kConfigHashDigits &&
      std::all_of(hash->second.begin(), hash->second.end(),
                  [](unsigned char c) { return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c); }))
    return hash->second;
  return metadata.text("uid").value_or("");
}

void check_fail_mode(const FieldReader& annotations, const Pod& pod) {
  const auto mode = pod.meta.annotations.find(kFailMode);
  if (mode == pod.meta.annotations.end() || mode->second == "open" || mode->second == "closed") return;
  annotations.error_at(kFailMode, kValueRejected,
                       str_cat("\"", mode->second.substr(0, 32), "\" is no fail mode"), "use open or closed");
}

}  // namespace

Pod parse_pod(const FieldReader& root, ObjectMeta meta) {
  Pod out{.meta = std::move(meta)};
  if (const auto spec = root.child("spec")) parse_spec(*spec, out);
  if (const auto status = root.child("status")) parse_status(*status, out);
  if (const auto metadata = root.child("metadata")) {
    out.deleting = metadata->has("deletionTimestamp");
    parse_owner(*metadata, out);
    out.kubelet_uid = kubelet_uid(*metadata, out.meta.annotations);
    if (const auto annotations = metadata->child("annotations")) {
      parse_exclusions(*annotations, out);
      check_fail_mode(*annotations, out);
    }
  }
  return out;
}

}  // namespace weft::control_plane
