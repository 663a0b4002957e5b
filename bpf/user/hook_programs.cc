// BPF_PROG_QUERY and what the kernel tells about the ids. See hook_programs.h.
#include "bpf/user/hook_programs.h"

#include <bpf/bpf.h>

#include <cerrno>

#include "base/fd.h"
#include "base/status_macros.h"

namespace weft::bpf {
namespace {

// The kernel takes no more on one cgroup (BPF_CGROUP_MAX_PROGS); in the effective list they add up by level.
constexpr uint32_t kMostPrograms = 64;
constexpr uint32_t kMostEffective = 1024;
constexpr uint32_t kMostMaps = 256;

std::string name_of(uint32_t id) {
  const UniqueFd program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  uint32_t length = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return "";
  return info.name;
}

absl::StatusOr<std::vector<HookProgram>> query(int target_fd, bpf_attach_type type, uint32_t query_flags,
                                               uint32_t most, uint32_t* attach_flags) {
  std::vector<uint32_t> ids(most);
  uint32_t count = most;
  if (bpf_prog_query(target_fd, type, query_flags, attach_flags, ids.data(), &count) != 0)
    return errno_status("list the programs of a hook", errno);
  std::vector<HookProgram> out;
  for (uint32_t i = 0; i < count && i < most; ++i) out.push_back({.id = ids[i], .name = name_of(ids[i])});
  return out;
}

}  // namespace

absl::StatusOr<HookPrograms> hook_programs(int target_fd, bpf_attach_type type) {
  HookPrograms out;
  uint32_t flags = 0;
  ASSIGN_OR_RETURN(out.programs, query(target_fd, type, 0, kMostPrograms, &flags));
  // A namespace's list has no flags: it always takes more.
  if (out.programs.empty() || type == BPF_SK_LOOKUP || (flags & BPF_F_ALLOW_MULTI)) return out;
  out.mode = (flags & BPF_F_ALLOW_OVERRIDE) ? HookPrograms::Mode::kOverride : HookPrograms::Mode::kExclusive;
  return out;
}

absl::StatusOr<std::vector<HookProgram>> effective_programs(int cgroup_fd, bpf_attach_type type) {
  return query(cgroup_fd, type, BPF_F_QUERY_EFFECTIVE, kMostEffective, nullptr);
}

std::vector<std::string> maps_of_program(uint32_t program_id) {
  std::vector<std::string> names;
  const UniqueFd program(bpf_prog_get_fd_by_id(program_id));
  std::vector<uint32_t> ids(kMostMaps);
  bpf_prog_info info{};
  info.nr_map_ids = kMostMaps;
  info.map_ids = reinterpret_cast<uint64_t>(ids.data());
  uint32_t length = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return names;
  for (uint32_t i = 0; i < info.nr_map_ids && i < kMostMaps; ++i) {
    const UniqueFd map(bpf_map_get_fd_by_id(ids[i]));
    bpf_map_info of_map{};
    uint32_t of_map_length = sizeof(of_map);
    if (map.valid() && bpf_obj_get_info_by_fd(map.get(), &of_map, &of_map_length) == 0)
      names.emplace_back(of_map.name);
  }
  return names;
}

}  // namespace weft::bpf
