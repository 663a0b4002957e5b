// weft-agent: flags, signals, exit codes. Opens the kernel half, starts the control plane in this process and
// runs the Agent until SIGTERM; `weft-agent cleanup` removes every trace. Decides nothing else.
#include <bpf/libbpf.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "agent/agent.h"
#include "agent/authority_source.h"
#include "agent/replace_file.h"
#include "agent/run_dir.h"
#include "base/address_flag.h"
#include "base/core_dumps.h"
#include "base/file_limit.h"
#include "base/grpc_log.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/stop_signals.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "control-plane/remote/remote_control_plane.h"
#include "control-plane/source/fetch_keys.h"

namespace weft::agent {
namespace {

// ux.md's exit codes: runtime error, usage, permission.
constexpr int kRuntimeError = 1;
constexpr int kUsage = 64;
constexpr int kPermission = 77;
constexpr char kProgram[] = "weft-agent";

struct Flags {
  std::string config_dir = "/etc/weft/manifests";
  bool kubernetes = false;
  std::string kubeconfig;  // given: kubernetes too
  std::string context;
  control_plane::ControlAccess control;  // its target given: configuration and certificates from weft-control
  AuthorityFlags authority;
  std::string own_daemonset;
  uint32_t release_seconds = 40;
  std::string run_dir = kDefaultRunDir;
  std::string pin_root = "/sys/fs/bpf/weft";
  std::string ca_dir;  // empty: as default_ca_dir() says
  std::string cgroup;
  std::string node_name;
  uint32_t listeners = 2;
  bool shortcut = false;
  std::string metrics_address = "0.0.0.0:15020";
  std::string health_address = "0.0.0.0:15021";
  std::string gateway_address;
  std::vector<std::string> certificate_folders;
  std::string cni_conf_dir;  // empty, as is the next: no plugin
  std::string cni_bin_dir;
  std::string find_pods;  // empty: by cgroup with Kubernetes or weft-control, else by annotation
  std::string proxy_user = "nobody";
  std::string proxy_group = "nogroup";
  std::string log_level = "info";
};

int fail(const absl::Status& status) {
  log::error("agent_failed", {{"error", status.message()}});
  return absl::IsPermissionDenied(status) ? kPermission : kRuntimeError;
}

int libbpf_log(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG && !log::enabled(log::Level::kDebug)) return 0;
  char text[1024];
  std::vsnprintf(text, sizeof(text), format, arguments);
  std::string line(text);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  // libbpf warns about every probe that is meant to fail; our own status says what matters.
  log::write(level == LIBBPF_WARN ? log::Level::kInfo : log::Level::kDebug, "libbpf", {{"message", line}});
  return 0;
}

void prepare_process() {
  // Listeners and namespaces of every pod are open here.
  raise_file_limit();
  ::signal(SIGPIPE, SIG_IGN);
  libbpf_set_print(libbpf_log);
  log_for_grpc();
}

std::string default_node_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

std::string config_source(const Flags& flags) {
  if (!flags.control.target.empty()) return str_cat("weft-control ", flags.control.target);
  if (!flags.kubeconfig.empty()) return str_cat("kubernetes, by ", flags.kubeconfig);
  return flags.kubernetes ? "kubernetes, as this pod" : flags.config_dir;
}

std::string ca_dir_of(const Flags& flags) {
  return flags.ca_dir.empty() ? default_ca_dir(flags.run_dir) : flags.ca_dir;
}

// Null until there is one.
using KubernetesSource = std::atomic<control_plane::KubernetesControlPlane*>;

// Who knows whether this agent is being uninstalled; both may be missing.
struct Uninstallation {
  KubernetesSource source = nullptr;
  std::shared_ptr<control_plane::DaemonSetWatch> own;  // with weft-control

