// Delta ADS client (xDS protocol, "Incremental"): asks the agent for everything of four types, folds each
// burst of responses into one snapshot, publishes it, then acknowledges. Owned by Proxy; has its own threads.
// While the agent is away the last snapshot serves on, and the next stream asks only for what has changed.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

class ConfigClient {
 public:
  struct Options {
    std::string target;  // "unix:/run/weft/xds.sock"
    std::string node_id;
    std::chrono::milliseconds backoff_min{10};
    std::chrono::milliseconds backoff_max{2000};
    // Into every snapshot.
    PathNormalisation path_normalisation = PathNormalisation::kBase;
  };
  // Called on the client's thread, generations ascending from 1; the first time when every type has answered.
  using Publish = std::function<void(SnapshotPtr)>;

  static std::unique_ptr<ConfigClient> start(Options options, Publish publish);
  // Cancels the stream and joins.
  virtual ~ConfigClient() = default;

  // "<message> <name>" to reason, of resources whose newest version is refused. Any thread.
  virtual std::map<std::string, std::string> rejected() const = 0;
};

}  // namespace weft::proxy
