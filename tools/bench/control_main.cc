// weft-bench-control: weft-control at the size of a large cluster while pods are replaced: its memory, how
// long a change takes to be at a node, what a changed endpoint costs on the wire, and whether anything is
// sent that has not changed. The API server is a stand-in (control_api.h), or one with etcd
// (--kubeconfig); everything else is as it runs in a cluster. Run by `tools/dev bench control`; no root, no
// network but loopback.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/status/status.h"
#include "base/fd.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/bench/control_api.h"
#include "tools/bench/control_cluster.h"
#include "tools/bench/control_node.h"
#include "tools/bench/control_real_api.h"
#include "tools/bench/paired.h"

namespace weft::bench {
namespace {

using Sight = ControlNode::Sight;

constexpr std::chrono::seconds kSync{300};
constexpr std::chrono::seconds kLast{30};
// Between two steps of one pod's replacement.
constexpr double kApartSeconds = 1.0;
// Bars.
constexpr double kMostMilliseconds = 50, kMostBytes = 1024, kMostMemory = 500;

struct Options {
  std::string bin_dir, run_dir, json;
  std::string kubeconfig;  // of a real API server; empty: the stand-in
  ControlCluster::Size size;
  double rate = 2'000;  // pods a minute
  double seconds = 60;
  uint32_t service_changes = 50;
  uint32_t streams = 1;  // of nodes
};

// weft-control on a free port of loopback, with folders of its own; ended with this.
class ControlProcess {
 public:
  // What it keeps goes into `folder`, which is empty.
  explicit ControlProcess(std::string folder) : folder_(std::move(folder)) {}
  ~ControlProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  absl::Status start(const std::string& program, const std::string& kubeconfig) {
    std::ofstream(file("kubeconfig")) << kubeconfig;
    target_ = str_cat("127.0.0.1:", free_port());
    const std::vector<std::string> words = {
        program,       "--kubeconfig",     file("kubeconfig"), "--listen", target_,       "--metrics-address",
        "127.0.0.1:0", "--health-address", "127.0.0.1:0",      "--ca-dir", file("ca"),    "--make-authority",
        "--run-dir",   file("run"),        "--status-lease",   "none",     "--log-level", "warn"};
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    if (::access(program.c_str(), X_OK) != 0)
      return absl::NotFoundError(str_cat(program, " cannot be started; next: tools/dev build"));
    pid_ = ::fork();
    if (pid_ == 0) {
      // An interrupted measurement leaves nothing that runs.
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      ::execv(program.c_str(), argv.data());
      ::_exit(1);
    }
    return pid_ > 0 ? absl::OkStatus() : absl::UnavailableError("no process can be started");
  }

  std::string file(const std::string& name) const { return folder_ + "/" + name; }
  // Of the agent of a node.
  absl::StatusOr<control_plane::ControlAccess> access(uint32_t node, ObjectApi& api) const {
    const std::string token = file(str_cat("token-", node));
    ASSIGN_OR_RETURN(const std::string text, api.token(node));
    std::ofstream(token) << text << "\n";
    return control_plane::ControlAccess{.target = target_,
                                        .authority_file = file("ca/ca.crt"),
                                        .token_file = token,
                                        .certificate_file = "",
                                        .key_file = "",
                                        .server_name = "weft-control.weft-system.svc",
                                        .cluster_id = ""};
  }

  // Megabytes, of a line of /proc/PID/status.
  double memory(const std::string& line) const {
    std::ifstream status(str_cat("/proc/", pid_, "/status"));
    std::string text;
    while (std::getline(status, text)) {
      if (text.starts_with(line)) return std::atof(text.c_str() + line.size() + 1) / 1024;
    }
    return 0;
  }
  double cpu_seconds() const {
    std::ifstream stat(str_cat("/proc/", pid_, "/stat"));
    std::string text;
    std::getline(stat, text);
    std::istringstream rest(text.substr(text.rfind(')') + 1));
    std::string skipped;
    for (int i = 0; i < 11; ++i) rest >> skipped;
    double user = 0, system = 0;
    rest >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  bool has_authority() const { return std::filesystem::exists(file("ca/ca.crt")); }
  bool runs() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  static uint16_t free_port() {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket.get(), raw, length) != 0 || ::getsockname(socket.get(), raw, &length) != 0) return 0;
    return ntohs(address.sin_port);
  }

