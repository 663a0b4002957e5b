// See pid_namespace.h.
#include "base/pid_namespace.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/status_macros.h"

namespace weft {
namespace {

// PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h: of the namespace that it starts with.
constexpr ino_t kFirst = 0xEFFFFFFC;

}  // namespace

std::string pid_namespace_problem(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0)
    return str_cat("not known: ", to_std(errno_status(path, errno).message()));
  if (found.st_ino == kFirst) return "";
  return "it has a PID namespace of its own: the kernel programs do not know the proxy by the process id "
         "that "
         "is seen here, and capture what it dials for pods";
}

}  // namespace weft
