// Names of everything pinned, and the directories they live in. Used by the programs, the dataplane and
// cleanup: the one place that knows the layout <root>/maps/<map>, <root>/links/<program>,
// <root>/links/lookup_<netns cookie>.
//
// What a start adds is staged below <root>/next with the same layout. publish() renames that directory to
// <root>/ready, which is the one moment in which all of it comes into force, and then moves its pins to their
// places one by one. Whoever finds a <root>/ready finishes the moving; whoever finds a <root>/next drops it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace weft::bpf {

class Pins {
 public:
  explicit Pins(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  std::string maps() const { return root_ + "/maps"; }
  std::string links() const { return root_ + "/links"; }
  std::string map(std::string_view name) const;
  std::string link(std::string_view program) const;
  static std::string lookup_name(uint64_t netns_cookie);
  std::string lookup_link(uint64_t netns_cookie) const;
  std::string staged_map(std::string_view name) const;
  std::string staged_link(std::string_view program) const;
  // Cookies of the namespaces that have a pinned sk_lookup link.
  std::vector<uint64_t> lookup_cookies() const;

  // Programs whose links are pinned, and maps that are.
  std::vector<std::string> pinned_links() const;
  std::vector<std::string> pinned_maps() const;

  // Open connections use the pinned m_shortcut_sock, and would lose what waits unread with it.
  bool holds_shortcuts() const;

  // Mounts a bpffs on /sys/fs/bpf when the root lies below it and nothing is mounted, makes the directories,
  // and finishes or drops what a start that was cut short had staged. Never unmounts: others may have pinned
  // since.
  absl::Status prepare() const;
  absl::Status prepare_staging() const;
  // Everything staged takes its place, instead of what is pinned there. After an error nothing has.
  absl::Status publish() const;
  // Detaches staged links and removes everything staged.
  void drop_staging() const;
  // Detaches and unpins one link; false when there is none. Detaching first makes it effective on return:
  // dropping the last reference alone is finished by the kernel later.
  static bool remove_link(const std::string& path);
  // Removes every pin and the directories; one sentence per pin. Fine when nothing is there. The sockets of
  // the shortcut stay pinned until they are closed.
  std::vector<std::string> remove_all() const;

 private:
  std::string next() const { return root_ + "/next"; }
  std::string ready() const { return root_ + "/ready"; }
  void move_ready() const;

  std::string root_;
};

// True when the path, or its nearest existing parent, is on a bpffs.
bool on_bpffs(std::string_view path);

}  // namespace weft::bpf
