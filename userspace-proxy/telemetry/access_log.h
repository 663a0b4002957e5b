// The thread that writes access-log lines of all workers to a file or to standard output. Workers hand it lines through their
// rings and never wait; what does not fit is dropped and counted. Owned by Proxy.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "userspace-proxy/telemetry/byte_ring.h"
#include "userspace-proxy/telemetry/wakeup.h"

namespace weft::proxy {

class AccessLog {
 public:
  // `path` is a file (appended to) or "-"; one ring per worker.
  static absl::StatusOr<std::unique_ptr<AccessLog>> open(const std::string& path, size_t workers);
  // Writes everything that is in the rings, then ends. The workers must have ended.
  ~AccessLog();

  // Worker `index` only. `line` ends with a newline.
  void write(size_t index, std::string_view line) {
    rings_[index]->push(line);
    wakeup_.notify();
  }
  // After log rotation; any thread. A file that cannot be opened again leaves the old one in use, with a warning.
  void reopen();
  uint64_t dropped() const;

 private:
  AccessLog(std::string path, UniqueFd file, size_t workers);
  void run();
  bool drain();
  void reopen_now();

  const std::string path_;
  UniqueFd file_;  // writer thread only
  std::vector<std::unique_ptr<ByteRing>> rings_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> reopen_{false};
  std::atomic<uint64_t> write_errors_{0};
  std::thread thread_;
};

}  // namespace weft::proxy
