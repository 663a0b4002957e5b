// Pinned link -> program id -> bpf_prog_info; see program_runs.h.
#include "agent/dataplane/program_runs.h"

#include <bpf/bpf.h>

#include <filesystem>
#include <map>

#include "base/fd.h"

namespace weft::agent {
namespace {

// "lookup_4711" is one of many: those are named by the program behind them.
bool is_per_namespace(const std::string& pin) {
  const size_t underscore = pin.rfind('_');
  return underscore != std::string::npos && underscore + 1 < pin.size() &&
         pin.find_first_not_of("0123456789", underscore + 1) == std::string::npos;
}

bool read_program(const std::string& path, bpf_prog_info* info) {
  const UniqueFd link(bpf_obj_get(path.c_str()));
  bpf_link_info link_info{};
  uint32_t length = sizeof(link_info);
  if (!link.valid() || bpf_obj_get_info_by_fd(link.get(), &link_info, &length) != 0) return false;
  const UniqueFd program(bpf_prog_get_fd_by_id(link_info.prog_id));
  length = sizeof(*info);
  return program.valid() && bpf_obj_get_info_by_fd(program.get(), info, &length) == 0;
}

}  // namespace

std::vector<ProgramRuns> read_program_runs(const std::string& links) {
  std::map<std::string, ProgramRuns> sums;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(links, error)) {
    const std::string pin = entry.path().filename().string();
    bpf_prog_info info{};
    if (!read_program(entry.path().string(), &info)) continue;
    const std::string name = is_per_namespace(pin) ? std::string(info.name) : pin;
    ProgramRuns& sum = sums[name];
    sum.name = name;
    sum.runs += info.run_cnt;
    sum.run_ns += info.run_time_ns;
  }
  std::vector<ProgramRuns> out;
  for (auto& [name, sum] : sums) out.push_back(std::move(sum));
  return out;
}

}  // namespace weft::agent
