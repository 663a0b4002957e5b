// weft-control: flags, signals, exit codes. Reads the objects of a cluster and serves agents until SIGTERM.
// Decides nothing else.
#include <grpc/support/log.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>

#include "base/core_dumps.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/kubernetes/api_access.h"
#include "control-plane/serve/control_server.h"
#include "control-plane/source/fetch_keys.h"

namespace weft::control_plane {
namespace {

// ux.md's exit codes: runtime error, usage.
constexpr int kRuntimeError = 1;
constexpr int kUsage = 64;
constexpr char kNoStatus[] = "none";
constexpr timespec kTick{.tv_sec = 60, .tv_nsec = 0};

struct Flags {
  std::string config_dir;  // given: no Kubernetes
  std::string join_dir;    // empty: nobody joins
  bool kubernetes = false;
  std::string kubeconfig;
  std::string context;
  std::string listen = "0.0.0.0:15012";
  std::string metrics_address = "0.0.0.0:15020";
  std::string health_address = "0.0.0.0:15021";
  std::string ca_dir = "/var/lib/weft-control/ca";
  std::string run_dir = "/run/weft-control";
  std::string tls_cert;
  std::string tls_key;
  std::vector<std::string> tls_names = {"weft-control.weft-system.svc"};
  std::string client_ca;
  std::string audience = "weft-control";
  std::vector<std::string> accounts = {"weft-system/weft-agent"};
  std::string status_lease = "weft-system/weft-control";
  std::string log_level = "info";
};

int fail(const absl::Status& status) {
  log::error("control_failed", {{"error", status.message()}});
  return kRuntimeError;
}

void grpc_log(gpr_log_func_args* arguments) {
  const log::Level level =
      arguments->severity == GPR_LOG_SEVERITY_ERROR ? log::Level::kWarn : log::Level::kDebug;
  log::write(level, "grpc", {{"message", arguments->message}});
}

absl::StatusOr<SocketAddress> address_of(const char* flag, const std::string& text) {
  const auto address = SocketAddress::parse(text);
  if (address.has_value()) return *address;
  return absl::InvalidArgumentError(
      str_cat(flag, ": '", text, "' is not IP:PORT (0.0.0.0:15012, [::]:15012); next: weft-control --help"));
}

// Of this process and no other: a pod's host name is the pod's, and a restarted container has another number.
std::string own_name() {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return str_cat(host, "_", absl::ToUnixMicros(absl::Now()));
}

// SIGTERM is blocked while the objects are read; a server that does not answer must not keep it from ending.
bool told_to_stop() {
  sigset_t pending;
  ::sigemptyset(&pending);
  return ::sigpending(&pending) == 0 &&
         (::sigismember(&pending, SIGTERM) == 1 || ::sigismember(&pending, SIGINT) == 1);
}

// Objects of a folder: no API server is there, so no token can be reviewed and no status written.
void use_folder(const Flags& flags, ControlServer::Parts& parts) {
  parts.start_control_plane = [&flags](ControlPlane::Subscriber subscriber) {
    return ControlPlane::start(
        {.config_dir = flags.config_dir, .node_name = kAllNodes, .fetch_keys = fetch_keys},
        std::move(subscriber));
  };
}

absl::Status use_kubernetes(const Flags& flags, ControlServer::Parts& parts) {
  absl::StatusOr<ApiAccess> access =
      flags.kubeconfig.empty() ? in_cluster_access() : read_kubeconfig(flags.kubeconfig, flags.context);
  RETURN_IF_ERROR(annotate("access to the Kubernetes API", access.status()));
  if (flags.status_lease != kNoStatus) {
    const size_t slash = flags.status_lease.find('/');
    if (slash == std::string::npos)
      return absl::InvalidArgumentError(str_cat("--status-lease: '", flags.status_lease,
                                                "' is not NAMESPACE/NAME; next: weft-control --help"));
    parts.status = std::make_unique<StatusWriter>(
        *access, StatusWriter::Options{.lease = {.ns = flags.status_lease.substr(0, slash),
                                                 .name = flags.status_lease.substr(slash + 1),
                                                 .holder = own_name()}});
  }
  const auto reviewer = std::make_shared<TokenReviewer>(*std::move(access), flags.audience);
  parts.review = [reviewer](const std::string& token) { return reviewer->review(token); };
  const auto source = std::make_shared<std::atomic<const KubernetesControlPlane*>>(nullptr);
  parts.start_control_plane =
      [&flags, source](ControlPlane::Subscriber subscriber) -> absl::StatusOr<std::unique_ptr<ControlPlane>> {
    ASSIGN_OR_RETURN(std::unique_ptr<KubernetesControlPlane> started,
                     start_kubernetes({.node_name = kAllNodes,
                                       .kubeconfig = flags.kubeconfig,
                                       .context = flags.context,
                                       .give_up = told_to_stop,
                                       .fetch_keys = fetch_keys,
                                       // Nobody is served them.
                                       .secrets = false},
                                      std::move(subscriber)));
    *source = started.get();
    return started;
  };
  parts.source_report = [source] {
    const KubernetesControlPlane* const started = source->load();
    return started == nullptr ? SourceReport() : started->report();
  };
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ControlServer>> start_server(const Flags& flags) {
  ControlServer::Options options;
  ASSIGN_OR_RETURN(options.address, address_of("--listen", flags.listen));
  ASSIGN_OR_RETURN(options.metrics_address, address_of("--metrics-address", flags.metrics_address));
  ASSIGN_OR_RETURN(options.health_address, address_of("--health-address", flags.health_address));
  options.certificate = {.certificate_file = flags.tls_cert,
                         .key_file = flags.tls_key,
                         .names = flags.tls_names,
                         .folder = flags.run_dir,
                         .client_authority_file = flags.client_ca};
  options.callers.accounts = {flags.accounts.begin(), flags.accounts.end()};
  ControlServer::Parts parts;
  const Folder kind = flags.config_dir.empty() ? Folder::kMounted : Folder::kOwn;
  ASSIGN_OR_RETURN(
      parts.authority,
      CertificateAuthority::open({.folder = flags.ca_dir, .mounted = kind == Folder::kMounted}, absl::Now()));
  if (!flags.join_dir.empty()) {
    ASSIGN_OR_RETURN(parts.join,
                     JoinDesk::open({.folder = flags.join_dir, .client_authority_file = flags.client_ca}));
  }
  if (flags.config_dir.empty())
    RETURN_IF_ERROR(use_kubernetes(flags, parts));
  else
    use_folder(flags, parts);
  return ControlServer::start(std::move(options), std::move(parts));
}

int run(const Flags& flags) {
  if (const absl::Status forbidden = forbid_core_dumps(); !forbidden.ok()) return fail(forbidden);
  ::signal(SIGPIPE, SIG_IGN);
  gpr_set_log_function(grpc_log);
  // Blocked in every thread, taken below: no handler, no race with start.
  sigset_t stop;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGTERM);
  ::sigaddset(&stop, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  absl::StatusOr<std::unique_ptr<ControlServer>> server = start_server(flags);
  if (!server.ok()) return fail(server.status());
  int signal = -1;
  while (signal < 0) {
    signal = ::sigtimedwait(&stop, nullptr, &kTick);
    (*server)->tick(absl::Now());
  }
  log::info("control_stopping", {{"signal", signal}});
  server->reset();
  log::info("control_stopped", {{"agents", "go on with what they know"}});
  return 0;
}

void add_options(CLI::App& app, Flags& flags) {
  CLI::Option* const in_pod =
      app.add_flag("--kubernetes", flags.kubernetes,
                   "objects from the API server of the cluster that this pod is in (the default)");
  CLI::Option* const file =
      app.add_option("--kubeconfig", flags.kubeconfig, "objects from the API server that this file names")
          ->check([](const std::string& text) { return std::string(text.empty() ? "names no file" : ""); })
          ->excludes(in_pod);
  app.add_option("--context", flags.context, "context in the kubeconfig (default: its current one)")
      ->needs(file);
  app.add_option("--config-dir", flags.config_dir,
                 "objects from a folder of manifests, without Kubernetes: agents prove themselves by client "
                 "certificates")
      ->check([](const std::string& text) { return std::string(text.empty() ? "names no folder" : ""); })
      ->excludes(in_pod)
      ->excludes(file);
  app.add_option("--join-dir", flags.join_dir,
                 "folder of join tokens and of the nodes that joined (`weft join-token`); not given: no "
                 "machine can join");
  app.add_option("--listen", flags.listen, "IP:PORT for agents, TLS")->capture_default_str();
  CLI::Option* const certificate =
      app.add_option("--tls-cert", flags.tls_cert,
                     "PEM file of the server's certificate; read anew when it changes (default: made by the "
                     "authority)");
  CLI::Option* const key =
      app.add_option("--tls-key", flags.tls_key, "PEM file of its key")->needs(certificate);
  certificate->needs(key);
  app.add_option("--tls-name", flags.tls_names,
                 "DNS name or IP address in the certificate that the authority makes; may be repeated")
      ->excludes(certificate)
      ->capture_default_str();
  app.add_option("--ca-dir", flags.ca_dir, "folder of the certificate authority; replicas need the same one")
      ->capture_default_str();
  app.add_option("--run-dir", flags.run_dir, "folder of the certificate that the authority makes")
      ->capture_default_str();
  app.add_option("--client-ca", flags.client_ca,
                 "PEM file: who signed client certificates of nodes (O=system:nodes, CN=system:node:NAME); "
                 "not given: tokens only");
  app.add_option("--audience", flags.audience, "audience of agents' ServiceAccount tokens")
      ->capture_default_str();
  app.add_option("--agent-account", flags.accounts,
                 "NAMESPACE/NAME of the agents' ServiceAccount; may be repeated")
      ->capture_default_str();
  app.add_option("--status-lease", flags.status_lease,
                 "NAMESPACE/NAME of the Lease of the one replica that writes the status of objects; none: "
                 "nothing is written")
      ->capture_default_str();
  app.add_option("--metrics-address", flags.metrics_address, "IP:PORT of /metrics")->capture_default_str();
  app.add_option("--health-address", flags.health_address, "IP:PORT of /healthz and /readyz")
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "error, warn, info or debug")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str();
}

int main_with(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Weft's control plane for a cluster: reads its objects and serves the agents of its nodes."};
  app.set_version_flag("--version", WEFT_VERSION);
  add_options(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << "error: " << error.what() << "\nnext: weft-control --help\n";
    return kUsage;
  }
  log::set_level(flags.log_level);
  return run(flags);
}

}  // namespace
}  // namespace weft::control_plane

int main(int argc, char** argv) { return weft::control_plane::main_with(argc, argv); }
