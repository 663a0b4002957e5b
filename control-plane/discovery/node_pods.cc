// See node_pods.h.
#include "control-plane/discovery/node_pods.h"

#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "proto/weft/node/v1/pod.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::node::v1;

constexpr char kMesh[] = "mesh";
constexpr uint32_t kHighestPort = 65535;

pb::Pod::FailMode to_message(LocalPod::FailMode mode) {
  switch (mode) {
    case LocalPod::FailMode::kOpen:
      return pb::Pod::OPEN;
    case LocalPod::FailMode::kClosed:
      return pb::Pod::CLOSED;
    case LocalPod::FailMode::kDefault:
      break;
  }
  return pb::Pod::DEFAULT;
}

// What is unknown here is a mode of a newer control plane: the strict one is never wrong.
LocalPod::FailMode from_message(pb::Pod::FailMode mode) {
  if (mode == pb::Pod::DEFAULT) return LocalPod::FailMode::kDefault;
  return mode == pb::Pod::OPEN ? LocalPod::FailMode::kOpen : LocalPod::FailMode::kClosed;
}

}  // namespace

std::string version_of(const std::string& body) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : body) hash = (hash ^ c) * 0x100000001b3;
  return absl::StrFormat("%016x", hash);
}

Resource pod_resource(const LocalPod& pod) {
  // One name for each field: a new one does not compile here before the message has it too.
  const auto& [uid, ns, name, kubelet_uid, netns_path, wants_capture, exclude_ports, exclude_cidrs, fail_mode,
               confined, shortcut, node] = pod;
  pb::Pod message;
  message.set_uid(uid);
  message.set_namespace_(ns);
  message.set_name(name);
  message.set_kubelet_uid(kubelet_uid);
  message.set_netns_path(netns_path);
  message.set_wants_capture(wants_capture);
  for (const uint16_t port : exclude_ports) message.add_exclude_ports(port);
  for (const std::string& range : exclude_cidrs) message.add_exclude_cidrs(range);
  message.set_fail_mode(to_message(fail_mode));
  message.set_confined(confined);
  message.set_shortcut(shortcut);
  message.set_node(node);
  const std::string body = message.SerializeAsString();
  return Resource(kPodType, uid, version_of(body), body);
}

absl::StatusOr<LocalPod> read_pod(const std::string& body) {
  pb::Pod message;
  if (!message.ParseFromString(body)) return absl::InvalidArgumentError("it is no weft.node.v1.Pod");
  if (message.uid().empty()) return absl::InvalidArgumentError("uid: empty");
  LocalPod out{.uid = message.uid(),
               .ns = message.namespace_(),
               .name = message.name(),
               .kubelet_uid = message.kubelet_uid(),
               .netns_path = message.netns_path(),
               .wants_capture = message.wants_capture(),
               .exclude_ports = {},
               .exclude_cidrs = {message.exclude_cidrs().begin(), message.exclude_cidrs().end()},
               .fail_mode = from_message(message.fail_mode()),
               .confined = message.confined(),
               .shortcut = message.shortcut(),
               .node = message.node()};
  for (const uint32_t port : message.exclude_ports()) {
    if (port == 0 || port > kHighestPort)
      return absl::InvalidArgumentError(str_cat("exclude_ports: ", port, " is no port"));
    out.exclude_ports.push_back(static_cast<uint16_t>(port));
  }
  return out;
}

Resource mesh_resource(const std::vector<std::string>& namespaces) {
  pb::Mesh message;
  for (const std::string& ns : namespaces) message.add_namespaces(ns);
  const std::string body = message.SerializeAsString();
  return Resource(kMeshType, kMesh, version_of(body), body);
}

absl::StatusOr<std::vector<std::string>> read_mesh(const std::string& body) {
  pb::Mesh message;
  if (!message.ParseFromString(body)) return absl::InvalidArgumentError("it is no weft.node.v1.Mesh");
  return std::vector<std::string>(message.namespaces().begin(), message.namespaces().end());
}

void NodePods::update(const Change& told, Change& out) {
  if (mesh_namespaces_ != told.mesh_namespaces) {
    mesh_namespaces_ = told.mesh_namespaces;
    out.upserted.push_back(mesh_resource(told.mesh_namespaces));
  }
  for (const LocalPod& pod : told.changed_pods) out.upserted.push_back(pod_resource(pod));
  for (const std::string& uid : told.gone_pods) out.removed.emplace_back(kPodType, uid);
}

}  // namespace weft::control_plane
