// Programs of others on the hooks that Weft uses, what that means for both, and what to do. Reads only; any
// thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/dataplane/rival.h"
#include "bpf/user/hook_programs.h"
#include "bpf/user/pins.h"

namespace weft::agent {

// Ids of the programs behind the links that are pinned there.
std::set<uint32_t> pinned_programs(const bpf::Pins& pins);

// Of this installation or another one: told by its maps, since a name can be anybody's.
bool is_weft_program(const bpf::HookProgram& program);

// On the cgroup's hooks, there and in the cgroups above; `own` are ours. NotFound: no cgroup2 directory;
// PermissionDenied: the kernel does not tell.
absl::StatusOr<std::vector<Rival>> cgroup_rivals(const std::string& cgroup, const std::set<uint32_t>& own);

// Lookup programs of a namespace; `where` names it.
std::vector<Rival> lookup_rivals(int netns_fd, const std::string& where, const std::set<uint32_t>& own);

}  // namespace weft::agent