  control_plane::OwnInstallation* known() const {
    if (own != nullptr) return own.get();
    return source.load();
  }
};

absl::StatusOr<std::unique_ptr<control_plane::ControlPlane>> start_control_plane(
    const Flags& flags, control_plane::ControlPlane::Subscriber subscriber, KubernetesSource& source) {
  if (!flags.kubernetes && flags.kubeconfig.empty())
    return control_plane::ControlPlane::start({.config_dir = flags.config_dir,
                                               .node_name = flags.node_name,
                                               .fetch_keys = control_plane::fetch_keys,
                                               .certificate_folders = flags.certificate_folders},
                                              std::move(subscriber));
  ASSIGN_OR_RETURN(std::unique_ptr<control_plane::KubernetesControlPlane> started,
                   control_plane::start_kubernetes({.node_name = flags.node_name,
                                                    .kubeconfig = flags.kubeconfig,
                                                    .context = flags.context,
                                                    .own_daemonset = flags.own_daemonset,
                                                    .give_up = told_to_stop,
                                                    .fetch_keys = control_plane::fetch_keys,
                                                    .certificate_folders = flags.certificate_folders},
                                                   std::move(subscriber)));
  source = started.get();
  return started;
}

// Whoever makes pods in a cluster may annotate them, and must not choose what is captured.
absl::StatusOr<std::optional<SandboxWatch::Options>> pods_in_cgroups(const Flags& flags) {
  const bool kubernetes = flags.kubernetes || !flags.kubeconfig.empty() || !flags.control.target.empty();
  const bool by_cgroup = flags.find_pods.empty() ? kubernetes : flags.find_pods == "cgroup";
  if (!by_cgroup) return std::nullopt;
  SandboxWatch::Options options{.cgroup_root = flags.cgroup};
  if (options.cgroup_root.empty()) {
    ASSIGN_OR_RETURN(options.cgroup_root, find_cgroup2_root());
  }
  return options;
}

// The agent's own pods, and those that a cluster needs before it can have an agent.
std::vector<std::string> exempt_namespaces() {
  std::vector<std::string> out{"kube-system"};
  std::ifstream file("/var/run/secrets/kubernetes.io/serviceaccount/namespace");
  std::string own;
  if (std::getline(file, own) && !own.empty() && own != out.front()) out.push_back(own);
  return out;
}

absl::StatusOr<std::optional<CniInstaller::Options>> cni_plugin(const Flags& flags) {
  if (flags.cni_conf_dir.empty() != flags.cni_bin_dir.empty())
    return absl::InvalidArgumentError("--cni-conf-dir and --cni-bin-dir need each other; next: give both");
  if (flags.cni_conf_dir.empty()) return std::nullopt;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return CniInstaller::Options{
      .conf_dir = flags.cni_conf_dir,
      .bin_dir = flags.cni_bin_dir,
      .program = self.parent_path() / kCniPluginName,
      .config = {.socket = "", .namespaces_file = "", .exempt = exempt_namespaces()}};
}

// Null until there is one.
using RemoteSource = std::atomic<const control_plane::RemoteControlPlane*>;

// Configuration and certificates come from weft-control. `own`: null when nobody asks whether this agent is
// being uninstalled.
absl::Status use_weft_control(const Flags& flags, const std::shared_ptr<control_plane::DaemonSetWatch>& own,
                              Agent::Parts& parts) {
  const auto source = std::make_shared<RemoteSource>(nullptr);
  parts.start_control_plane = [&flags, source](control_plane::ControlPlane::Subscriber subscriber)
      -> absl::StatusOr<std::unique_ptr<control_plane::ControlPlane>> {
    ASSIGN_OR_RETURN(std::unique_ptr<control_plane::RemoteControlPlane> started,
                     control_plane::start_remote({.access = flags.control,
                                                  .node_name = flags.node_name,
                                                  .gateway = !flags.gateway_address.empty(),
                                                  .give_up = told_to_stop},
                                                 std::move(subscriber)));
    *source = started.get();
    return started;
  };
  parts.remote_report = [source] {
    const control_plane::RemoteControlPlane* const started = source->load();
    return started == nullptr ? control_plane::RemoteReport() : started->report();
  };
  parts.source_report = [report = parts.remote_report, own] {
    control_plane::SourceReport out{.problems = report().problems, .kinds = {}};
    if (own == nullptr) return out;
    for (std::string& problem : own->problems()) out.problems.push_back(std::move(problem));
    return out;
  };
  parts.revocations = [source]() -> absl::StatusOr<std::string> {
    const control_plane::RemoteControlPlane* const started = source->load();
    if (started == nullptr)
      return absl::UnavailableError("weft-control has not told of revocation lists yet");
    return started->revocations();
  };
  const auto channel = std::make_shared<control_plane::ControlChannel>(flags.control);
  parts.sign_elsewhere = [channel](const std::string& pem, const control_plane::CertificateRequest& request,
                                   absl::Duration lifetime, absl::Time) {
    return control_plane::sign_remotely(*channel, pem, request.id.to_string(), lifetime);
  };
  if (flags.authority.join_token_file.empty()) return absl::OkStatus();
  return join(flags.authority, flags.control, flags.node_name, flags.run_dir, told_to_stop, parts);
}

absl::Status use_own_control_plane(const Flags& flags, const std::shared_ptr<Uninstallation>& end,
                                   Agent::Parts& parts) {
  if (flags.authority.istio.target.empty()) {
    ASSIGN_OR_RETURN(parts.authority,
                     control_plane::CertificateAuthority::open({.folder = ca_dir_of(flags)}, absl::Now()));
  }
  parts.start_control_plane = [&flags, end](control_plane::ControlPlane::Subscriber subscriber) {
    return start_control_plane(flags, std::move(subscriber), end->source);
  };
  parts.source_report = [end] {
    const control_plane::KubernetesControlPlane* const started = end->source.load();
    return started == nullptr ? control_plane::SourceReport() : started->report();
  };
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Agent>> start_agent(const Flags& flags,
                                                   const std::shared_ptr<Uninstallation>& end) {
  Agent::Options options{
      .node_name = flags.node_name, .config_source = config_source(flags), .run_dir = flags.run_dir};
  ASSIGN_OR_RETURN(options.metrics_address,
                   parse_address_flag(kProgram, "--metrics-address", flags.metrics_address));
  ASSIGN_OR_RETURN(options.health_address,
                   parse_address_flag(kProgram, "--health-address", flags.health_address));
  options.gateways.listeners = flags.listeners;
  if (!flags.gateway_address.empty()) {
    options.gateways.address = IpAddress::parse(flags.gateway_address);
    if (!options.gateways.address)
      return absl::InvalidArgumentError(str_cat("--gateway-address: '", flags.gateway_address,
                                                "' is no IP address (0.0.0.0, ::); next: weft-agent --help"));
  }
  ASSIGN_OR_RETURN(options.proxy_access, proxy_access(flags.proxy_user, flags.proxy_group));
  Agent::Parts parts;
  ASSIGN_OR_RETURN(parts.dataplane,
                   Dataplane::open(Dataplane::Options{.pin_root = flags.pin_root,
                                                      .cgroup = flags.cgroup,
                                                      .listeners_per_namespace = flags.listeners,
                                                      .shortcut = flags.shortcut}));
  parts.ads = control_plane::AdsService::create();
  parts.read_policies = control_plane::read_policies;
  ASSIGN_OR_RETURN(parts.find_pods, pods_in_cgroups(flags));
  ASSIGN_OR_RETURN(parts.cni, cni_plugin(flags));
  if (flags.control.target.empty()) {
    RETURN_IF_ERROR(use_own_control_plane(flags, end, parts));
  } else {
    if (!flags.own_daemonset.empty()) {
      ASSIGN_OR_RETURN(end->own, control_plane::watch_own_daemonset(flags.own_daemonset));
    }
    RETURN_IF_ERROR(use_weft_control(flags, end->own, parts));
  }
  if (!flags.authority.istio.target.empty()) use_istio(flags.authority, parts);
  return Agent::start(std::move(options), std::move(parts));
}

// No pod shall start to wait for an agent that is not to come.
absl::Status remove_cni_plugin(const Flags& flags) {
  if (flags.cni_conf_dir.empty() || flags.cni_bin_dir.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> taken,
                   CniInstaller::remove(flags.cni_conf_dir, flags.cni_bin_dir));
  for (const std::string& step : taken) std::cout << step << "\n";
  return absl::OkStatus();
}

// For a plugin that could not be taken out: without the file any pod could be one of the mesh.
void keep_no_pod_waiting(const std::string& run_dir) {
  std::error_code error;
  std::filesystem::create_directories(run_dir, error);
  const absl::Status written = replace_file(str_cat(run_dir, "/cni-namespaces"), "", 0644);
  if (!written.ok()) log::error("cni_namespaces_not_written", {{"error", written.message()}});
}

// What `weft-agent cleanup` and the end of an installation have in common; the run dir is locked.
int remove_traces(const Flags& flags, const absl::StatusOr<UniqueFd>& lock) {
  // Whatever becomes of it, the rest goes.
  const absl::Status plugin = remove_cni_plugin(flags);
  std::vector<std::string> paths;
  const absl::StatusOr<StoredPods> stored =
      EnrollmentStore(str_cat(flags.run_dir, "/enrollments.json")).load();
  if (stored.ok()) {
    for (const CapturedNamespace& captured : stored->captured) paths.push_back(captured.netns_path);
    for (const Enrollment& enrollment : stored->enrollments) paths.push_back(enrollment.netns_path);
  }
  const absl::StatusOr<std::vector<std::string>> steps = cleanup(flags.pin_root, paths);
  if (!steps.ok()) return fail(steps.status());
  for (const std::string& step : *steps) std::cout << step << "\n";
  if (lock.ok()) {
    control_plane::CertificateAuthority::remove_made(ca_dir_of(flags));
    leave(flags.authority, flags.run_dir);
    remove_run_files(flags.run_dir);
  }
  if (!plugin.ok()) {
    if (lock.ok()) keep_no_pod_waiting(flags.run_dir);
    return fail(
        annotate("remove the CNI plugin (next: weft-agent cleanup, when that can be written)", plugin));
  }
  std::cout << (steps->empty() ? "nothing to remove\n" : "removed every trace of weft\n");
  return 0;
}

// Until nothing is captured any more, the time is over, or a second signal comes. The proxy is told to end
// what it has at about the same time.
void let_go(Agent& agent, const Flags& flags, const sigset_t& stop) {
  agent.stop_capturing();
  // Before the wait: pods that start meanwhile are none of the mesh's. What fails is tried again at the end.
  if (const absl::Status removed = remove_cni_plugin(flags); !removed.ok())
    log::warn("cni_plugin_not_removed", {{"error", removed.message()}});
  const absl::Time end = absl::Now() + absl::Seconds(flags.release_seconds);
  const timespec pause{.tv_sec = 0, .tv_nsec = 100'000'000};
  while (agent.captured() > 0 && absl::Now() < end && ::sigtimedwait(&stop, nullptr, &pause) < 0) {
  }
  log::info("capture_ended", {{"still_open", agent.captured()}});
}

// Without a DaemonSet nobody is asked. Otherwise the server is, and the agent serves on until it answers. A
// second signal ends the wait. Who may ask is gone soon after an uninstall began, so the watch that stands
// may know what is refused now; both have kAtMost. The rest of the end needs --release-timeout and some
// seconds: the chart's terminationGracePeriodSeconds has room for all of it.
bool is_uninstalled(const Uninstallation& end, const Flags& flags, const sigset_t& stop) {
  constexpr absl::Duration kAtMost = absl::Seconds(10);
  control_plane::OwnInstallation* const own = end.known();
  if (own == nullptr || flags.own_daemonset.empty()) return false;
  own->ask_anew();
  const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
  const absl::Time give_up = absl::Now() + kAtMost;
  while (!own->uninstalled() && !own->answered() && absl::Now() < give_up &&
         ::sigtimedwait(&stop, nullptr, &pause) < 0) {
  }
  const bool uninstalled = own->uninstalled();
  if (!uninstalled && !own->answered())
    log::warn("uninstall_not_known", {{"daemonset", flags.own_daemonset},
                                      {"next", "if Weft was uninstalled: weft-agent cleanup on this node"}});
  return uninstalled;
}

int run(const Flags& flags) {
  // Keys of Secrets, and the authority's, are read later.
  if (const absl::Status forbidden = forbid_core_dumps(); !forbidden.ok()) return fail(forbidden);
  prepare_process();
  // Taken below. A server that does not answer must not keep the start from ending either: told_to_stop.
  const sigset_t stop = block_stop_signals();
  if (::geteuid() != 0)
    return fail(absl::PermissionDeniedError("weft-agent needs root; next: sudo weft-agent"));
  const absl::StatusOr<UniqueFd> lock = lock_run_dir(flags.run_dir);
  if (!lock.ok()) return fail(lock.status());
  const bool fresh = ::access(flags.pin_root.c_str(), F_OK) != 0;
  const auto end = std::make_shared<Uninstallation>();
  absl::StatusOr<std::unique_ptr<Agent>> agent = start_agent(flags, end);
  if (!agent.ok()) {
    // What an earlier agent had captured goes on; what this one began goes away again.
    if (fresh) static_cast<void>(cleanup(flags.pin_root, {}));
    return fail(agent.status());
  }
  int signal = 0;
  ::sigwait(&stop, &signal);
  // Asked before the control plane ends.
  const bool uninstalled = is_uninstalled(*end, flags, stop);
  log::info("agent_stopping", {{"signal", signal}, {"uninstalled", uninstalled}});
  if (uninstalled) let_go(**agent, flags, stop);
  agent->reset();
  if (uninstalled) return remove_traces(flags, lock);
  log::info("agent_stopped",
            {{"capture", "stays in place"}, {"next", "run weft-agent cleanup to remove it"}});
  return 0;
}

int clean_up(const Flags& flags, bool force) {
  if (::geteuid() != 0)
    return fail(absl::PermissionDeniedError("cleanup needs root; next: sudo weft-agent cleanup"));
  absl::StatusOr<UniqueFd> lock = lock_run_dir(flags.run_dir);
  if (!lock.ok() && !(force && absl::IsAlreadyExists(lock.status()))) return fail(lock.status());
  libbpf_set_print(libbpf_log);
  return remove_traces(flags, lock);
}

std::string not_empty(const std::string& text) { return text.empty() ? "names no file" : ""; }
std::string is_absolute(const std::string& path) {
  return path.starts_with('/') && path.size() > 1 ? "" : "not the absolute path of a folder";
}

void add_source_options(CLI::App& app, Flags& flags) {
  CLI::Option* const folder =
      app.add_option("--config-dir", flags.config_dir, "folder of manifests")->capture_default_str();
  CLI::Option* const in_pod =
      app.add_flag("--kubernetes", flags.kubernetes,
                   "configuration from the API server of the cluster that this pod is in");
  CLI::Option* const file = app.add_option("--kubeconfig", flags.kubeconfig,
                                           "configuration from the API server that this file names")
                                // Otherwise --kubeconfig "$UNSET" would quietly mean the folder.
                                ->check(not_empty);
  app.add_option("--context", flags.context, "context in the kubeconfig (default: its current one)")
      ->needs(file);
  app.add_option(
         "--daemonset", flags.own_daemonset,
         "NAMESPACE/NAME of the DaemonSet that this agent runs for: when it was deleted before the agent "
         "is told to end, the agent removes every trace of weft from the node")
      ->excludes(folder);
  app.add_option("--release-timeout", flags.release_seconds,
                 "seconds that captured connections may take to end before that")
      // The chart adds what a proxy's end takes to a drain of up to an hour.
      ->check(CLI::Range(0, 7200))
      ->capture_default_str();
  folder->excludes(in_pod)->excludes(file);
  in_pod->excludes(file);
  const ControlOptions control = add_control_options(app, {folder, in_pod, file}, flags.control);
  app.add_option(
         "--certificate-files", flags.certificate_folders,
         "folder below which Gateways and DestinationRules may name certificates and keys in files; may "
         "be given again (default: none, they name Secrets)")
      ->check(is_absolute)
      ->allow_extra_args(false)  // what follows one may be a command
      ->excludes(control.target);
  CLI::Option* const ca_dir = app.add_option(
      "--ca-dir", flags.ca_dir,
      "folder of the certificate authority: its key, and what an operator puts there (default: "
      "/var/lib/weft/ca; ca in the run dir when that is another one)");
  add_authority_options(app, control.target, control.proofs, ca_dir, flags.authority);
}

int main_with(int argc, char** argv) {
  Flags flags;
  flags.node_name = default_node_name();
  bool force = false;
  CLI::App app{"The Weft agent of one node: captures the traffic of enrolled pods and feeds the node proxy."};
  app.set_version_flag("--version", WEFT_VERSION);
  add_source_options(app, flags);
  app.add_option("--run-dir", flags.run_dir, "folder of sockets and state")->capture_default_str();
  app.add_option("--pin-root", flags.pin_root, "bpffs folder of pinned programs and maps")
      ->capture_default_str();
  app.add_option("--cgroup", flags.cgroup, "cgroup whose processes are captured (default: the cgroup2 root)");
  app.add_option("--node-name", flags.node_name, "name of this node")->capture_default_str();
  app.add_option("--listeners", flags.listeners, "capture listeners per pod, at least the proxy's workers")
      // With as many for tunnels and the namespace they are one message's descriptors.
      ->check(CLI::Range(1, 31))
      ->capture_default_str();
  app.add_flag(
      "--shortcut", flags.shortcut,
      "pods that ask for it (weft.dev/shortcut) and the proxy send past TCP; such a pod can stop the "
      "proxy: only for pods that you trust");
  app.add_option("--metrics-address", flags.metrics_address, "IP:PORT of /metrics")->capture_default_str();
  app.add_option("--health-address", flags.health_address, "IP:PORT of /healthz and /readyz")
      ->capture_default_str();
  app.add_option("--gateway-address", flags.gateway_address,
                 "address whose ports gateways open (0.0.0.0, ::); not given: this node serves no gateways");
  app.add_option("--find-pods", flags.find_pods,
                 "how the network namespaces of pods are found: cgroup (of the kubelet; default with "
                 "Kubernetes and weft-control), "
                 "or annotation (weft.dev/netns; default with a folder)")
      ->check(CLI::IsMember({"cgroup", "annotation"}));
  app.add_option(
      "--cni-conf-dir", flags.cni_conf_dir,
      "the node's folder of CNI configurations, usually /etc/cni/net.d, to install weft-cni in; not "
      "given: pods are captured after their start");
  app.add_option("--cni-bin-dir", flags.cni_bin_dir,
                 "the node's folder of CNI plugins, usually /opt/cni/bin");
  app.add_option("--proxy-user", flags.proxy_user, "user of weft-proxy")->capture_default_str();
  app.add_option("--proxy-group", flags.proxy_group, "group that may connect to the proxy's sockets")
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "error, warn, info or debug")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str();
  CLI::App* cleanup_command = app.add_subcommand("cleanup", "remove every trace of weft from this node");
  cleanup_command->fallthrough();
  cleanup_command->add_flag("--force", force, "also while an agent is running");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "error: " << error.what() << "\nnext: weft-agent --help\n";
    return kUsage;
  }
  log::set_level(flags.log_level);
  if (!flags.authority.join_token_file.empty())
    flags.control.certificate_file = flags.control.key_file =
        node_certificate_file(flags.authority, flags.run_dir);
  return cleanup_command->parsed() ? clean_up(flags, force) : run(flags);
}

}  // namespace
}  // namespace weft::agent

int main(int argc, char** argv) { return weft::agent::main_with(argc, argv); }
