// LocalPod as a resource of delta ADS, and what a list of them changes: weft-control makes them, the agent of
// the pod's node reads them. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// Equal pods give equal bytes and versions, whichever replica makes them.
Resource pod_resource(const LocalPod& pod);
// `body`: a serialised weft.node.v1.Pod. kInvalidArgument: it is none, or a port is no port.
absl::StatusOr<LocalPod> read_pod(const std::string& body);

// The pods of all nodes as told last.
class NodePods {
 public:
  // Adds to `out` what turns the last list into this one.
  void update(const std::vector<LocalPod>& pods, Change& out);

 private:
  std::map<std::string, LocalPod> known_;  // by uid
};

}  // namespace weft::control_plane
