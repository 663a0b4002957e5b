// On which nodes captured pods take tunnels without saying so themselves: where Weft's own pods have come so
// far that they capture. Bookkeeping over pods; the workload stage feeds it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

class TunnelNodes {
 public:
  // `namespaces`: of Weft's own pods, where nobody else may make some; none: no node counts, and pods take
  // tunnels that say so.
  explicit TunnelNodes(std::set<std::string> namespaces) : namespaces_(std::move(namespaces)) {}

  // A pod is another one now; null: it was not there, or is not any more. Both are not at once. A node that
  // may count now and did not, or the other way round, is added to `touched`.
  void note(const Pod* before, const Pod* now, std::set<std::string>* touched);

  // Whether the pod, which is to be captured or not, takes tunnels there.
  bool takes(const Pod& pod, bool wants_capture) const;

 private:
  bool shows(const Pod& pod) const;

  const std::set<std::string> namespaces_;
  std::map<std::string, size_t> counts_;  // pods that show it, by node
};

}  // namespace weft::control_plane
