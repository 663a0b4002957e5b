// stat(2) and statfs(2) on a namespace file; see netns.h. Called by the pod table; changes nothing.
#include "agent/pods/netns.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/status_macros.h"

namespace weft::agent {

absl::StatusOr<NetnsIdentity> probe_netns(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return errno_status(path, errno);
  struct statfs fs{};
  if (::statfs(path.c_str(), &fs) != 0) return errno_status(path, errno);
  if (static_cast<uint64_t>(fs.f_type) != NSFS_MAGIC) {
    return absl::FailedPreconditionError(str_cat(path, " is not a network namespace"));
  }
  return NetnsIdentity{info.st_dev, info.st_ino};
}

}  // namespace weft::agent
