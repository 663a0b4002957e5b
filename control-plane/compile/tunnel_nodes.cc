// See tunnel_nodes.h.
#include "control-plane/compile/tunnel_nodes.h"

namespace weft::control_plane {
namespace {

constexpr char kRedirection[] = "ambient.istio.io/redirection";

std::string value_of(const std::map<std::string, std::string>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? "" : found->second;
}

}  // namespace

// An agent that is ready captures. Its proxy has been started since an agent was (the chart's startupProbe)
// and shows so while that agent is away: what is encrypted must not go in plain because of it. Either may be
// away alone, for an upgrade or because it failed.
bool TunnelNodes::shows(const Pod& pod) const {
  if (pod.node.empty() || !namespaces_.contains(pod.meta.ns)) return false;
  if (value_of(pod.meta.labels, "app.kubernetes.io/name") != "weft") return false;
  const std::string component = value_of(pod.meta.labels, "app.kubernetes.io/component");
  return (component == "agent" && pod.ready.value_or(false)) || (component == "proxy" && pod.started);
}

void TunnelNodes::note(const Pod* before, const Pod* now, std::set<std::string>* touched) {
  if (namespaces_.empty()) return;
  if (before != nullptr && shows(*before)) {
    const auto count = counts_.find(before->node);
    if (--count->second == 0) {
      counts_.erase(count);
      touched->insert(before->node);
    }
  }
  if (now != nullptr && shows(*now) && ++counts_[now->node] == 1) touched->insert(now->node);
}

bool TunnelNodes::takes(const Pod& pod, bool wants_capture) const {
  if (!wants_capture || pod.host_network || !counts_.contains(pod.node)) return false;
  const std::string said = value_of(pod.meta.annotations, kRedirection);
  return said.empty() || said == "enabled";
}

}  // namespace weft::control_plane
