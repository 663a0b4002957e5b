// flock(2) on the pid file; see run_dir.h. Called by main.cc.
#include "agent/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>

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

void remove_run_files(const std::string& path) {
  for (const char* name :
       {"agent.sock", "xds.sock", "handover.sock", "enrollments.json", "enrollments.json.new", "agent.pid"}) {
    ::unlink(str_cat(path, "/", name).c_str());
  }
  // The root that this node made for itself; an operator's stays.
  const std::string ca = str_cat(path, "/ca/");
  if (::access(str_cat(ca, "roots.crt").c_str(), F_OK) != 0) {
    for (const char* name : {"ca.crt", "ca.key", "next.crt", "next.key"}) ::unlink(str_cat(ca, name).c_str());
    ::rmdir(ca.c_str());
  }
  ::rmdir(path.c_str());
}

}  // namespace weft::agent
