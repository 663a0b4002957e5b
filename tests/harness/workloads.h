// Programs that run in pods: nginx, redis, weft-test-peer as servers; curl and weft-bench-load as clients.
// Servers are returned when they accept connections; every client runs inside its pod's namespace and cgroup.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/harness/process.h"
#include "tests/harness/topology.h"

namespace weft::harness {

// Where weft-agent, weft-proxy, weft, weft-bench-load and weft-test-peer are: WEFT_BIN_DIR of the
// environment, or of the build.
std::string binary(const std::string& name);

Spawn in_pod(const Pod& pod, std::vector<std::string> argv);

// Answers "VERSION\n" with header x-version everywhere; /file serves `file_bytes` (sparse).
absl::StatusOr<std::unique_ptr<Process>> start_nginx(const Sandbox& sandbox, const Pod& pod, uint16_t port,
                                                     const std::string& version, uint64_t file_bytes = 0);
absl::StatusOr<std::unique_ptr<Process>> start_redis(const Pod& pod, uint16_t port);
// mode: echo, greeter, whoami, http, counting, ends.
absl::StatusOr<std::unique_ptr<Process>> start_peer(const Pod& pod, const std::string& mode, uint16_t port);

CommandResult curl(const Pod& pod, std::vector<std::string> arguments);
CommandResult peer(const Pod& pod, std::vector<std::string> arguments);

// The figures of the final JSON line of weft-bench-load.
struct LoadResult {
  uint64_t requests = 0;
  uint64_t failed = 0;
  uint64_t retries = 0;  // of requests whose kept-alive connection ended under them
  std::map<std::string, uint64_t> versions;
  std::map<std::string, uint64_t> failures;
  std::string text;  // everything it printed, for messages
  double share(const std::string& version) const;
};
// A live line every `interval` seconds; "0": only the final one.
Spawn load_spawn(const Pod& pod, std::vector<std::string> arguments, const std::string& interval = "0");
LoadResult parse_load(const std::string& output);
// The sum of its live lines (--interval), while it still runs.
uint64_t requests_so_far(const std::string& output);
LoadResult load(const Pod& pod, std::vector<std::string> arguments);

}  // namespace weft::harness
