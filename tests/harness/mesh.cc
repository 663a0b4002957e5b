// See mesh.h.
#include "tests/harness/mesh.h"

#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>

#include "base/status_macros.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"

namespace weft::harness {
namespace {

constexpr milliseconds kStartDeadline{30'000};
// Longer than anything but a hang: closing inotify waits for grace periods of the kernel
// (fsnotify_destroy_group), which take tens of seconds where dozens of threads wait for two CPUs.
constexpr milliseconds kStopDeadline{120'000};

// Small quarantine: the tests measure resident memory. Harmless in builds without sanitizers.
const std::vector<std::string> kSanitizerEnvironment = {
    "ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=10:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS=print_stacktrace=1"};

}  // namespace

Mesh::Mesh(const Sandbox& sandbox, uint32_t node, std::string cgroup)
    : sandbox_(sandbox),
      node_(node),
      suffix_(node == 1 ? "" : str_cat(node)),
      cgroup_(cgroup.empty() ? "" : "/" + cgroup),
      manifests_(sandbox.directory() + "/config") {
  ::mkdir(run_dir().c_str(), 0755);
}

Mesh::~Mesh() {
  stop_proxy();
  stop_agent();
  cleanup();
}

absl::StatusOr<std::unique_ptr<Process>> Mesh::start(const std::string& cgroup,
                                                     std::vector<std::string> argv) const {
  ASSIGN_OR_RETURN(const std::string path,
                   sandbox_.sub_cgroup(cgroup_.empty() ? cgroup : str_cat(cgroup_.substr(1), "/", cgroup)));
  Spawn spawn;
  spawn.argv = std::move(argv);
  spawn.cgroup = path;
  spawn.netns = netns_;
  spawn.environment = kSanitizerEnvironment;
  return Process::start(spawn);
}

absl::Status Mesh::start_agent(const std::string& program) {
  remember(agent_);
  std::vector<std::string> argv{binary(program),
                                "--run-dir",
                                run_dir(),
                                "--pin-root",
                                sandbox_.pin_root() + suffix_,
                                "--cgroup",
                                sandbox_.cgroup() + cgroup_,
                                "--node-name",
                                str_cat("node", node_),
                                "--proxy-user",
                                "nobody",
                                "--metrics-address",
                                str_cat("127.0.0.1:", metrics_port_.number()),
                                "--health-address",
                                str_cat("127.0.0.1:", health_port_.number()),
                                "--gateway-address",
                                "127.0.0.1",
                                "--shortcut"};
  argv.insert(argv.end(), source_.begin(), source_.end());
  ASSIGN_OR_RETURN(agent_, start("agent", std::move(argv)));
  const bool up =
      wait_until(kStartDeadline, [this] { return cli({"status"}).exit_code == 0 || !agent_->running(); });
  if (up && agent_->running()) return absl::OkStatus();
  return absl::UnavailableError(str_cat(program, " does not answer `weft status`; it wrote:\n",
                                        agent_->output(), cli({"status"}).errors));
}

absl::Status Mesh::start_proxy() {
  remember(proxy_);
  // The suites run with either backend; one that was asked for by name is not replaced by the other.
  const char* io = std::getenv("WEFT_TEST_IO");
  ASSIGN_OR_RETURN(proxy_, start("proxy", {binary("weft-proxy"), "--run-dir", run_dir(), "--workers", "1",
                                           "--user", "nobody", "--access-log", log_requests_ ? "-" : "off",
                                           "--drain-timeout", "5", "--io", io == nullptr ? "auto" : io}));
  return absl::OkStatus();
}

void Mesh::remember(std::unique_ptr<Process>& process) {
  if (process) past_log_ += process->output();
  process.reset();
}

int Mesh::stop_agent() {
  const int code = agent_ ? agent_->stop(kStopDeadline) : 0;
  remember(agent_);
  return code;
}

int Mesh::stop_proxy() {
  const int code = proxy_ ? proxy_->stop(kStopDeadline) : 0;
  remember(proxy_);
  return code;
}

void Mesh::kill_agent() {
  agent_->signal(SIGKILL);
  agent_->wait(kStopDeadline);
  remember(agent_);
}

void Mesh::kill_proxy() {
  proxy_->signal(SIGKILL);
  proxy_->wait(kStopDeadline);
  remember(proxy_);
}

CommandResult Mesh::cleanup() const {
  Spawn spawn;
  spawn.argv = {binary("weft-agent"),         "cleanup", "--run-dir", run_dir(), "--pin-root",
                sandbox_.pin_root() + suffix_};
  return run(spawn);
}

CommandResult Mesh::cli(std::vector<std::string> arguments) const {
  Spawn spawn;
  spawn.argv = {binary("weft"), "--run-dir", run_dir()};
  spawn.argv.insert(spawn.argv.end(), arguments.begin(), arguments.end());
  return run(spawn, milliseconds(20'000));
}

std::string Mesh::metrics() const {
  Spawn spawn;
  spawn.argv = {"curl", "--silent", "--max-time", "5",
                str_cat("http://127.0.0.1:", metrics_port_.number(), "/metrics")};
  return run(spawn).output;
}

std::string Mesh::log() const {
  return str_cat(past_log_, agent_ ? agent_->output() : "", proxy_ ? proxy_->output() : "");
}

std::string Mesh::sanitizer_reports() const {
  const std::string text = log();
  for (const char* mark :
       {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error: ", "WARNING: ThreadSanitizer"}) {
    const size_t at = text.find(mark);
    if (at != std::string::npos) return text.substr(at, 4000);
  }
  return "";
}

}  // namespace weft::harness
