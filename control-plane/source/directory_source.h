// A folder of manifests as a stream of changes: reads every *.yaml, *.yml and *.json directly in it, then
// follows inotify on a thread of its own. It knows paths and bytes; it never parses.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::control_plane {

// Text, or why it cannot be read.
using FileContent = absl::StatusOr<std::string>;
// Path to its new content; nullopt: the file is gone.
using FolderChange = std::map<std::string, std::optional<FileContent>>;

// Reads a regular file of at most kMaxFileBytes; never blocks on a FIFO.
FileContent read_manifest(const std::string& path);
// "*.yaml", "*.yml", "*.json"; names that begin with a dot are not manifests.
bool is_manifest_name(const std::string& name);

class DirectorySource {
 public:
  using Subscriber = std::function<void(FolderChange)>;

  // Calls `subscriber` once before it returns, with everything; afterwards from its own thread, only when
  // something changed. Errors: the folder cannot be read, or inotify is exhausted.
  static absl::StatusOr<std::unique_ptr<DirectorySource>> start(std::string folder,
                                                                std::chrono::milliseconds debounce,
                                                                Subscriber subscriber);
  // The same reading once, without watching.
  static absl::StatusOr<FolderChange> read_folder(std::string folder);
  // Joins the thread.
  ~DirectorySource();

 private:
  // What tells one version of a file from the next without reading it.
  using Fingerprint = std::tuple<dev_t, ino_t, off_t, int64_t, int64_t>;

  DirectorySource(std::string folder, std::chrono::milliseconds debounce, Subscriber subscriber)
      : folder_(std::move(folder)), debounce_(debounce), subscriber_(std::move(subscriber)) {}

  absl::Status watch();
  absl::StatusOr<FolderChange> scan();
  void run();
  // Waits for the first event; false: stop.
  bool wait_for_event();
  // Gathers events until none came for `debounce_`, at most 10 times as long; false: stop.
  bool settle();
  // Empties the inotify queue into `touched_`.
  void drain_events();

  const std::string folder_;
  const std::chrono::milliseconds debounce_;
  const Subscriber subscriber_;
  UniqueFd inotify_;
  UniqueFd stop_;
  // The folder itself went away; its return is looked for once a second.
  bool lost_ = false;
  bool touched_all_ = false;
  std::set<std::string> touched_;
  std::map<std::string, Fingerprint> seen_;
  std::thread thread_;
};

}  // namespace weft::control_plane
