// Which identities the gateways of the mesh have, from the changes of the control plane: for these a node
// that serves gateways may ask certificates. Any thread.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/spiffe_id.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

class GatewayIdentities {
 public:
  void apply(const Change& change);
  bool contains(const SpiffeId& id) const;

 private:
  mutable absl::Mutex mutex_;
  // By the resource that has them, of one port: of several gateways, and of one of them in several ports.
  std::map<std::string, std::set<SpiffeId>> by_port_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
