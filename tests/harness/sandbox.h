// The private corner of the machine in which one test process works: an own mount namespace (so named network
// namespaces and the scratch bpffs vanish with the process, however it ends), a scratch directory and a
// scratch cgroup. Fixtures build one before anything else. It never touches the root cgroup, /sys/fs/bpf or
// the machine's own /run/netns.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace weft::harness {

class Sandbox {
 public:
  // Names start with `prefix` and our pid. First removes what crashed runs with the same prefix left behind.
  // kFailedPrecondition with the reason when this machine cannot run privileged tests (see skip_reason).
  static absl::StatusOr<std::unique_ptr<Sandbox>> create(const std::string& prefix = "weft-it");
  ~Sandbox();

  const std::string& directory() const { return directory_; }  // /run/weft-it-PID
  const std::string& cgroup() const { return cgroup_; }        // <cgroup2>/weft-it-PID
  std::string bpffs() const { return directory_ + "/bpf"; }
  std::string pin_root() const { return bpffs() + "/weft"; }
  // A child cgroup, made on first use.
  absl::StatusOr<std::string> sub_cgroup(const std::string& name) const;

 private:
  Sandbox(std::string directory, std::string cgroup)
      : directory_(std::move(directory)), cgroup_(std::move(cgroup)) {}
  std::string directory_;
  std::string cgroup_;
};

// Why privileged tests cannot run here (not root, no cgroup2); empty: they can.
std::string skip_reason();

// Where cgroup2 is mounted, unified or hybrid; empty: nowhere.
std::string cgroup2_mount();

}  // namespace weft::harness
