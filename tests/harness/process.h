// Child processes of a test: started inside a network namespace and a cgroup, output captured, killed with
// the test. Every integration test starts its servers, clients and Weft's own binaries through this; nothing
// here knows what they are.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::harness {

using std::chrono::milliseconds;

struct Spawn {
  std::vector<std::string> argv;
  std::string netns;                     // path of a namespace file; empty: ours
  std::string cgroup;                    // directory; empty: ours
  std::vector<std::string> environment;  // "NAME=value", added to ours
  bool separate_errors = false;          // standard error apart from standard output
  std::string input;                     // path for standard input; empty: /dev/null
};

class Process {
 public:
  // The child dies with the calling thread (PR_SET_PDEATHSIG), so start long-lived ones from the main thread.
  static absl::StatusOr<std::unique_ptr<Process>> start(const Spawn& spawn);
  // Kills and reaps.
  ~Process();

  pid_t pid() const { return pid_; }
  bool running() { return !wait(milliseconds(0)).has_value(); }
  // Exit code, 128 + signal when killed; nullopt when it still runs at the deadline.
  std::optional<int> wait(milliseconds deadline);
  void signal(int number) const;
  // SIGTERM, then SIGKILL after the deadline; the exit code.
  int stop(milliseconds deadline);

  // What it wrote so far (standard error included unless kept apart).
  std::string output() const;
  std::string errors() const;
  // Resident memory in bytes; 0 when it is gone.
  uint64_t resident_bytes() const;

 private:
  Process() = default;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd output_;
  UniqueFd errors_;
  std::optional<int> exit_code_;
};

struct CommandResult {
  int exit_code = -1;  // -1: it could not be started or did not end in time
  std::string output;
  std::string errors;
};

// Runs a command to its end.
CommandResult run(Spawn spawn, milliseconds deadline = milliseconds(30'000));

}  // namespace weft::harness
