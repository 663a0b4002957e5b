// LocalPod and the namespaces of the mesh as resources of delta ADS, and what a list of them changes:
// weft-control makes them, agents read them. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// FNV-1a, 64 bits, as the compiler's versions.
std::string version_of(const std::string& body);

// Equal pods give equal bytes and versions, whichever replica makes them.
Resource pod_resource(const LocalPod& pod);
// `body`: a serialised weft.node.v1.Pod. kInvalidArgument: it is none, or a port is no port.
absl::StatusOr<LocalPod> read_pod(const std::string& body);

// Change::mesh_namespaces, the same way.
Resource mesh_resource(const std::vector<std::string>& namespaces);
absl::StatusOr<std::vector<std::string>> read_mesh(const std::string& body);

// The pods of all nodes, and the namespaces of the mesh, as resources.
class NodePods {
 public:
  // Adds to `out` what `told`, of a control plane of all nodes, says that is new of them.
  void update(const Change& told, Change& out);

 private:
  std::optional<std::vector<std::string>> mesh_namespaces_;  // nullopt: not told yet
};

}  // namespace weft::control_plane