  const std::string folder_;
  std::string target_;
  pid_t pid_ = -1;
};

// Returns from wait() in even steps.
class Pace {
 public:
  explicit Pace(double per_second) : timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
    const auto nanos = static_cast<int64_t>(1e9 / per_second);
    const timespec step{.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000};
    const itimerspec spec{.it_interval = step, .it_value = step};
    ::timerfd_settime(timer_.get(), 0, &spec, nullptr);
  }
  void wait() {
    uint64_t passed = 0;
    if (::read(timer_.get(), &passed, sizeof(passed)) < 0) std::perror("weft-bench-control: timerfd");
  }

 private:
  const UniqueFd timer_;
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size())));
  return values[std::min(std::max<size_t>(at, 1), values.size()) - 1];
}

class Report {
 public:
  // A figure that has a bar.
  void hold(const std::string& name, const char* unit, double value, double at_most) {
    figures_.push_back(
        {.name = name, .unit = unit, .result = {value, value, value}, .bar = at_most, .at_most = true});
  }
  void hold_latency(const std::string& name, const std::vector<double>& milliseconds) {
    tell(name + ", p50", quantile(milliseconds, 0.5), "ms");
    tell(name + ", worst", quantile(milliseconds, 1), "ms");
    hold(name + ", p99", "ms", quantile(milliseconds, 0.99), kMostMilliseconds);
  }
  // What stands beside the table.
  void tell(const std::string& name, double value, const char* unit) {
    std::printf("  %-56s %10.1f %s\n", name.c_str(), value, unit);
    std::fflush(stdout);
  }
  bool print(const std::string& json) const {
    const bool written = report(figures_, json);
    std::fflush(stdout);
    return written;
  }

 private:
  std::vector<Figure> figures_;
};

absl::Status churn(const Options& options, const ControlProcess& process, ControlCluster& cluster,
                   ControlNode& node, ObjectApi& api, Report& report) {
  auto* const real = dynamic_cast<RealApi*>(&api);
  if (real != nullptr) real->take_milliseconds();
  const double per_second = options.rate / 60;
  const auto apart = static_cast<size_t>(std::max(1.0, per_second * kApartSeconds));
  const auto pods = static_cast<size_t>(per_second * options.seconds);
  const double cpu = process.cpu_seconds();
  Pace pace(per_second);
  size_t begun = 0;
  while (cluster.replace_pods(node, apart, begun < pods)) {
    ++begun;
    pace.wait();
  }
  RETURN_IF_ERROR(api.flush());
  if (!node.wait_for_all(kLast))
    return absl::DeadlineExceededError("a change of a pod did not come to the node");
  if (real != nullptr) {
    const std::vector<double> writes = real->take_milliseconds();
    report.tell("a write at the API server, p50", quantile(writes, 0.5), "ms");
    report.tell("a write at the API server, p99", quantile(writes, 0.99), "ms");
  }
  ControlNode::Figures figures = node.take();
  report.hold_latency("a new pod, event to node", figures.milliseconds[Sight::kNew]);
  report.hold_latency("a pod that is ready, event to node", figures.milliseconds[Sight::kHealthy]);
  report.hold_latency("a pod that is gone, event to node", figures.milliseconds[Sight::kGone]);
  const auto bytes = static_cast<double>(figures.bytes);
  report.hold("bytes on the wire for a change of an endpoint", "B",
              bytes / static_cast<double>(std::max<uint64_t>(figures.addresses, 1)), kMostBytes);
  report.tell("bytes for each pod that is replaced", bytes / static_cast<double>(pods), "B");
  report.tell("most resources in an answer", static_cast<double>(figures.largest), "");
  report.hold("full pushes while pods change", "", static_cast<double>(figures.full_pushes), 0);
  const double used = process.cpu_seconds() - cpu;
  report.tell("CPU of weft-control", 100 * used / (static_cast<double>(begun) / per_second), "%");
  report.tell("CPU of weft-control for a pod that is replaced", 1'000 * used / static_cast<double>(begun),
              "ms");
  return absl::OkStatus();
}

