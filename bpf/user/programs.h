// The kernel programs as one owner: open the skeleton, reuse pinned maps, load, attach, pin, and on a second
// start replace the programs behind the pinned links. The dataplane calls it from its thread; nothing else
// includes the skeleton.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bpf/user/pins.h"

struct mesh;
struct bpf_link;
struct bpf_program;

namespace weft::bpf {

struct SkeletonDeleter {
  void operator()(::mesh* skeleton) const;
};
using SkeletonPtr = std::unique_ptr<::mesh, SkeletonDeleter>;

// Destroying it closes the descriptor; a pinned link stays attached.
struct LinkDeleter {
  void operator()(::bpf_link* link) const;
};
using LinkPtr = std::unique_ptr<::bpf_link, LinkDeleter>;

// One attached program, for status.
struct Attachment {
  std::string program;
  std::string hook;
  uint64_t netns_cookie = 0;  // of a sk_lookup link, 0 for cgroup programs
  bool attached = false;
};

class Programs {
 public:
  struct Knobs {
    uint64_t report_ns = 1'000'000'000;  // least time between two reports of one open connection
  };
  // Maps that are pinned are used as they are; a pinned map of another shape is an error.
  static absl::StatusOr<std::unique_ptr<Programs>> load(const Pins& pins, const Knobs& knobs);

  // connect4, connect6, sockops; adopts links pinned for the same cgroup.
  absl::Status attach_cgroup(const std::string& cgroup_path);
  // A mesh_lookup of its own for this namespace; netns_fd -1 only replaces the program behind a pinned link.
  absl::Status attach_lookup(uint64_t netns_cookie, uint32_t slot, int netns_fd);
  // Unpins and detaches. Fine when there is none.
  // False when the link is gone or its namespace died.
  bool lookup_attached(uint64_t netns_cookie) const;
  void detach_lookup(uint64_t netns_cookie);

  int map_fd(const char* name) const;
  std::vector<Attachment> attachments() const;

 private:
  Programs(const Pins& pins, SkeletonPtr skeleton, Knobs knobs);

  absl::Status reuse_pinned_maps();
  absl::Status pin_new_maps();
  absl::Status attach_one(::bpf_program* program, int cgroup_fd, uint64_t cgroup_id);
  absl::StatusOr<SkeletonPtr> load_lookup(uint32_t slot) const;

  Pins pins_;
  SkeletonPtr skeleton_;
  Knobs knobs_;
  std::map<std::string, LinkPtr> cgroup_links_;
  std::map<uint64_t, LinkPtr> lookup_links_;
};

}  // namespace weft::bpf
