// flock(2) on the pid file; see run_dir.h. Called by main.cc.
#include "agent/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {

absl::StatusOr<UniqueFd> lock_run_dir(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return absl::FailedPreconditionError(
        str_cat(path, ": ", error.message(), "; next: choose another --run-dir"));
  ::chmod(path.c_str(), 0755);
  const std::string file = str_cat(path, "/agent.pid");
  UniqueFd lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.valid()) return errno_status(file, errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    [[maybe_unused]] const ssize_t n = ::pread(lock.get(), text, sizeof(text) - 1, 0);
    const std::string pid = std::string(text).substr(0, std::string(text).find('\n'));
    return absl::AlreadyExistsError(str_cat("an agent (pid ", pid, ") runs on ", path, "; next: kill ", pid));
  }
  const std::string text = str_cat(::getpid(), "\n");
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), text.data(), text.size(), 0) < 0)
    return errno_status(file, errno);
  return lock;
}

std::string default_ca_dir(const std::string& run_dir, const std::string& usual, const std::string& lasting) {
  const std::string beside = str_cat(run_dir, "/ca");
  if (run_dir != usual) return beside;
  // Of an agent that kept it there: the key would be gone after a reboot, but is in use until then.
  const bool only_beside = ::access(str_cat(beside, "/ca.crt").c_str(), F_OK) == 0 &&
                           ::access(str_cat(lasting, "/ca.crt").c_str(), F_OK) != 0;
  if (!only_beside) return lasting;
  log::warn(
      "authority_in_run_dir",
      {{"folder", beside}, {"next", str_cat("a reboot loses it: stop the agent, move it to ", lasting)}});
  return beside;
}

std::string default_node_dir(const std::string& run_dir) {
  return run_dir == kDefaultRunDir ? kLastingNodeDir : str_cat(run_dir, "/node");
}

void remove_run_files(const std::string& path) {
  for (const char* name :
       {"agent.sock", "xds.sock", "handover.sock", "enrollments.json", ".enrollments.json.new", "agent.pid",
        "cni.sock", "cni-namespaces", ".cni-namespaces.new"}) {
    ::unlink(str_cat(path, "/", name).c_str());
  }
  ::rmdir(path.c_str());
}

}  // namespace weft::agent
