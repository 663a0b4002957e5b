// See installer.h. Called by Agent, and by `weft-agent cleanup`.
#include "agent/cni/installer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "agent/cni/conflist.h"
#include "agent/replace_file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

// Another program that writes the file whenever we do must not make us write without end.
constexpr int kPauseMs = 1000;
// What does not stand in the watched folder, rights above all, changes without an event.
constexpr int kTryAgainMs = 5000;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    out.push_back(at->path().filename());
  return out;
}

absl::StatusOr<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return errno_status(path, errno);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

absl::Status with_next(const absl::Status& status, std::string_view next) {
  return absl::Status(status.code(), str_cat(status.message(), "; next: ", next));
}

// Who wrote it chose who may read it.
mode_t mode_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0600;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CniInstaller>> CniInstaller::open(Options options) {
  std::unique_ptr<CniInstaller> installer(new CniInstaller(std::move(options)));
  installer->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  installer->inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!installer->stop_.valid() || !installer->inotify_.valid()) return errno_status("inotify_init1", errno);
  return installer;
}

void CniInstaller::begin() {
  const bool installed = try_install();
  thread_ = std::thread([this, installed] { run(installed); });
}

CniInstaller::~CniInstaller() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

// Again for a folder that is watched: the same watch. Another folder may have come under the name.
absl::Status CniInstaller::watch() const {
  const std::string& folder = options_.conf_dir;
  if (::inotify_add_watch(inotify_.get(), folder.c_str(),
                          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) >= 0)
    return absl::OkStatus();
  const int error = errno;
  const absl::Status why = annotate("--cni-conf-dir", errno_status(folder, error));
  return with_next(why, error == ENOSPC ? "raise fs.inotify.max_user_watches"
                                        : "mount the node's folder of CNI configurations");
}

absl::Status CniInstaller::copy_program() const {
  ASSIGN_OR_RETURN(const std::string program, read_file(options_.program));
  const std::string target = str_cat(options_.bin_dir, "/", kCniPluginName);
  const absl::StatusOr<std::string> there = read_file(target);
  if (there.ok() && *there == program) return absl::OkStatus();
  const absl::Status copied = replace_file(target, program, 0755);
  if (copied.ok()) return copied;
  return with_next(annotate("--cni-bin-dir", copied),
                   "let weft-agent write there: mount it, and give it the capability DAC_OVERRIDE");
}

// The entry last: a runtime that finds no program for it starts no pod at all.
absl::Status CniInstaller::install() const {
  RETURN_IF_ERROR(watch());
  RETURN_IF_ERROR(copy_program());
  const std::optional<std::string> name = used_config(names_in(options_.conf_dir));
  if (!name) {
    return absl::NotFoundError(str_cat("there is no CNI configuration in ", options_.conf_dir,
                                       "; next: install the cluster's network plugin"));
  }
  const std::string path = str_cat(options_.conf_dir, "/", *name);
  ASSIGN_OR_RETURN(const std::string before, read_file(path));
  absl::StatusOr<std::string> after = with_plugin(before, options_.config);
  if (!after.ok()) return annotate(path, after.status());
  if (*after == before) return absl::OkStatus();
  RETURN_IF_ERROR(replace_file(path, *after, mode_of(path)));
  log::info("cni_plugin_installed", {{"file", path}});
  return absl::OkStatus();
}

bool CniInstaller::try_install() {
  const absl::Status status = install();
  const std::lock_guard lock(mutex_);
  if (problem_ == status.message()) return status.ok();
  problem_ = std::string(status.message());
  if (!status.ok()) log::warn("cni_plugin_not_installed", {{"error", problem_}});
  return status.ok();
}

void CniInstaller::run(bool installed) {
  while (true) {
    std::array<pollfd, 2> events{{{stop_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    ::poll(events.data(), events.size(), installed ? -1 : kTryAgainMs);
    if (events[0].revents != 0) return;
    std::array<char, 16 * 1024> buffer;
    while (::read(inotify_.get(), buffer.data(), buffer.size()) > 0) {
    }
    installed = try_install();
    pollfd stop{stop_.get(), POLLIN, 0};
    if (::poll(&stop, 1, kPauseMs) > 0) return;
  }
}

absl::Status CniInstaller::set_namespaces(const std::vector<std::string>& namespaces) {
  std::string text;
  for (const std::string& ns : namespaces) str_append(&text, ns, "\n");
  const std::lock_guard lock(mutex_);
  if (namespaces_written_ && namespaces_ == text) return absl::OkStatus();
  RETURN_IF_ERROR(replace_file(options_.config.namespaces_file, text, 0644));
  namespaces_ = std::move(text);
  namespaces_written_ = true;
  return absl::OkStatus();
}

std::string CniInstaller::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

absl::StatusOr<std::vector<std::string>> CniInstaller::remove(const std::string& conf_dir,
                                                              const std::string& bin_dir) {
  std::vector<std::string> steps;
  absl::Status failed;
  for (const std::string& name : names_in(conf_dir)) {
    const std::string path = str_cat(conf_dir, "/", name);
    std::error_code error;
    if (!used_config({name}) || !fs::is_regular_file(path, error)) continue;
    const absl::StatusOr<std::string> before = read_file(path);
    if (!before.ok()) {
      failed.Update(before.status());
      continue;
    }
    const absl::StatusOr<std::string> after = without_plugin(*before);
    // One that no runtime can use either holds no entry of ours.
    if (!after.ok() || *after == *before) continue;
    const absl::Status written = replace_file(path, *after, mode_of(path));
    failed.Update(written);
    if (!written.ok()) continue;
    steps.push_back(str_cat("took ", kCniPluginName, " out of ", path));
  }
  // A runtime whose entry has no program starts no pod at all.
  RETURN_IF_ERROR(failed);
  const std::string program = str_cat(bin_dir, "/", kCniPluginName);
  if (::unlink(program.c_str()) == 0)
    steps.push_back(str_cat("removed ", program));
  else if (errno != ENOENT)
    return errno_status(program, errno);
  return steps;
}

}  // namespace weft::agent
