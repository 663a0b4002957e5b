// `weft-agent cleanup`: removes every trace without a running agent. Capture stops first (cgroup links), then
// the routes go, then the rest; a namespace that another installation of Weft still serves is left alone.
#include <algorithm>

#include "agent/dataplane/capture_route.h"
#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/rivals.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/user/pins.h"

namespace weft::agent {
namespace {

// After our own links are gone, a mesh_lookup belongs to an installation with another pin root.
bool served_by_another(int netns_fd) {
  const absl::StatusOr<bpf::HookPrograms> here = bpf::hook_programs(netns_fd, BPF_SK_LOOKUP);
  return here.ok() && std::ranges::any_of(here->programs, is_weft_program);
}

absl::Status clean_namespace(const std::string& path, std::vector<std::string>* removed) {
  const absl::StatusOr<UniqueFd> netns = open_netns(path);
  if (!netns.ok() || served_by_another(netns->get()))
    return absl::OkStatus();  // a process that ended, or not ours
  return run_in_netns(netns->get(), [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<std::string> here, remove_capture_route());
    for (const std::string& sentence : here) removed->push_back(str_cat(sentence, " in ", path));
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<std::vector<std::string>> cleanup(const std::string& pin_root,
                                                 const std::vector<std::string>& netns_paths) {
  std::vector<std::string> removed = bpf::Pins(pin_root).remove_all();
  absl::Status first_error;
  for (const std::string& path : reachable_netns(netns_paths)) {
    const absl::Status status = clean_namespace(path, &removed);
    if (status.ok()) continue;
    log::warn("cleanup_failed", {{"netns", path}, {"error", status.message()}});
    if (first_error.ok()) first_error = annotate(str_cat("clean ", path, " (run it again as root)"), status);
  }
  if (!first_error.ok()) return first_error;
  return removed;
}

}  // namespace weft::agent
