// Weft itself in a test: one weft-agent and one weft-proxy for node1, with every path inside the sandbox, and
// the CLI. The agent runs in the machine's own network namespace; both are members of the scratch cgroup, so
// that the kernel programs see the proxy's connects as they would in production. Never attaches to the root
// cgroup.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/harness/manifests.h"
#include "tests/harness/process.h"
#include "tests/harness/sandbox.h"
#include "tests/harness/wait.h"

namespace weft::harness {

class Mesh {
 public:
  // `node` beyond 1: another node beside that one, with sockets, pins and cgroup of its own; both read one
  // folder of manifests. `cgroup`, below the sandbox's, is whose processes are captured; empty: the
  // sandbox's.
  explicit Mesh(const Sandbox& sandbox, uint32_t node = 1, std::string cgroup = {});
  // Stops both and runs `weft-agent cleanup`.
  ~Mesh();

  // Returns when the admin socket answers. `program`: weft-agent, or weft-agent-next, a later version of it.
  absl::Status start_agent(const std::string& program = "weft-agent");
  absl::Status start_proxy();
  // Whether proxies that are started from now on log every request, which the log() of a long test at full
  // load has no room for.
  void log_requests(bool on) { log_requests_ = on; }
  // The network namespace (its path) of agents and proxies that are started from now on: a node's, whose pods
  // are reached from there, in place of the machine's. Their ports for metrics and health are there too.
  void run_in(const std::string& netns) { netns_ = netns; }
  // Where agents that are started from now on have their configuration from, in place of the folder:
  // {"--control-plane", "127.0.0.1:15012", …}.
  void configure_by(std::vector<std::string> arguments) { source_ = std::move(arguments); }
  // SIGTERM and the exit code; 0 when it was not running.
  int stop_agent();
  int stop_proxy();
  void kill_agent();
  void kill_proxy();
  CommandResult cleanup() const;

  CommandResult cli(std::vector<std::string> arguments) const;
  // The Prometheus text of the agent; empty when it does not answer.
  std::string metrics() const;

  ManifestFolder& manifests() { return manifests_; }
  Process& agent() { return *agent_; }
  Process& proxy() { return *proxy_; }
  std::string run_dir() const { return sandbox_.directory() + "/run" + suffix_; }
  // What agents and proxies wrote, ended ones included.
  std::string log() const;
  // Reports of sanitizers found in it; empty: none.
  std::string sanitizer_reports() const;

 private:
  absl::StatusOr<std::unique_ptr<Process>> start(const std::string& cgroup,
                                                 std::vector<std::string> argv) const;
  void remember(std::unique_ptr<Process>& process);

  const Sandbox& sandbox_;
  const uint32_t node_;
  const std::string suffix_;  // of paths: empty for node 1
  const std::string cgroup_;  // below the sandbox's, with a slash before it; or empty
  ManifestFolder manifests_;
  const ReservedPort metrics_port_, health_port_;
  std::unique_ptr<Process> agent_;
  std::unique_ptr<Process> proxy_;
  std::string past_log_;
  bool log_requests_ = true;
  std::string netns_;  // empty: the machine's
  std::vector<std::string> source_ = {"--config-dir", manifests_.path()};
};

}  // namespace weft::harness
