// Puts the plugin weft-cni where the node's runtime finds it, and puts it back when somebody rewrites the
// configuration: a thread that inotify(7) wakes. Takes it out again, too. Never touches a running pod.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/cni/plugin.h"
#include "base/fd.h"

namespace weft::agent {

class CniInstaller {
 public:
  struct Options {
    std::string conf_dir;  // /etc/cni/net.d
    std::string bin_dir;   // /opt/cni/bin
    std::string program;   // ours, to be copied to bin_dir
    CniPluginConfig config;
  };

  // Nothing is installed yet. An error: the system has no eventfd or inotify instance left.
  static absl::StatusOr<std::unique_ptr<CniInstaller>> open(Options options);
  // Once, when questions can be answered: an agent that never comes so far must not keep pods from starting.
  // Installs the program and the entry and keeps them installed from then on; what cannot be installed now is
  // problem(), and is tried again when the folder of configurations changes, and every few seconds besides.
  void begin();
  // Leaves the plugin where it is: pods of the mesh wait for the next agent.
  ~CniInstaller();

  // Any thread: which pods must not start while no agent answers.
  absl::Status set_namespaces(const std::vector<std::string>& namespaces);
  // Any thread: why the runtime does not use the plugin, and what to do; "": it does.
  std::string problem() const;

  // Takes the entry out of every configuration in the folder and then, when none has it any more, the program
  // away. One sentence for each thing removed. An error: the first of those that stay.
  static absl::StatusOr<std::vector<std::string>> remove(const std::string& conf_dir,
                                                         const std::string& bin_dir);

 private:
  explicit CniInstaller(Options options) : options_(std::move(options)) {}
  absl::Status watch() const;
  absl::Status copy_program() const;
  absl::Status install() const;
  bool try_install();
  void run(bool installed);

  Options options_;
  UniqueFd inotify_;
  UniqueFd stop_;
  mutable std::mutex mutex_;
  std::string problem_;
  std::string namespaces_;
  bool namespaces_written_ = false;
  std::thread thread_;
};

}  // namespace weft::agent
