// Where cgroup2 is mounted: unified, or next to the v1 controllers (hybrid). Used by the dataplane and the
// tests.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft::bpf {

// The mount point of the first cgroup2 mount whose root is the whole hierarchy, from the text of
// /proc/<pid>/mountinfo (proc_pid_mountinfo(5)); a mount of a subtree only when there is no better one. Octal
// escapes are undone.
std::optional<std::string> parse_cgroup2_mount(std::string_view mountinfo);

absl::StatusOr<std::string> find_cgroup2_root();

}  // namespace weft::bpf
