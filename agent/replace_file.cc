// rename(2); see replace_file.h. Called for what the agent keeps, and for what it installs for the runtime.
#include "agent/replace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "base/status_macros.h"

namespace weft::agent {

absl::Status replace_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::filesystem::path target(path);
  const std::string temporary = target.parent_path() / str_cat(".", target.filename().string(), ".new");
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return errno_status(temporary, errno);
  while (!text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status(temporary, errno);
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (::fchmod(file.get(), mode) != 0 || ::fsync(file.get()) != 0) return errno_status(temporary, errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return errno_status(path, errno);
  return absl::OkStatus();
}

}  // namespace weft::agent
