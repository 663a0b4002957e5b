// weft: gives the command line the process's streams, the kernel checks and the manifest analysis. Nothing
// else happens here.
#include <bpf/libbpf.h>
#include <grpc/support/log.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "agent/dataplane/dataplane.h"
#include "base/status_macros.h"
#include "control-plane/control_plane.h"
#include "control-plane/kubernetes/agent_pods.h"
#include "control-plane/kubernetes/cluster_check.h"
#include "tools/weft/cli.h"
#include "tools/weft/run_program.h"

namespace weft::cli {
namespace {

std::vector<KernelResult> check_kernel(const KernelQuestion& question) {
  agent::Dataplane::Options options{.cgroup = question.cgroup};
  if (!question.pin_root.empty()) options.pin_root = question.pin_root;
  std::vector<agent::KernelCheck> checks = agent::check_kernel(options);
  if (question.with_rivals) {
    for (agent::KernelCheck& rival : agent::check_rivals(options)) checks.push_back(std::move(rival));
    checks.push_back(agent::check_process_ids());
  }
  std::vector<KernelResult> out;
  for (agent::KernelCheck& check : checks) {
    const char* result = check.result == agent::KernelCheck::Result::kSuccess   ? "success"
                         : check.result == agent::KernelCheck::Result::kWarning ? "warning"
                                                                                : "error";
    out.push_back({std::move(check.id), std::move(check.description), result, std::move(check.error),
                   std::move(check.hint)});
  }
  return out;
}

std::vector<AnalysisFinding> analyze(const std::vector<std::string>& paths) {
  std::vector<AnalysisFinding> out;
  for (control_plane::Finding& f : control_plane::analyze(paths)) {
    const char* level = f.level == control_plane::Finding::Level::kError ? "error" : "warning";
    out.push_back({std::move(f.code), level, std::move(f.file), f.line, std::move(f.object),
                   std::move(f.field), std::move(f.message), std::move(f.remedy)});
  }
  return out;
}

control_plane::ClusterQuestion question_of(const ClusterAsk& ask) {
  return {.kubeconfig = ask.kubeconfig,
          .context = ask.context,
          .ns = ask.ns,
          .version = WEFT_VERSION,
          .before = ask.before};
}

std::vector<CheckRow> check_cluster(const ClusterAsk& ask) {
  using Result = control_plane::ClusterCheck::Result;
  std::vector<CheckRow> out;
  for (control_plane::ClusterCheck& check : control_plane::check_cluster(question_of(ask))) {
    const char* result = check.result == Result::kSuccess   ? "success"
                         : check.result == Result::kWarning ? "warning"
                                                            : "error";
    out.push_back({std::move(check.category), std::move(check.id), std::move(check.description), result,
                   std::move(check.error), std::move(check.hint)});
  }
  return out;
}

absl::StatusOr<size_t> count_pods(const ClusterAsk& ask) {
  return control_plane::count_pods(question_of(ask));
}

absl::StatusOr<std::vector<AgentPlace>> list_agents(const ClusterAsk& ask) {
  // A server that goes away is an error of the connection to it.
  ::signal(SIGPIPE, SIG_IGN);
  ASSIGN_OR_RETURN(std::vector<control_plane::AgentPod> pods,
                   control_plane::list_agent_pods(question_of(ask)));
  std::vector<AgentPlace> out;
  for (control_plane::AgentPod& pod : pods)
    out.push_back({std::move(pod.node), std::move(pod.ns), std::move(pod.name), std::move(pod.run_dir)});
  return out;
}

class LinkOverExec final : public AgentLink {
 public:
  explicit LinkOverExec(std::unique_ptr<control_plane::PodStream> stream) : stream_(std::move(stream)) {}
  int take_socket() override { return stream_->take_socket().release(); }
  std::string problem() const override { return stream_->problem(); }

 private:
  const std::unique_ptr<control_plane::PodStream> stream_;
};

absl::StatusOr<std::unique_ptr<AgentLink>> reach_agent(const ClusterAsk& ask, const AgentPlace& agent) {
  ASSIGN_OR_RETURN(std::unique_ptr<control_plane::PodStream> stream,
                   control_plane::reach_agent(
                       question_of(ask),
                       {.node = agent.node, .ns = agent.ns, .name = agent.pod, .run_dir = agent.run_dir}));
  return std::make_unique<LinkOverExec>(std::move(stream));
}

bool colour_terminal() {
  const char* term = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  const bool asked_off = no_colour != nullptr && *no_colour != '\0';
  return ::isatty(STDOUT_FILENO) == 1 && !asked_off && term != nullptr && std::strcmp(term, "dumb") != 0;
}

int quiet(enum libbpf_print_level, const char*, va_list) { return 0; }

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_DFL);
  libbpf_set_print(weft::cli::quiet);
  gpr_set_log_function([](gpr_log_func_args*) {});
  weft::cli::Environment environment{std::cout,
                                     std::cerr,
                                     weft::cli::colour_terminal(),
                                     weft::cli::check_kernel,
                                     weft::cli::analyze,
                                     weft::cli::check_cluster,
                                     weft::cli::count_pods,
                                     weft::cli::run_program,
                                     weft::cli::list_agents,
                                     weft::cli::reach_agent};
  return weft::cli::run(std::vector<std::string>(argv + 1, argv + argc), environment);
}
