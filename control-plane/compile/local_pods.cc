// See local_pods.h.
#include "control-plane/compile/local_pods.h"

namespace weft::control_plane {
namespace {

constexpr char kShortcut[] = "weft.dev/shortcut";

enum class Wish { kNothing, kIn, kOut };

Wish wish_of(const std::map<std::string, std::string>& labels) {
  const auto weft = labels.find("weft.dev/mesh");
  if (weft != labels.end()) return weft->second == "enabled" ? Wish::kIn : Wish::kOut;
  const auto istio = labels.find("istio.io/dataplane-mode");
  if (istio == labels.end()) return Wish::kNothing;
  if (istio->second == "ambient") return Wish::kIn;
  return istio->second == "none" ? Wish::kOut : Wish::kNothing;
}

// The pod's word beats its namespace's.
bool takes_shortcut(const Pod& pod, const Objects& objects) {
  const auto own = pod.meta.annotations.find(kShortcut);
  if (own != pod.meta.annotations.end()) return own->second == "enabled";
  return takes_shortcut(find<Namespace>(objects, "", pod.meta.ns));
}

}  // namespace

// The pod's word beats its namespace's. Capturing a host-network pod would capture the node itself.
bool wants_capture(const Pod& pod, const Objects& objects) {
  if (pod.host_network) return false;
  const Wish own = wish_of(pod.meta.labels);
  if (own != Wish::kNothing) return own == Wish::kIn;
  return wants_capture(find<Namespace>(objects, "", pod.meta.ns));
}

bool wants_capture(const Namespace* ns) { return ns != nullptr && wish_of(ns->meta.labels) == Wish::kIn; }

bool takes_shortcut(const Namespace* ns) {
  if (ns == nullptr) return false;
  const auto said = ns->meta.annotations.find(kShortcut);
  return said != ns->meta.annotations.end() && said->second == "enabled";
}

LocalPod local_pod(const Pod& pod, const Objects& objects, const EgressModes& egress) {
  LocalPod local{.uid = pod_uid(pod.meta),
                 .ns = pod.meta.ns,
                 .name = pod.meta.name,
                 .kubelet_uid = pod.kubelet_uid,
                 .wants_capture = wants_capture(pod, objects),
                 .exclude_ports = pod.exclude_ports,
                 .exclude_cidrs = pod.exclude_cidrs,
                 .shortcut = takes_shortcut(pod, objects),
                 .node = pod.node};
  const auto netns = pod.meta.annotations.find("weft.dev/netns");
  if (netns != pod.meta.annotations.end()) local.netns_path = netns->second;
  // What passes by the proxy is not asked whether it is declared.
  local.confined = egress.registry_only(pod.meta.ns, pod.meta.labels);
  if (local.confined) local.fail_mode = LocalPod::FailMode::kClosed;
  const auto mode = pod.meta.annotations.find("weft.dev/fail-mode");
  if (mode != pod.meta.annotations.end())
    local.fail_mode = mode->second == "closed" ? LocalPod::FailMode::kClosed : LocalPod::FailMode::kOpen;
  return local;
}

}  // namespace weft::control_plane
