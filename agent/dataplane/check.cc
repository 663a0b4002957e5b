// The kernel checks of `weft check --pre`, K-01 to K-08: each tries the thing itself where it can. Changes
// nothing on the node.
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/rivals.h"
#include "base/pid_namespace.h"
#include "base/status_macros.h"
#include "bpf/user/features.h"
#include "bpf/user/pins.h"

namespace weft::agent {
namespace {

using Result = KernelCheck::Result;

struct Capability {
  int bit;  // <linux/capability.h>
  const char* name;
};
constexpr Capability kCapabilities[] = {{12, "CAP_NET_ADMIN"}, {21, "CAP_SYS_ADMIN"}, {39, "CAP_BPF"}};

KernelCheck check_release() {
  utsname name{};
  uname(&name);
  KernelCheck check{
      .id = "K-01",
      .description = str_cat("kernel ", static_cast<const char*>(name.release), " is 5.15 or newer")};
  int major = 0;
  int minor = 0;
  char* rest = nullptr;
  major = static_cast<int>(std::strtol(name.release, &rest, 10));
  if (*rest == '.') minor = static_cast<int>(std::strtol(rest + 1, nullptr, 10));
  if (major > 5 || (major == 5 && minor >= 15)) return check;
  check.result = Result::kWarning;
  check.error = "older than anything Weft is tested on";
  check.hint = "K-05 decides whether it works; a newer kernel is the remedy";
  return check;
}

KernelCheck check_btf() {
  KernelCheck check{.id = "K-02", .description = "kernel type information at /sys/kernel/btf/vmlinux"};
  if (access("/sys/kernel/btf/vmlinux", R_OK) == 0) return check;
  check.result = Result::kError;
  check.error = "not there";
  check.hint = "use a kernel built with CONFIG_DEBUG_INFO_BTF, as those of all distributions are";
  return check;
}

KernelCheck check_bpffs(const std::string& pin_root) {
  KernelCheck check{.id = "K-03", .description = str_cat("a bpffs for the pins at ", pin_root)};
  if (bpf::on_bpffs(pin_root)) return check;
  if (pin_root.starts_with("/sys/fs/bpf/") && access("/sys/fs/bpf", F_OK) == 0) {
    check.result = Result::kWarning;
    check.error = "nothing is mounted on /sys/fs/bpf";
    check.hint = "weft-agent mounts it when it starts; or run `mount -t bpf bpf /sys/fs/bpf`";
    return check;
  }
  check.result = Result::kError;
  check.error = "not on a bpffs";
  check.hint = "run `mount -t bpf bpf DIR` and pass --pin-root DIR/weft";
  return check;
}

KernelCheck check_cgroup(const std::string& cgroup) {
  KernelCheck check{.id = "K-04", .description = "cgroup2 hierarchy"};
  const absl::StatusOr<std::string> root =
      cgroup.empty() ? find_cgroup2_root() : absl::StatusOr<std::string>(cgroup);
  if (root.ok() && access((*root + "/cgroup.procs").c_str(), R_OK) == 0) {
    check.description = str_cat("cgroup2 hierarchy at ", *root);
    return check;
  }
  check.result = Result::kError;
  check.error = root.ok() ? str_cat(*root, " is not a cgroup2 directory")
                          : std::string(to_std(root.status().message()));
  check.hint = "run `mount -t cgroup2 none /sys/fs/cgroup/unified` or pass --cgroup";
  return check;
}

std::vector<KernelCheck> check_features() {
  std::vector<KernelCheck> checks;
  for (const bpf::Feature& feature : bpf::probe_features()) {
    KernelCheck& check =
        checks.emplace_back(KernelCheck{.id = "K-05", .description = str_cat("kernel loads ", feature.name)});
    if (feature.available) continue;
    check.result = Result::kError;
    check.error = feature.error;
    check.hint = "run as root; else a newer kernel, or one whose lockdown and LSM allow BPF (K-06)";
  }
  return checks;
}

KernelCheck check_capabilities() {
  KernelCheck check{.id = "K-06", .description = "capabilities CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_BPF"};
  uint64_t effective = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) effective = std::strtoull(line.c_str() + 7, nullptr, 16);
  }
  for (const Capability& capability : kCapabilities) {
    if (effective & (uint64_t{1} << capability.bit)) continue;
    check.result = Result::kError;
    str_append(&check.error, check.error.empty() ? "missing " : ", ", capability.name);
  }
  if (check.result == Result::kError) check.hint = "run as root, for example with `sudo`";
  return check;
}

}  // namespace

std::vector<KernelCheck> check_rivals(const Dataplane::Options& options) {
  const std::string cgroup =
      options.cgroup.empty() ? find_cgroup2_root().value_or(std::string()) : options.cgroup;
  const absl::StatusOr<std::vector<Rival>> rivals =
      cgroup_rivals(cgroup, pinned_programs(bpf::Pins(options.pin_root)));
  if (!rivals.ok()) {
    return {{.id = "K-07",
             .description = "programs of others on the hooks of Weft",
             .result = Result::kWarning,
             .error = str_cat("not known: ", rivals.status().message()),
             .hint = "run as root, with the --cgroup that weft-agent is started with"}};
  }
  std::vector<KernelCheck> checks;
  for (const Rival& rival : *rivals) {
    checks.push_back({.id = "K-07",
                      .description = describe(rival),
                      .result = rival.effect == Rival::Effect::kShares ? Result::kWarning : Result::kError,
                      .error = rival.meaning,
                      .hint = rival.hint});
  }
  if (checks.empty()) {
    checks.push_back({.id = "K-07",
                      .description = str_cat("no program of others is on the hooks of ", cgroup,
                                             " and the cgroups above")});
  }
  return checks;
}

KernelCheck check_process_ids() {
  KernelCheck check{.id = "K-08", .description = "process ids are those of the machine"};
  check.error = pid_namespace_problem();
  if (check.error.empty()) return check;
  check.result = Result::kWarning;
  check.hint = kPidNamespaceHint;
  return check;
}

std::vector<KernelCheck> check_kernel(const Dataplane::Options& options) {
  std::vector<KernelCheck> checks = {check_release(), check_btf(), check_bpffs(options.pin_root),
                                     check_cgroup(options.cgroup)};
  for (KernelCheck& check : check_features()) checks.push_back(std::move(check));
  checks.push_back(check_capabilities());
  return checks;
}

}  // namespace weft::agent
