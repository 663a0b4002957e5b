// The control plane as a library: manifests in, mesh resources out. This is its one public header for the
// agent (which embeds it) and for weft-control (which serves it). No caller sees YAML, files or Kubernetes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/resource.h"

namespace weft::control_plane {

inline constexpr char kAddressType[] = "type.googleapis.com/istio.workload.Address";
inline constexpr char kAuthorizationType[] = "type.googleapis.com/istio.security.Authorization";
inline constexpr char kAuthenticationType[] = "type.googleapis.com/weft.mesh.v1.RequestAuthentication";
inline constexpr char kRouteSetType[] = "type.googleapis.com/weft.mesh.v1.RouteSet";
// One resource, kMeshConfigName.
inline constexpr char kMeshConfigType[] = "type.googleapis.com/weft.mesh.v1.MeshConfig";
inline constexpr char kMeshConfigName[] = "mesh";
// With keys: proxies get it, the agent keeps none of it.
inline constexpr char kSecretType[] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr char kDestinationPolicyType[] = "type.googleapis.com/weft.mesh.v1.DestinationPolicy";
// Between weft-control and agents only; elsewhere LocalPod.
inline constexpr char kPodType[] = "type.googleapis.com/weft.node.v1.Pod";
// Likewise; elsewhere Change::mesh_namespaces.
inline constexpr char kMeshType[] = "type.googleapis.com/weft.node.v1.Mesh";

struct GatewayApiStatus;  // gateway_api_status.h

// As a node's name: a control plane that describes the pods of every node.
inline constexpr char kAllNodes[] = "*";

// A refused or suspicious object. `code` has a row in docs/findings.md.
struct Finding {
  enum class Level { kWarning, kError };
  std::string code;
  Level level = Level::kError;
  std::string file;
  uint32_t line = 0;
  std::string object;  // "VirtualService shop/cart"
  std::string field;   // "spec.http[0].route[1].weight"
  std::string message;
  std::string remedy;

  bool operator==(const Finding&) const = default;
};

// "file:line: error WF0003 VirtualService shop/cart spec.http[0].route[1].weight: message (remedy)".
std::string to_string(const Finding& finding);

// A pod of this node as the source describes it.
struct LocalPod {
  std::string uid;  // of the Workload resource
  std::string ns;
  std::string name;
  // metadata.uid, or of a static pod its config hash: how the kubelet names the pod's cgroup. Empty: the
  // manifest has none.
  std::string kubelet_uid;
  // From annotation weft.dev/netns; empty: unknown here, enrolment waits for the CLI or for discovery.
  std::string netns_path;
  // Label istio.io/dataplane-mode: ambient or weft.dev/mesh: enabled, on the pod or its Namespace, and not
  // opted out.
  bool wants_capture = false;
  // Annotations traffic.sidecar.istio.io/excludeOutboundPorts and excludeOutboundIPRanges.
  std::vector<uint16_t> exclude_ports;
  std::vector<std::string> exclude_cidrs;
  // Annotation weft.dev/fail-mode: what happens to connections that need a proxy that does not answer.
  // Absent: closed where a policy applies to the pod or it may reach declared destinations only, else open.
  enum class FailMode : uint8_t { kDefault, kOpen, kClosed };
  FailMode fail_mode = FailMode::kDefault;
  // It may reach declared destinations only.
  bool confined = false;
  // Annotation weft.dev/shortcut: enabled, on the pod or its Namespace: what it and the node's proxy send
  // each other may go past TCP.
  bool shortcut = false;
  std::string node;  // where it runs; empty: not said, so here

  bool operator==(const LocalPod&) const = default;
};

// What one consistent step changed. The first change of a subscription carries everything as upserts.
struct Change {
  uint64_t generation = 0;
  std::vector<Resource> upserted;
  // {type_url, name}
  std::vector<std::pair<std::string, std::string>> removed;
  // The complete lists, always: they are small.
  // Of one node; empty of a control plane of all nodes (kAllNodes), whose pods are many:
  std::vector<LocalPod> local_pods;
  // its pods that are new or others than they were, and uids of those that are gone.
  std::vector<LocalPod> changed_pods = {};
  std::vector<std::string> gone_pods = {};
  // Of the whole cluster, sorted: namespaces that have a pod that is to be captured, or would have it
  // captured.
  std::vector<std::string> mesh_namespaces;
  std::vector<Finding> findings;
  // Complete, of a control plane of all nodes (kAllNodes); null: of another.
  std::shared_ptr<const GatewayApiStatus> gateway_api = {};
};

// The JSON Web Key Set of a source (resource/key_source.h) as its one entry, checked; an error says why it
// cannot be had, and what to do next. May block; runs on threads of its own, and may outlive who was given
// it. Empty: none is ever fetched.
using FetchKeys = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& source)>;

class ControlPlane {
 public:
  struct Options {
    std::string config_dir;
    std::string node_name;
    // Changes of files are gathered for this long after the last event, at most 10 times as long in all.
    std::chrono::milliseconds debounce{50};
    FetchKeys fetch_keys;
    // Absolute paths, below which Gateways and DestinationRules may name certificates in files.
    std::vector<std::string> certificate_folders = {};
  };
  using Subscriber = std::function<void(const Change&)>;

  // Reads the folder once before it returns, and calls `subscriber` with the first change; afterwards from
  // the control plane's own thread. A document that is refused is a finding, not an error: errors are a
  // missing or unreadable folder.
  static absl::StatusOr<std::unique_ptr<ControlPlane>> start(Options options, Subscriber subscriber);

  virtual ~ControlPlane() = default;
};

// What `weft analyze` prints: parse and validate files and folders exactly as start() does, without applying
// anything.
std::vector<Finding> analyze(const std::vector<std::string>& paths);

}  // namespace weft::control_plane
