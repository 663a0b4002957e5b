// The links of one start as a transaction: programs are replaced behind pinned links, or attached anew, and
// all of it can be taken back until it is kept. Used by Programs. Every change is effective when its call
// returns. One thread.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"
#include "bpf/user/pins.h"

namespace weft::bpf {

// Zeros when the descriptor is not of a link.
bpf_link_info link_info(int link_fd);

class LinkSwitch {
 public:
  explicit LinkSwitch(const Pins& pins) : pins_(pins) {}
  LinkSwitch(const LinkSwitch&) = delete;
  LinkSwitch& operator=(const LinkSwitch&) = delete;

  // `link_fd` must stay open until keep() or undo(). NotFound: what it is attached to has died; nothing was
  // changed then.
  absl::Status replace(const std::string& name, int link_fd, int program_fd);
  // A new link, pinned as a staged one under this name.
  absl::StatusOr<UniqueFd> attach(const std::string& name, int program_fd, int target_fd,
                                  bpf_attach_type type);
  // True when some link was given another program.
  bool changed() const { return !replaced_.empty() || !attached_.empty(); }
  void keep();
  // Puts the former programs back, newest first, and detaches what was new. Goes on after an error and
  // returns the first.
  absl::Status undo();

 private:
  struct Replaced {
    std::string name;
    int link_fd = -1;
    UniqueFd former;
  };

  Pins pins_;
  std::vector<Replaced> replaced_;
  std::vector<std::string> attached_;
};

}  // namespace weft::bpf
