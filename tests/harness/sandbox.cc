// See sandbox.h.
#include "tests/harness/sandbox.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/status_macros.h"
#include "tests/harness/wait.h"

namespace weft::harness {
namespace {

namespace fs = std::filesystem;

// Kills what lives in the cgroup and removes it, children first.
void remove_cgroup(const std::string& path) {
  std::ofstream(path + "/cgroup.kill") << "1";
  wait_until(milliseconds(5'000), [&path] {
    std::ifstream events(path + "/cgroup.events");
    std::stringstream text;
    text << events.rdbuf();
    return text.str().find("populated 1") == std::string::npos;
  });
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (entry.is_directory(ignored)) remove_cgroup(entry.path().string());
  }
  ::rmdir(path.c_str());
}

// PREFIX-PID of a process that is gone.
bool is_leftover(const std::string& name, const std::string& prefix) {
  if (name.rfind(prefix + "-", 0) != 0) return false;
  const auto pid = parse_integer<pid_t>(std::string_view(name).substr(prefix.size() + 1));
  return pid.has_value() && ::kill(*pid, 0) != 0 && errno == ESRCH;
}

void sweep_leftovers(const std::string& prefix, const std::string& cgroup_root) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cgroup_root, ignored)) {
    if (is_leftover(entry.path().filename().string(), prefix)) remove_cgroup(entry.path().string());
  }
  for (const auto& entry : fs::directory_iterator("/run", ignored)) {
    if (is_leftover(entry.path().filename().string(), prefix)) fs::remove_all(entry.path(), ignored);
  }
}

absl::Status private_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) return errno_status("unshare mounts", errno);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno_status("make mounts private", errno);
  // The machine's /run/netns may be missing; an empty folder is all that we leave then.
  ::mkdir("/run/netns", 0755);
  if (::mount("tmpfs", "/run/netns", "tmpfs", 0, "mode=0755") != 0)
    return errno_status("mount /run/netns", errno);
  return absl::OkStatus();
}

}  // namespace

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, point, type, rest;
  while (mounts >> device >> point >> type && std::getline(mounts, rest)) {
    if (type == "cgroup2") return point;
  }
  return "";
}

std::string skip_reason() {
  if (::geteuid() != 0) return "not root: run tools/dev test through sudo";
  if (cgroup2_mount().empty()) return "no cgroup2 is mounted";
  return "";
}

absl::StatusOr<std::unique_ptr<Sandbox>> Sandbox::create(const std::string& prefix) {
  if (const std::string reason = skip_reason(); !reason.empty()) return absl::FailedPreconditionError(reason);
  const std::string root = cgroup2_mount();
  sweep_leftovers(prefix, root);
  RETURN_IF_ERROR(private_mounts());
  const std::string name = str_cat(prefix, "-", ::getpid());
  std::unique_ptr<Sandbox> sandbox(new Sandbox("/run/" + name, str_cat(root, "/", name)));
  for (const std::string& path : {sandbox->directory_, sandbox->bpffs(), sandbox->cgroup_}) {
    if (::mkdir(path.c_str(), 0755) != 0) return errno_status(str_cat("make ", path), errno);
  }
  if (::mount("bpffs", sandbox->bpffs().c_str(), "bpf", 0, nullptr) != 0)
    return errno_status("mount bpffs", errno);
  return sandbox;
}

Sandbox::~Sandbox() {
  remove_cgroup(cgroup_);
  ::umount2(bpffs().c_str(), MNT_DETACH);
  // Detached, the namespaces inside go with the last process in them; the next test gets a fresh mount.
  ::umount2("/run/netns", MNT_DETACH);
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

absl::StatusOr<std::string> Sandbox::sub_cgroup(const std::string& name) const {
  const std::string path = str_cat(cgroup_, "/", name);
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return errno_status(str_cat("make ", path), errno);
  return path;
}

}  // namespace weft::harness
