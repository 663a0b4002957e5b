// Which identities the pods of each node have, from the changes of the control plane: for these alone a node
// may ask certificates. Any thread.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/spiffe_id.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

class NodeWorkloads {
 public:
  void apply(const Change& change);
  bool runs_on(const std::string& node, const SpiffeId& id) const;

 private:
  using Place = std::pair<std::string, SpiffeId>;  // node, identity
  void leave(const std::string& uid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);  // by uid
  std::map<Place, size_t> pods_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
