// `weft`: parses the command line, runs one command, returns its exit code. main.cc gives it the process's
// streams and the two libraries it needs (kernel checks, analysis); tests give their own. Results go to `out`
// only, words about them to `err`.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::cli {

// docs/cli.md has the meaning of each.
enum ExitCode : int {
  kOk = 0,
  kRuntimeError = 1,
  kUsage = 64,
  kBadInput = 65,
  kUnavailable = 69,
  kPermission = 77,
  kFindings = 79,
  kPartial = 80,
};

// What the agent is, or will be, started with; empty: its defaults.
struct KernelQuestion {
  std::string cgroup;
  std::string pin_root;
  // Also who else is on the hooks, and process ids. A running agent answers that itself (B-05, B-06).
  bool with_rivals = false;
};

struct KernelResult {
  std::string id;
  std::string description;
  std::string result;  // "success", "warning" or "error"
  std::string error;
  std::string hint;
};

// A cluster, and how it is reached.
struct ClusterAsk {
  std::string kubeconfig;  // empty: as the pod that this runs in
  std::string context;
  std::string ns;
  bool before = false;  // Weft is not there yet
};

// An agent of a cluster.
struct AgentPlace {
  std::string node;
  std::string ns, pod;
  std::string run_dir;  // as it was started with; empty: the default
};

// A way to one, for as long as this lives.
class AgentLink {
 public:
  virtual ~AgentLink() = default;
  // Once: a connected stream socket that does not block; the caller closes it.
  virtual int take_socket() = 0;
  // Why it broke; "" as far as is known.
  virtual std::string problem() const = 0;
};

// KernelResult with the heading that it stands under.
struct CheckRow {
  std::string category;
  std::string id;
  std::string description;
  std::string result;
  std::string error;
  std::string hint;
};

struct AnalysisFinding {
  std::string code;
  std::string level;  // "warning" or "error"
  std::string file;
  uint32_t line = 0;
  std::string object;
  std::string field;
  std::string message;
  std::string remedy;
};

struct Environment {
  std::ostream& out;
  std::ostream& err;
  bool colour_terminal = false;  // a terminal, TERM is not dumb, NO_COLOR is not set
  std::function<std::vector<KernelResult>(const KernelQuestion&)> check_kernel;
  std::function<std::vector<AnalysisFinding>(const std::vector<std::string>&)> analyze;
  std::function<std::vector<CheckRow>(const ClusterAsk&)> check_cluster = {};
  // Pods of Weft in the cluster.
  std::function<absl::StatusOr<size_t>(const ClusterAsk&)> count_pods = {};
  // Runs it with the terminal of this process; its exit code, 127 when it cannot be run.
  std::function<int(const std::vector<std::string>&)> run_program = {};
  // By their nodes. Errors say what is missing and what to do.
  std::function<absl::StatusOr<std::vector<AgentPlace>>(const ClusterAsk&)> list_agents = {};
  // Any thread.
  std::function<absl::StatusOr<std::unique_ptr<AgentLink>>(const ClusterAsk&, const AgentPlace&)>
      reach_agent = {};
};

// `args` without the program's name.
int run(const std::vector<std::string>& args, Environment& environment);

// docs/cli.md.
std::string cli_document();

}  // namespace weft::cli
