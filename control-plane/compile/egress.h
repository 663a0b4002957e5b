// Who may reach declared destinations only (REGISTRY_ONLY), as Sidecars and MeshConfig say. Pure; asked by
// the compiler for every workload, and for the pods of this node.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

class EgressModes {
 public:
  explicit EgressModes(const Objects& objects);

  // The oldest Sidecar that selects the labels decides, else the oldest of the namespace, else of the root
  // namespace; one that has no outboundTrafficPolicy leaves it to the next. Without any: what MeshConfig
  // says.
  bool registry_only(const std::string& ns, const std::map<std::string, std::string>& labels) const;

 private:
  struct OfNamespace {
    // Those that say something, the oldest first.
    std::vector<const Sidecar*> whole, selecting;
  };
  std::map<std::string, OfNamespace> by_ns_;
  bool mesh_ = false;
};

}  // namespace weft::control_plane
