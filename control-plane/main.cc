// weft-control: flags, signals, exit codes. Reads the objects of a cluster and serves agents until SIGTERM.
// Decides nothing else.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <iostream>
#include <set>

#include "absl/synchronization/mutex.h"
#include "base/address_flag.h"
#include "base/core_dumps.h"
#include "base/file_limit.h"
#include "base/grpc_log.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/stop_signals.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/kubernetes/api_access.h"
#include "control-plane/kubernetes/object_place.h"
#include "control-plane/serve/control_server.h"
#include "control-plane/serve/revocations.h"
#include "control-plane/serve/shared_authority.h"
#include "control-plane/source/fetch_keys.h"

namespace weft::control_plane {
namespace {

// ux.md's exit codes: runtime error, usage.
constexpr int kRuntimeError = 1;
constexpr int kUsage = 64;
constexpr char kProgram[] = "weft-control";
constexpr char kNoStatus[] = "none";
constexpr char kAnnotated[] = "annotated";
constexpr char kCaptured[] = "captured";
constexpr timespec kTick{.tv_sec = 10, .tv_nsec = 0};
constexpr absl::Duration kPublishAgain = absl::Minutes(1);
// /readyz says meanwhile what the server answers; another process would do no more than wait too.
constexpr std::chrono::hours kUntilToldToStop{10 * 365 * 24};

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
  bool make_authority = false;
  std::string authority_secret;  // given: not ca_dir
  std::string roots_config_map;
  std::string crl_file;
  std::string run_dir = "/run/weft-control";
  std::string tls_cert;
  std::string tls_key;
  std::vector<std::string> tls_names = {"weft-control.weft-system.svc"};
  std::string client_ca;
  std::string audience = "weft-control";
  std::vector<std::string> accounts = {"weft-system/weft-agent"};
  std::string status_lease = "weft-system/weft-control";
  std::string tunnels = kAnnotated;
  std::vector<std::string> gateway_addresses, gateway_nodes;
  std::string webhook;
  std::string webhook_configuration = "weft";
  std::string log_level = "info";
};

int fail(const absl::Status& status) {
  log::error("control_failed", {{"error", status.message()}});
  return kRuntimeError;
}

// Of this process and no other: a pod's host name is the pod's, and a restarted container has another number.
std::string own_name() {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return str_cat(host, "_", absl::ToUnixMicros(absl::Now()));
}

absl::StatusOr<std::unique_ptr<CertificateAuthority>> open_authority(const Flags& flags, ApiCaller& api) {
  if (flags.authority_secret.empty())
    return CertificateAuthority::open({.folder = flags.ca_dir, .mounted = !flags.make_authority},
                                      absl::Now());
  ASSIGN_OR_RETURN(const ObjectPlace secret, parse_place("--authority-secret", flags.authority_secret));
  const std::string folder = flags.run_dir + "/ca";
  RETURN_IF_ERROR(await_authority(api, secret, folder, told_to_stop));
  return CertificateAuthority::open({.folder = folder}, absl::Now());
}

// Agents know by it whom to trust. kInvalidArgument: the flag is wrong. A server that is away is none of the
// start's business: those who have the roots go on by them, and it is tried again. Whether it succeeded.
absl::StatusOr<bool> publish(const Flags& flags, ApiCaller& api, const std::string& roots) {
  if (flags.roots_config_map.empty()) return true;
  ASSIGN_OR_RETURN(const ObjectPlace place, parse_place("--roots-configmap", flags.roots_config_map));
  const absl::Status done = publish_roots(api, place, roots);
  if (!done.ok()) log::warn("roots_not_published", {{"error", done.message()}, {"next", "trying again"}});
  return done.ok();
}

// What runs until the process is told to end.
struct Running {
  std::unique_ptr<ApiCaller> api;  // null: no Kubernetes
  std::string roots;
  bool published = true;
  std::unique_ptr<ControlServer> server;
};

// Objects of a folder: no API server is there, so no token can be reviewed and no status written.
absl::Status use_folder(const Flags& flags, ControlServer::Parts& parts) {
  if (flags.join_dir.empty() && flags.client_ca.empty())
    return absl::InvalidArgumentError(
        "--config-dir: nobody could prove that it is a node; next: --join-dir for machines that join by a "
        "token, or --client-ca with the authority of their certificates");
  ASSIGN_OR_RETURN(parts.authority,
                   CertificateAuthority::open({.folder = flags.ca_dir, .mounted = false}, absl::Now()));
  parts.start_control_plane = [&flags](ControlPlane::Subscriber subscriber) {
    return ControlPlane::start(
        {.config_dir = flags.config_dir, .node_name = kAllNodes, .fetch_keys = fetch_keys},
        std::move(subscriber));
  };
  return absl::OkStatus();
}

absl::Status use_kubernetes(const Flags& flags, ControlServer::Parts& parts, Running& running) {
  absl::StatusOr<ApiAccess> access =
      flags.kubeconfig.empty() ? in_cluster_access() : read_kubeconfig(flags.kubeconfig, flags.context);
  RETURN_IF_ERROR(annotate("access to the Kubernetes API", access.status()));
  if (flags.status_lease != kNoStatus) {
    ASSIGN_OR_RETURN(const ObjectPlace lease, parse_place("--status-lease", flags.status_lease));
    parts.status = std::make_unique<StatusWriter>(
        *access, StatusWriter::Options{.lease = {.ns = lease.ns, .name = lease.name, .holder = own_name()},
                                       .gateway_addresses = flags.gateway_addresses,
                                       .webhook_configuration = flags.webhook_configuration});
  }
  std::set<std::string> own_namespaces;
  for (const std::string& account : flags.accounts) {
    ASSIGN_OR_RETURN(const ObjectPlace place, parse_place("--agent-account", account));
    if (flags.tunnels == kCaptured) own_namespaces.insert(place.ns);
  }
  running.api = std::make_unique<ApiCaller>(*access);
  ASSIGN_OR_RETURN(parts.authority, open_authority(flags, *running.api));
  ASSIGN_OR_RETURN(running.published, publish(flags, *running.api, parts.authority->bundle()));
  const auto reviewer = std::make_shared<TokenReviewer>(*std::move(access), flags.audience);
  parts.review = [reviewer](const std::string& token) { return reviewer->review(token); };
  const auto source = std::make_shared<std::atomic<const KubernetesControlPlane*>>(nullptr);
  parts.start_control_plane =
      [&flags, source,
       own_namespaces](ControlPlane::Subscriber subscriber) -> absl::StatusOr<std::unique_ptr<ControlPlane>> {
    ASSIGN_OR_RETURN(std::unique_ptr<KubernetesControlPlane> started,
                     start_kubernetes({.node_name = kAllNodes,
                                       .kubeconfig = flags.kubeconfig,
                                       .context = flags.context,
                                       .first_limit = kUntilToldToStop,
                                       .give_up = told_to_stop,
                                       .fetch_keys = fetch_keys,
                                       .own_namespaces = own_namespaces},
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

absl::StatusOr<ControlServer::Options> read_options(const Flags& flags) {
  ControlServer::Options options;
  ASSIGN_OR_RETURN(options.address, parse_address_flag(kProgram, "--listen", flags.listen));
  ASSIGN_OR_RETURN(options.metrics_address,
                   parse_address_flag(kProgram, "--metrics-address", flags.metrics_address));
  ASSIGN_OR_RETURN(options.health_address,
                   parse_address_flag(kProgram, "--health-address", flags.health_address));
  if (!flags.webhook.empty()) {
    ASSIGN_OR_RETURN(options.webhook_address, parse_address_flag(kProgram, "--webhook", flags.webhook));
  }
  options.certificate = {.certificate_file = flags.tls_cert,
                         .key_file = flags.tls_key,
                         .names = flags.tls_names,
                         .folder = flags.run_dir,
                         .client_authority_file = flags.client_ca};
  options.callers.accounts = {flags.accounts.begin(), flags.accounts.end()};
  options.gateway_nodes = {flags.gateway_nodes.begin(), flags.gateway_nodes.end()};
  return options;
}

absl::StatusOr<Running> start_server(const Flags& flags) {
  ASSIGN_OR_RETURN(ControlServer::Options options, read_options(flags));
  ControlServer::Parts parts;
  Running out;
  if (flags.config_dir.empty())
    RETURN_IF_ERROR(use_kubernetes(flags, parts, out));
  else
    RETURN_IF_ERROR(use_folder(flags, parts));
  out.roots = parts.authority->bundle();
  parts.revocations = [&flags, authority = parts.authority.get()] {
    return all_revocations(*authority, flags.crl_file);
  };
  if (!flags.join_dir.empty()) {
    ASSIGN_OR_RETURN(parts.join,
                     JoinDesk::open({.folder = flags.join_dir, .client_authority_file = flags.client_ca}));
  }
  ASSIGN_OR_RETURN(out.server, ControlServer::start(std::move(options), std::move(parts)));
  return out;
}

void serve(const Flags& flags, const sigset_t& stop, Running running) {
  int signal = -1;
  absl::Time publish_at = running.published ? absl::Now() + kPublishAgain : absl::InfinitePast();
  while (signal < 0) {
    // At once where it did not succeed at the start: the server has answered since.
    if (running.api != nullptr && absl::Now() >= publish_at) {
      publish_at = absl::Now() + kPublishAgain;
      publish(flags, *running.api, running.roots).IgnoreError();
    }
    signal = ::sigtimedwait(&stop, nullptr, &kTick);
    running.server->tick(absl::Now());
  }
  log::info("control_stopping", {{"signal", signal}});
}

int run(const Flags& flags) {
  if (const absl::Status forbidden = forbid_core_dumps(); !forbidden.ok()) return fail(forbidden);
  ::signal(SIGPIPE, SIG_IGN);
  // A connection of each agent.
  raise_file_limit();
  log_for_grpc();
  // Debian's Abseil looks for cycles of locks at each lock, gRPC's too; that is for tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Taken below. A server that does not answer must not keep the start from ending either: told_to_stop.
  const sigset_t stop = block_stop_signals();
  absl::StatusOr<Running> running = start_server(flags);
  if (!running.ok()) return fail(running.status());
  serve(flags, stop, *std::move(running));
  log::info("control_stopped", {{"agents", "go on with what they know"}});
  return 0;
}

void add_authority_options(CLI::App& app, Flags& flags) {
  CLI::Option* const folder =
      app.add_option(
             "--ca-dir", flags.ca_dir,
             "folder of the certificate authority (ca.crt, ca.key, roots.crt of an intermediate); replicas "
             "need the same one")
          ->capture_default_str();
  CLI::Option* const make =
      app.add_flag("--make-authority", flags.make_authority,
                   "make one there when there is none: for one replica, whose folder lasts");
  const auto not_empty = [](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); };
  app.add_option(
         "--authority-secret", flags.authority_secret,
         "NAMESPACE/NAME of the Secret with the authority of all replicas; one that is empty gets a new root")
      ->check(not_empty)
      ->excludes(folder)
      ->excludes(make)
      ->excludes(app.get_option("--config-dir"));
  app.add_option("--roots-configmap", flags.roots_config_map,
                 "NAMESPACE/NAME of the ConfigMap whose ca.crt is to be what agents trust")
      ->check(not_empty)
      ->excludes(app.get_option("--config-dir"));
  app.add_option(
         "--crl-file", flags.crl_file,
         "PEM file of revocation lists for all nodes; it may be missing, and is read anew every ten seconds")
      ->check(not_empty);
}

void add_source_options(CLI::App& app, Flags& flags) {
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
}

void add_options(CLI::App& app, Flags& flags) {
  add_source_options(app, flags);
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
  add_authority_options(app, flags);
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
  app.add_option("--tunnels", flags.tunnels,
                 "which pods take tunnels of mutual TLS: annotated, those that say so, or captured, all that "
                 "are captured on nodes where an agent is ready")
      ->check(CLI::IsMember({kAnnotated, kCaptured}))
      ->excludes(app.get_option("--config-dir"))
      ->capture_default_str();
  app.add_option("--status-lease", flags.status_lease,
                 "NAMESPACE/NAME of the Lease of the one replica that writes the status of objects; none: "
                 "nothing is written")
      ->capture_default_str();
  app.add_option("--gateway-address", flags.gateway_addresses,
                 "IP at which Gateways are reached, for their status; may be repeated")
      ->check([](const std::string& text) {
        return IpAddress::parse(text) ? std::string() : str_cat("'", text, "' is no IP address");
      });
  app.add_option("--gateway-node", flags.gateway_nodes,
                 "node whose agent may serve Gateways (weft-agent --gateway-address) and is given the keys "
                 "for it; may be repeated; *: every one (default: none)");
  app.add_option(
      "--webhook", flags.webhook,
      "IP:PORT of the validating webhook, HTTPS with the certificate of --listen (default: there is "
      "none)");
  app.add_option("--webhook-configuration", flags.webhook_configuration,
                 "ValidatingWebhookConfiguration whose caBundle is kept, where the authority made the "
                 "certificate")
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
