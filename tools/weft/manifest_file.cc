// See manifest_file.h.
#include "tools/weft/manifest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "absl/status/status.h"
#include "base/fd.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::cli {
namespace {

absl::Status failed(std::string_view what, const std::string& path) {
  const int error = errno;
  const std::string message =
      str_cat(what, " ", path, ": ", std::string(::strerror(error)), "; next: ls -l ", path);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return error == ENOENT ? absl::InvalidArgumentError(message) : absl::InternalError(message);
}

absl::StatusOr<std::string> read_all(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return failed("read", path);
  std::string out;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t n = ::read(file.get(), buffer, sizeof(buffer));
    if (n == 0) return out;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", path);
    out.append(buffer, static_cast<size_t>(n));
  }
}

absl::Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("write", path);
    text.remove_prefix(static_cast<size_t>(n));
  }
  return ::fsync(fd) == 0 ? absl::OkStatus() : failed("write", path);
}

}  // namespace

absl::StatusOr<ManifestFile> ManifestFile::open(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (real == nullptr) return failed("open", path);
  ASSIGN_OR_RETURN(std::string text, read_all(real.get()));
  return ManifestFile(real.get(), std::move(text));
}

absl::Status ManifestFile::replace(const std::string& text) {
  ASSIGN_OR_RETURN(const std::string now, read_all(path_));
  if (now != text_)
    return absl::FailedPreconditionError(
        str_cat(path_,
                " was changed by somebody else meanwhile; nothing was written; "
                "next: look at it, then weft canary status --file ",
                path_));
  struct stat before{};
  if (::stat(path_.c_str(), &before) != 0) return failed("look at", path_);
  // Not a name that the agent would read, nor one that anybody could have put a link at: mkostemp(3) fills in
  // the last six letters and opens only what it makes.
  const size_t slash = path_.rfind('/');
  std::string draft = str_cat(path_.substr(0, slash + 1), ".", path_.substr(slash + 1), ".XXXXXX");
  const UniqueFd file(::mkostemp(draft.data(), O_CLOEXEC));
  if (!file.valid()) return failed("create", draft);
  absl::Status status = write_all(file.get(), text, draft);
  // The mode last: a new owner takes the set-id bits away.
  const bool owned = before.st_uid == ::geteuid() && before.st_gid == ::getegid();
  if (status.ok() && !owned && ::fchown(file.get(), before.st_uid, before.st_gid) != 0)
    status = failed("set the owner of", draft);
  if (status.ok() && ::fchmod(file.get(), before.st_mode & 07777) != 0)
    status = failed("set the mode of", draft);
  if (status.ok() && ::rename(draft.c_str(), path_.c_str()) != 0) status = failed("replace", path_);
  if (!status.ok()) {
    ::unlink(draft.c_str());
    return status;
  }
  text_ = text;
  return absl::OkStatus();
}

}  // namespace weft::cli
