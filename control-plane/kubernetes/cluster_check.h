// `weft check --cluster`: whether a cluster can have Weft, or how the Weft in it does, as its API server
// tells. Reads only; asks with the rights of whoever calls.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::control_plane {

struct ClusterQuestion {
  std::string kubeconfig;  // empty: as this pod
  std::string context;     // empty: the file's current one
  std::string ns = "weft-system";
  std::string version;  // of who asks, "0.1.0"
  // Before anything is installed: what the cluster offers, and whether the caller may install.
  bool before = false;
};

struct ClusterCheck {
  enum class Result { kSuccess, kWarning, kError };
  std::string id;        // "P-02"
  std::string category;  // "cluster" or "installation"
  std::string description;
  Result result = Result::kSuccess;
  std::string error;  // empty: success
  std::string hint;   // what to type next
};

// Never empty. When the server cannot be asked, that is the only row.
std::vector<ClusterCheck> check_cluster(const ClusterQuestion& question);

// Pods of Weft that are there, whatever their state. Errors: the server cannot be asked.
absl::StatusOr<size_t> count_pods(const ClusterQuestion& question);

}  // namespace weft::control_plane
