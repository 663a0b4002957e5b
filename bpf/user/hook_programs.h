// Who is attached to a hook: the kernel's own lists, so that programs of others are seen and not stumbled
// over. Used by the checks, by start and by cleanup. Reads only; any thread.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::bpf {

struct HookProgram {
  uint32_t id = 0;
  std::string name;  // as the kernel keeps it, cut to 15 characters
};

struct HookPrograms {
  // How the first of them was attached. Only kMulti takes another beside it; kOverride gives way to one in a
  // cgroup below, which then runs instead; kExclusive forbids those too.
  enum class Mode : uint8_t { kMulti, kOverride, kExclusive };
  Mode mode = Mode::kMulti;
  std::vector<HookProgram> programs;
};

// Attached at exactly this target: a cgroup2 directory, or a network namespace for BPF_SK_LOOKUP.
absl::StatusOr<HookPrograms> hook_programs(int target_fd, bpf_attach_type type);
// All that run for processes of this cgroup, those of the cgroups above included.
absl::StatusOr<std::vector<HookProgram>> effective_programs(int cgroup_fd, bpf_attach_type type);

// Names of the maps that a program uses; empty when it is gone.
std::vector<std::string> maps_of_program(uint32_t program_id);

}  // namespace weft::bpf
