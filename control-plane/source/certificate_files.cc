// See certificate_files.h.
#include "control-plane/source/certificate_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

// A chain with its authorities is a few KiB, a list of revocations may be larger.
constexpr size_t kMaxFileBytes = 1024 * 1024;

// What of the path stands below the folder; nullopt: it does not.
std::optional<std::string> below(std::string_view folder, std::string_view path) {
  while (folder.size() > 1 && folder.ends_with('/')) folder.remove_suffix(1);
  if (!path.starts_with(folder) || path.size() <= folder.size() + 1 || path[folder.size()] != '/')
    return std::nullopt;
  return std::string(path.substr(folder.size() + 1));
}

CertificateFiles::File problem(const std::string& path, const absl::Status& why) {
  return {.text = "", .problem = str_cat(path, ": ", why.message())};
}

CertificateFiles::File read_open(const std::string& path, const UniqueFd& file) {
  struct stat st{};
  if (::fstat(file.get(), &st) != 0) return problem(path, errno_status("stat", errno));
  if (!S_ISREG(st.st_mode)) return problem(path, absl::InvalidArgumentError("not a regular file"));
  std::string text;
  std::array<char, 16 * 1024> buffer;
  while (text.size() <= kMaxFileBytes) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return problem(path, errno_status("read", errno));
    if (got == 0 && text.empty()) return problem(path, absl::InvalidArgumentError("the file is empty"));
    if (got == 0) return {.text = std::move(text), .problem = ""};
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return problem(path, absl::ResourceExhaustedError("over the limit of 1 MiB"));
}

CertificateFiles::File read_below(const std::string& folder, const std::string& rest,
                                  const std::string& path) {
  const UniqueFd root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return problem(path, errno_status(str_cat("open ", folder), errno));
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const UniqueFd file(static_cast<int>(::syscall(SYS_openat2, root.get(), rest.c_str(), &how, sizeof(how))));
  if (file.valid()) return read_open(path, file);
  if (errno == EXDEV) return problem(path, absl::PermissionDeniedError(str_cat("it leads out of ", folder)));
  return problem(path, errno_status("open", errno));
}

class WatchedFiles final : public CertificateFiles {
 public:
  WatchedFiles(Options options, std::function<void()> changed)
      : options_(std::move(options)), changed_(std::move(changed)), thread_([this] { run(); }) {}
  ~WatchedFiles() override { stop(); }

  Files want(const std::set<std::string>& paths) override {
    const std::lock_guard lock(mutex_);
    std::erase_if(files_, [&paths](const auto& row) { return !paths.contains(row.first); });
    for (const std::string& path : paths) {
      if (!files_.contains(path)) files_.emplace(path, read_certificate_file(options_.folders, path));
    }
    return files_;
  }

  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, options_.look, [this] { return stopping_; })) {
      if (!look()) continue;
      lock.unlock();
      changed_();
      lock.lock();
    }
  }

  // Keys are compared where they are, and never shown.
  bool look() {
    bool changed = false;
    for (auto& [path, file] : files_) {
      File now = read_certificate_file(options_.folders, path);
      if (!now.problem.empty()) now.text = file.text;
      if (now == file) continue;
      changed = true;
      if (now.problem.empty())
        log::info("certificate_file_changed", {{"path", path}});
      else
        log::warn("certificate_file_unreadable",
                  {{"problem", now.problem}, {"next", "correct the file; what it said before is in use"}});
      file = std::move(now);
    }
    return changed;
  }

  const Options options_;
  const std::function<void()> changed_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  Files files_;
  std::thread thread_;  // last
};

}  // namespace

CertificateFiles::File read_certificate_file(const std::vector<std::string>& folders,
                                             const std::string& path) {
  for (const std::string& folder : folders) {
    if (const auto rest = below(folder, path)) return read_below(folder, *rest, path);
  }
  return {.text = "", .problem = str_cat(path, " is not below a folder of --certificate-files")};
}

std::unique_ptr<CertificateFiles> CertificateFiles::start(Options options, std::function<void()> changed) {
  return std::make_unique<WatchedFiles>(std::move(options), std::move(changed));
}

}  // namespace weft::control_plane
