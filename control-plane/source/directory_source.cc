// See directory_source.h. inotify(7): the folder is watched, not its files, so atomic renames and
// ConfigMap-style swaps of
// "..data" are seen as events of the folder.
#include "control-plane/source/directory_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM |
                             IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr int kLostFolderPollMs = 1000;

int64_t to_ns(const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

// Milliseconds until `deadline`, for poll(); at least 0.
int until(std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return left.count() > 0 ? static_cast<int>(left.count()) : 0;
}

}  // namespace

bool is_manifest_name(const std::string& name) {
  if (name.empty() || name.front() == '.') return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

FileContent read_manifest(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return errno_status("open", errno);
  struct stat st{};
  if (fstat(fd.get(), &st) != 0) return errno_status("stat", errno);
  if (!S_ISREG(st.st_mode)) return absl::InvalidArgumentError("not a regular file");
  std::string text;
  std::array<char, 64 * 1024> buffer;
  // One byte more than allowed, so that the parser reports the limit.
  while (text.size() <= kMaxFileBytes) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status("read", errno);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return text;
}

absl::StatusOr<std::unique_ptr<DirectorySource>> DirectorySource::start(std::string folder,
                                                                        std::chrono::milliseconds debounce,
                                                                        Subscriber subscriber) {
  std::unique_ptr<DirectorySource> source(
      new DirectorySource(std::move(folder), debounce, std::move(subscriber)));
  source->stop_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!source->stop_.valid()) return errno_status("eventfd", errno);
  // Watch first, read second: a change in between is then an event.
  RETURN_IF_ERROR(source->watch());
  source->touched_all_ = true;
  ASSIGN_OR_RETURN(FolderChange first, source->scan());
  source->subscriber_(std::move(first));
  source->thread_ = std::thread([raw = source.get()] { raw->run(); });
  return source;
}

absl::StatusOr<FolderChange> DirectorySource::read_folder(std::string folder) {
  DirectorySource source(std::move(folder), {}, nullptr);
  source.touched_all_ = true;
  return source.scan();
}

DirectorySource::~DirectorySource() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

absl::Status DirectorySource::watch() {
  inotify_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_.valid()) {
    const absl::Status status = errno_status("inotify_init1", errno);
    return absl::ResourceExhaustedError(str_cat(
        status.message(), "; raise fs.inotify.max_user_instances with sysctl, or stop another watcher"));
  }
  if (inotify_add_watch(inotify_.get(), folder_.c_str(), kEvents) >= 0) return absl::OkStatus();
  const int error = errno;
  const absl::Status status = errno_status(str_cat("watch ", folder_), error);
  if (error == ENOSPC) {
    return absl::ResourceExhaustedError(
        str_cat("watch ", folder_,
                ": the limit of inotify watches is reached; raise fs.inotify.max_user_watches with sysctl"));
  }
  return absl::Status(status.code(), str_cat(status.message(), "; create the folder and make it readable"));
}

absl::StatusOr<FolderChange> DirectorySource::scan() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder_.c_str()), &closedir);
  if (!dir) {
    const absl::Status status = errno_status(str_cat("read ", folder_), errno);
    return absl::Status(status.code(), str_cat(status.message(), "; create the folder and make it readable"));
  }
  FolderChange change;
  std::map<std::string, Fingerprint> now;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    const std::string path = str_cat(folder_, "/", name);
    struct stat st{};
    if (!is_manifest_name(name)) continue;
    // A symlink whose target is gone is a file we cannot read, not one that was deleted: its objects stay in
    // force.
    const bool found = stat(path.c_str(), &st) == 0;
    if (found && S_ISDIR(st.st_mode)) continue;
    const Fingerprint print{st.st_dev, st.st_ino, st.st_size, to_ns(st.st_mtim), to_ns(st.st_ctim)};
    const auto before = seen_.find(path);
    now.emplace(path, print);
    if (touched_all_ || touched_.contains(name) || before == seen_.end() || before->second != print) {
      change.emplace(path, read_manifest(path));
    }
  }
  for (const auto& [path, print] : seen_) {
    if (!now.contains(path)) change.emplace(path, std::nullopt);
  }
  seen_ = std::move(now);
  touched_.clear();
  touched_all_ = false;
  return change;
}

void DirectorySource::run() {
  while (wait_for_event() && settle()) {
    if (lost_) {
      if (!watch().ok()) continue;
      lost_ = false;
      touched_all_ = true;
      log::info("config_folder_back", {{"folder", folder_}});
    }
    absl::StatusOr<FolderChange> change = scan();
    if (!change.ok()) {
      log::error("config_folder_unreadable",
                 {{"folder", folder_}, {"error", std::string(change.status().message())}});
      continue;
    }
    if (!change->empty()) subscriber_(*std::move(change));
  }
}

bool DirectorySource::wait_for_event() {
  while (true) {
    std::array<pollfd, 2> fds = {{{stop_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), lost_ ? kLostFolderPollMs : -1);
    if (ready < 0 && errno != EINTR) {
      log::error("config_watch_failed", {{"error", errno_status("poll", errno).ToString()}});
      return false;
    }
    if (fds[0].revents != 0 && ready > 0) return false;
    if (ready == 0 || (ready > 0 && fds[1].revents != 0)) return true;
  }
}

bool DirectorySource::settle() {
  const auto end = std::chrono::steady_clock::now() + 10 * debounce_;
  drain_events();
  while (true) {
    const auto quiet = std::min(std::chrono::steady_clock::now() + debounce_, end);
    std::array<pollfd, 2> fds = {{{stop_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), until(quiet));
    if (ready > 0 && fds[0].revents != 0) return false;
    if (ready <= 0 && errno != EINTR) return true;
    if (ready == 0 || std::chrono::steady_clock::now() >= end) return true;
    drain_events();
  }
}

void DirectorySource::drain_events() {
  alignas(inotify_event) std::array<char, 16 * 1024> buffer;
  while (true) {
    const ssize_t got = read(inotify_.get(), buffer.data(), buffer.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if ((event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0 && !lost_) {
        lost_ = true;
        log::error("config_folder_gone",
                   {{"folder", folder_}, {"next", "create it again; the last good state stays"}});
      }
      if ((event->mask & IN_Q_OVERFLOW) != 0) touched_all_ = true;
      if (event->len == 0) continue;
      const std::string name = event->name;
      if (is_manifest_name(name)) {
        touched_.insert(name);
      } else if (name.starts_with("..")) {
        touched_all_ = true;
      }
    }
  }
}

}  // namespace weft::control_plane
