// The writer thread of the access log: sleeps until a worker has a line, writes all that is there with one system call. Never
// called on a worker's thread except for AccessLog::write.
#include "userspace-proxy/telemetry/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

// Some 4,000 lines per worker: what a disk stall of a few tens of milliseconds needs.
constexpr size_t kRingBytes = 1 << 20;

absl::StatusOr<UniqueFd> open_log(const std::string& path) {
  const int fd = path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                             : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return errno_status(str_cat("open access log ", path), errno);
  return UniqueFd(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, size_t workers) {
  ASSIGN_OR_RETURN(UniqueFd file, open_log(path));
  return std::unique_ptr<AccessLog>(new AccessLog(path, std::move(file), workers));
}

AccessLog::AccessLog(std::string path, UniqueFd file, size_t workers) : path_(std::move(path)), file_(std::move(file)) {
  for (size_t i = 0; i < workers; ++i) rings_.push_back(std::make_unique<ByteRing>(kRingBytes));
  thread_ = std::thread([this] { run(); });
}

AccessLog::~AccessLog() {
  stopping_.store(true);
  wakeup_.notify();
  thread_.join();
}

void AccessLog::reopen() {
  reopen_.store(true);
  wakeup_.notify();
}

uint64_t AccessLog::dropped() const {
  uint64_t out = write_errors_.load(std::memory_order_relaxed);
  for (const auto& ring : rings_) out += ring->dropped();
  return out;
}

void AccessLog::reopen_now() {
  auto file = open_log(path_);
  if (file.ok()) {
    file_ = *std::move(file);
    return;
  }
  log::warn("access_log_reopen_failed", {{"error", std::string(file.status().message())},
                                         {"next", "still writing to the old file; make the folder writable"}});
}

// False when there was nothing.
bool AccessLog::drain() {
  std::string text;
  for (const auto& ring : rings_) ring->drain(&text);
  // After taking the lines: what a worker logs after reopen() is never in the old file.
  if (reopen_.exchange(false)) reopen_now();
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      // Disk full or reader gone: the rest of the lines are lost, and counted as such.
      write_errors_ += static_cast<uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
      break;
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return !text.empty();
}

void AccessLog::run() {
  for (;;) {
    // Read before draining: once it is set no worker adds anything, so one more drain is complete.
    const bool last = stopping_.load();
    if (drain()) continue;
    if (last) return;
    wakeup_.prepare();
    const bool idle = std::all_of(rings_.begin(), rings_.end(), [](const auto& ring) { return ring->empty(); });
    if (idle && !stopping_.load() && !reopen_.load()) {
      wakeup_.wait(-1);
    } else {
      wakeup_.cancel();
    }
  }
}

}  // namespace weft::proxy