absl::Status change_services(uint32_t count, const ControlProcess& process, ControlCluster& cluster,
                             ControlNode& node, Report& report) {
  const double cpu = process.cpu_seconds();
  for (uint32_t i = 0; i < count; ++i) {
    cluster.alter_service(node);
    if (!node.wait_for_all(kLast))
      return absl::DeadlineExceededError("a change of a Service did not come to the node");
  }
  ControlNode::Figures figures = node.take();
  report.hold_latency("a Service, event to node", figures.milliseconds[Sight::kService]);
  report.tell("CPU of weft-control for a Service",
              1'000 * (process.cpu_seconds() - cpu) / static_cast<double>(std::max(1U, count)), "ms");
  report.hold("full pushes while Services change", "", static_cast<double>(figures.full_pushes), 0);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ObjectApi>> open_api(const Options& options) {
  if (!options.kubeconfig.empty()) return RealApi::open(options.kubeconfig);
  auto api = std::make_unique<StandInApi>();
  if (api->url().empty()) return absl::UnavailableError("no port of loopback is free; next: ss -ltn");
  return api;
}

// A node that has everything.
absl::StatusOr<std::unique_ptr<ControlNode>> begin_node(const Options& options, const ControlProcess& process,
                                                        uint32_t number, ObjectApi& api) {
  ASSIGN_OR_RETURN(control_plane::ControlAccess access, process.access(number, api));
  auto node = std::make_unique<ControlNode>(std::move(access));
  RETURN_IF_ERROR(node->start(options.size.services + options.size.endpoints, kSync));
  return node;
}

absl::Status run(const Options& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ObjectApi> api, open_api(options));
  ControlCluster cluster(*api, options.size);
  RETURN_IF_ERROR(api->flush());
  const auto* const real = dynamic_cast<RealApi*>(api.get());
  ControlProcess process(options.run_dir);
  const auto begin = ControlNode::Clock::now();
  RETURN_IF_ERROR(process.start(options.bin_dir + "/weft-control", api->kubeconfig()));
  // It makes its authority before it reads anything.
  Pace look(20);
  while (!process.has_authority()) {
    if (!process.runs()) return absl::UnavailableError("weft-control ended; what it said stands above");
    look.wait();
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ControlNode> first, begin_node(options, process, 0, *api));
  ControlNode& node = *first;
  const std::chrono::duration<double> synced = ControlNode::Clock::now() - begin;
  std::vector<std::unique_ptr<ControlNode>> others;
  for (uint32_t i = 1; i < options.streams; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<ControlNode> other, begin_node(options, process, i, *api));
    others.push_back(std::move(other));
  }
  std::printf("%u Services, %u endpoints, %u nodes' streams, %.0f pods replaced a minute for %.0f s\n",
              options.size.services, options.size.endpoints, options.streams, options.rate, options.seconds);
  if (real != nullptr) std::puts("an API server with etcd, on the same processors");
  Report report;
  report.tell("from the start to a node that has all", synced.count(), "s");
  report.tell("memory then", process.memory("VmRSS:"), "MB");
  RETURN_IF_ERROR(churn(options, process, cluster, node, *api, report));
  RETURN_IF_ERROR(change_services(options.service_changes, process, cluster, node, report));
  report.tell("memory at the end", process.memory("VmRSS:"), "MB");
  report.hold("memory at its highest", "MB", process.memory("VmHWM:"), kMostMemory);
  return report.print(options.json) ? absl::OkStatus()
                                    : absl::UnavailableError(options.json + " cannot be written");
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  CLI::App app("weft-control at the size of a large cluster, while pods are replaced.", "weft-bench-control");
  weft::bench::Options options;
  app.add_option("--bin-dir", options.bin_dir, "Where weft-control is")->required();
  app.add_option("--run-dir", options.run_dir, "An empty folder for what it keeps")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--services", options.size.services, "Services")->check(CLI::Range(1, 65'000));
  app.add_option("--endpoints", options.size.endpoints, "Pods of all of them")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--namespaces", options.size.namespaces, "Namespaces")->check(CLI::Range(1, 10'000));
  app.add_option("--nodes", options.size.nodes, "Nodes")->check(CLI::Range(1, 10'000));
  app.add_option("--rate", options.rate, "Pods replaced a minute")->check(CLI::Range(1.0, 100'000.0));
  app.add_option("--seconds", options.seconds, "For so long")->check(CLI::Range(1.0, 3'600.0));
  app.add_option("--service-changes", options.service_changes,
                 "Changes of Services that are timed after that");
  app.add_option("--streams", options.streams, "Nodes that are told; what is measured is the first")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--kubeconfig", options.kubeconfig,
                 "A real API server, empty, for one who may do everything")
      ->check(CLI::ExistingFile);
  app.add_option("--json", options.json, "Also write the figures there");
  CLI11_PARSE(app, argc, argv);
  if (options.size.endpoints < options.size.services) options.size.endpoints = options.size.services;
  const absl::Status status = weft::bench::run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "weft-bench-control: %s\n", std::string(status.message()).c_str());
  return 1;
}
